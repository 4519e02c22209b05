"""Products embedded per second by the index job's own embedding, beside `SentenceTransformer.encode`, in one run.

    python -m benchmarks.embedding [--catalog … --judgments … --encoder … --ranker …] [--products 4096]
                                   [--compressed FOLDER]

Both start from product texts, so tokenising is included, and use the same weights: int8 in Tandem, fp32 there. Towers
that `tandem compress` left can be measured beside them.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import save
from benchmarks.shop import add_options, shop_of
from core.errors import TandemError
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel

_WARM = 256

Embed = Callable[[list[str]], NDArray[np.float32]]


def main() -> None:
    """Embeds a sample of the catalog with both, three rounds in turn, and saves the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--products", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compressed", type=Path, help="folder that `tandem compress encoder` left")
    parser.add_argument("--name", default="embedding", help="of the results file")
    options = parser.parse_args()
    shop = shop_of(options)
    texts = sample(shop.texts(shop.index().manifest), options.products)
    programs = {"tandem": by_tandem(shop.models.encoder), "plain": _plain(shop.encoder_checkpoint, shop.models.encoder)}
    if options.compressed:
        programs["tandem, compressed"] = by_tandem(options.compressed)
    samples = rates(programs, texts, options.rounds)
    vectors = {name: embed(texts[:_WARM]) for name, embed in programs.items()}
    medians = {name: round(float(np.median(values)), 1) for name, values in samples.items()}
    cosine = round(float((vectors["tandem"] * vectors["plain"]).sum(axis=1).mean()), 4)
    results = {
        "products_per_s": medians,
        "ratio": round(medians["tandem"] / medians["plain"], 2),
        "mean_cosine": cosine,
    }
    if options.compressed:
        results["compressed_ratio"] = round(medians["tandem, compressed"] / medians["plain"], 2)
    Console().print(results)
    tokens = float(np.mean([len(t) for t in BiEncoder.open(shop.models.encoder).tokenize_items(texts)]))
    parameters = {"products": len(texts), "rounds": options.rounds, "mean_tokens": round(tokens, 1)}
    print(save(options.name, parameters, results))


def sample(texts: list[str], count: int) -> list[str]:
    """So many texts, drawn alike each time."""
    return [texts[row] for row in np.random.default_rng(0).choice(len(texts), min(count, len(texts)), replace=False)]


def rates(programs: dict[str, Embed], texts: list[str], rounds: int) -> dict[str, list[float]]:
    """Texts embedded a second by each program in each round; they take turns, since a machine's pace changes."""
    for embed in programs.values():
        embed(texts[:_WARM])
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, embed in programs.items():
            start = time.monotonic()
            embed(texts)
            samples[name].append(round(len(texts) / (time.monotonic() - start), 1))
    return samples


def by_tandem(folder: Path) -> Embed:
    """The index job's way, with an encoder's item tower."""
    tower = BiEncoder.open(folder)
    model = OnnxModel(tower.model_path("item"))
    return lambda texts: embed_all(model, tower.tokenize_items(texts))


def _plain(checkpoint: Path, encoder: Path) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    model.max_seq_length = BiEncoder.open(encoder).spec.max_item_tokens
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
