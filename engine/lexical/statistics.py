"""BM25 and the statistics of a field that it takes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STATISTICS_FILE = "statistics.json"
# Below the usual 1.2: a repeated word in a short text adds little information (Home Depot's validation queries).
K1, B = 0.6, 0.75


@dataclass(frozen=True, slots=True)
class FieldStatistics:
    """How many products have a field, and the mean number of its terms, words within compounds among them."""

    products: int
    average_length: float


def inverse_frequency(frequencies: NDArray[np.int64], products: int) -> NDArray[np.float64]:
    """Lucene's inverse document frequency of n terms that so many products hold, of `products` in all; shape (n,)."""
    return np.log(1 + (products - frequencies + 0.5) / (frequencies + 0.5))


def term_share(
    counts: NDArray[np.int64], lengths: NDArray[np.int64], statistics: FieldStatistics
) -> NDArray[np.float64]:
    """BM25's share of n terms, each `counts` times in a field of `lengths` terms, before their rarity; shape (n,)."""
    return counts / (counts + K1 * (1 - B + B * lengths / max(statistics.average_length, 1e-9)))


def write_statistics(statistics: Mapping[str, FieldStatistics], folder: Path) -> None:
    """Writes the statistics of each field."""
    values = {field: asdict(one) for field, one in statistics.items()}
    (folder / STATISTICS_FILE).write_text(json.dumps(values) + "\n", "utf-8")


def read_statistics(folder: Path, lengths: Mapping[str, NDArray[np.int32]]) -> dict[str, FieldStatistics]:
    """The statistics of each field. Indexes of versions before lack the file: there they are taken from the fields'
    lengths, in which words within compounds do not count. Raises ValueError."""
    path = folder / STATISTICS_FILE
    try:
        stored = json.loads(path.read_bytes()) if path.is_file() else {}
        return {
            field: FieldStatistics(**stored[field]) if field in stored else _measure(lengths[field])
            for field in lengths
        }
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error}") from None


def _measure(lengths: NDArray[np.int32]) -> FieldStatistics:
    filled = int(np.count_nonzero(lengths))
    return FieldStatistics(filled, float(lengths.sum(dtype=np.int64)) / max(filled, 1))
