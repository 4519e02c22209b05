"""The catalog that behaviour is learned for: ids, groups, types, prices and item vectors, by row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.product import MICROS
from catalog.table import ProductTable
from core.progress import Steps
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from indexer.embed import embed_products
from indexer.job import WORK
from indexer.products import clean_feed
from indexer.publish import COLUMNS_FILE
from lifecycle.feeds import read_mapping

_VECTORS = "vectors.npy"
_MOST_WITHOUT_PRICE = 0.5


@dataclass(frozen=True, slots=True)
class UserShop:
    """N products: `ids`; codes of item groups and product types, -1 without one, and prices, NaN without one, all of
    shape (N,); `vectors` of shape (N, d); the digest of the bi-encoder that made them."""

    ids: pa.ChunkedArray
    groups: NDArray[np.int32]
    types: NDArray[np.int32]
    prices: NDArray[np.float32]
    vectors: NDArray[np.float16]
    encoder: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_prices(self) -> bool:
        """Whether the catalog has the prices of most products."""
        return float(np.isnan(self.prices).mean()) <= _MOST_WITHOUT_PRICE


def shop_of_feed(feed: Path, mapping: Path | None, models: Path, work: Path, steps: Steps) -> UserShop:
    """The products of a feed, cleaned as for indexing. Raises FeedError or ModelError."""
    encoder = BiEncoder.open(models)
    work.mkdir(parents=True, exist_ok=True)
    with steps.step("clean") as report:
        cleaned = clean_feed(feed, read_mapping(mapping), work, report)
    return _shop(ProductTable(cleaned.columns), encoder, work, steps)


def shop_of_release(store: ReleaseStore, catalog: str, steps: Steps) -> UserShop:
    """The products of the release in service, whose vectors are embedded already. Raises ReleaseError."""
    with _served(store, catalog) as folder:
        return _shop(
            ProductTable(folder / COLUMNS_FILE), BiEncoder.open(folder / "encoder"), store.folder(catalog) / WORK, steps
        )


@contextmanager
def _served(store: ReleaseStore, catalog: str) -> Iterator[Path]:
    """The folder of the release in service, while no index job changes the embeddings beside it."""
    from lifecycle.quality.evaluation import CURRENT, find_release

    with store.lock(catalog):
        release = find_release(store, catalog, CURRENT).release
        store.verify(catalog, release, "encoder/")
        store.verify(catalog, release, COLUMNS_FILE)
        yield store.path(catalog, release)


def make_shop(table: ProductTable, vectors: NDArray[np.float16], encoder: str) -> UserShop:
    """A shop of a product table and the vectors of its rows."""
    columns = pa.Table.from_batches(table.batches())
    prices = (table.numbers("price_micros") / MICROS).astype(np.float32)
    return UserShop(
        columns["id"], _codes(columns["item_group_id"]), _codes(columns["product_type"]), prices, vectors, encoder
    )


def _shop(table: ProductTable, encoder: BiEncoder, work: Path, steps: Steps) -> UserShop:
    with steps.step("embed") as report:
        mapped, _ = embed_products(table, encoder, work, report)
        vectors = np.array(mapped)
    (work / _VECTORS).unlink(missing_ok=True)
    return make_shop(table, vectors, encoder.digest)


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Equal for equal texts, -1 for none."""
    coded = column.combine_chunks().dictionary_encode()
    parts: Sequence[pa.Array] = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
    return np.concatenate([part.indices.fill_null(-1).to_numpy(zero_copy_only=False) for part in parts]).astype(
        np.int32
    )
