"""One round of mining with the towers as they are; after training on what it gives, the next."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.fusion import fuse
from core.plan import RERANK_DEPTH, Plan
from core.progress import Steps
from lifecycle.examples.candidates import nearest
from lifecycle.examples.mining import Mined, Mining, PairScores, mine
from lifecycle.examples.products import Products
from lifecycle.training.similarity import TowerSimilarity
from lifecycle.training.teacher import Teacher
from training.loop import Judged

# As many as serving rescores.
FOUND = RERANK_DEPTH

# Vectors of so many pairs are side by side in memory at a time.
_PAIRS = 65_536


def mine_negatives(
    judged: Judged,
    products: Products,
    towers: TowerSimilarity,
    settings: Mining,
    steps: Steps,
    ranker: Path | None = None,
) -> Mined:
    """Negatives for the queries of one split, from BM25 (`bm25`) and the towers (`towers`), over all products.

    The folder `ranker` holds the teacher, if there is one. Mining again after training is another call, with the towers
    trained and another seed. Raises ModelError when the folder holds no model.
    """
    teacher = Teacher(ranker) if ranker else None
    queries = list(judged.queries)
    with steps.step("find words in common") as report:
        lexical = products.lexical.search(queries, settings.last, report)
    with steps.step("embed the products to mine") as report:
        items = towers.items(list(products.texts), report)
    vectors = towers.queries(queries)
    sources = {"bm25": lexical, "towers": nearest(vectors, items, settings.last)}
    cosine = cosines(vectors, items)
    scored = teacher.of(queries, products.texts, cosine) if teacher else None
    with steps.step("mine hard negatives"):
        return mine(judged, products, sources, settings, cosine, scored)


def found_first(
    judged: Judged, products: Products, towers: TowerSimilarity | None, count: int, steps: Steps
) -> dict[str, list[str]]:
    """The `count` products that serving finds first for each query, best first: by words, and with towers by both."""
    plan, queries = Plan(), list(judged.queries)
    with steps.step("find words in common") as report:
        lists = [products.lexical.search(queries, max(count, plan.lexical_candidates), report).rows]
    if towers is not None:
        with steps.step("embed the products to find") as report:
            items = towers.items(list(products.texts), report)
        lists.append(nearest(towers.queries(queries), items, max(count, plan.candidates)).rows)
    result = {}
    for query, *found in zip(queries, *lists, strict=True):
        rows, scores = fuse([line[line >= 0] for line in found], [1.0] * len(found))
        if towers is not None:
            rows = rows[np.argsort(-(scores + products.lexical.favour(query, rows)), kind="stable")]
        result[query] = [products.ids[row] for row in rows[:count]]
    return result


def cosines(queries: NDArray[np.float32], items: NDArray[np.float32]) -> PairScores:
    """Scores pairs by unit vectors of shape (q, d) and (n, d)."""

    def score(places: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        result = np.empty(len(places), np.float32)
        for start in range(0, len(places), _PAIRS):
            part = slice(start, start + _PAIRS)
            result[part] = np.einsum("nd,nd->n", queries[places[part]], items[rows[part]])
        return result

    return score
