"""Products embedded per second by the index job's own embedding, beside `SentenceTransformer.encode`, in one run.

    python -m benchmarks.embedding [--catalog … --judgments … --encoder … --ranker …] [--products 4096]

Both start from product texts, so tokenising is included, and use the same weights: int8 in Tandem, fp32 there.
"""

import argparse
import sys
import time

import numpy as np
from sentence_transformers import SentenceTransformer

from benchmarks.common import save
from benchmarks.shop import add_options, shop_of
from core.errors import TandemError
from encoder.embed import embed_all
from encoder.tower import Tower
from engine.onnx import OnnxModel

_WARM = 256


def main() -> None:
    """Embeds a sample of the catalog with both, three rounds in turn, and saves the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--products", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="embedding", help="of the results file")
    options = parser.parse_args()
    shop = shop_of(options)
    texts = _sample(shop.texts(shop.index()), options.products)
    tower = Tower.open(shop.models.encoder)
    model = OnnxModel(tower.model_path("item"))
    plain = SentenceTransformer(str(shop.encoder_checkpoint), device="cpu")
    plain.max_seq_length = tower.spec.max_item_tokens
    rates: dict[str, list[float]] = {"tandem": [], "plain": []}
    vectors: dict[str, np.ndarray] = {}
    for part in (texts[:_WARM], *[texts] * options.rounds):
        for name, embed in (("tandem", lambda t: _tandem(model, tower, t)), ("plain", lambda t: _plain(plain, t))):
            start = time.monotonic()
            vectors[name] = embed(part)
            rates[name].append(len(part) / (time.monotonic() - start))
    medians = {name: round(float(np.median(values[1:])), 1) for name, values in rates.items()}
    tokens = float(np.mean([len(t) for t in tower.tokenize_items(texts)]))
    cosine = float((vectors["tandem"] * vectors["plain"]).sum(axis=1).mean())
    ratio = round(medians["tandem"] / medians["plain"], 2)
    results = {"products_per_s": medians, "ratio": ratio, "mean_cosine": round(cosine, 4)}
    print(f"tandem {medians['tandem']} products/s, plain {medians['plain']}, ratio {ratio}, cosine {cosine:.4f}")
    parameters = {"products": len(texts), "rounds": options.rounds, "mean_tokens": round(tokens, 1)}
    print(save(options.name, parameters, results))


def _sample(texts: list[str], count: int) -> list[str]:
    rows = np.random.default_rng(0).choice(len(texts), min(count, len(texts)), replace=False)
    return [texts[row] for row in rows]


def _tandem(model: OnnxModel, tower: Tower, texts: list[str]) -> np.ndarray:
    return embed_all(model, tower.tokenize_items(texts))


def _plain(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
