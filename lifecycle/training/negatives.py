"""The negatives of a training: hard ones to train on, and what retrieval returns first, to validate on."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.fusion import fuse
from core.plan import RERANK_DEPTH, Plan
from core.progress import Steps
from encoder.bi_encoder import SPEC_FILE
from lifecycle.examples.candidates import nearest
from lifecycle.examples.mining import Mining, MiningResult, PairScores, group_by_query, mine
from lifecycle.examples.products import Products
from lifecycle.training.data import Inputs
from lifecycle.training.scoring import Teacher, TowerSimilarity
from training.examples import Examples, JudgedQueries

# As many as serving rescores.
RETRIEVED = RERANK_DEPTH

# Vectors of so many pairs are side by side in memory at a time.
_PAIRS = 65_536


def add_negatives(
    examples: Examples,
    products: Products,
    inputs: Inputs,
    similarity: TowerSimilarity | None,
    base: str | None,
    steps: Steps,
) -> Examples:
    """The examples with what the inputs ask for: hard negatives, retrieved products, and a teacher.

    `similarity` is that of the towers that a ranker builds on, None for towers, which start from `base`.
    """
    if inputs.mining:
        with _base_towers(base, examples) if similarity is None else nullcontext(similarity) as towers:
            mined = mine_negatives(examples.train, products, towers, inputs.mining, steps, inputs.teacher)
            retrieved = retrieve_first(examples.valid, products, towers, RETRIEVED, steps)
        examples = replace(examples, negatives=group_by_query(mined.table), retrieved=retrieved)
    elif similarity is not None:  # as served: the ranker has to gain on what the towers and words rank
        examples = replace(examples, retrieved=retrieve_first(examples.valid, products, similarity, RETRIEVED, steps))
    if inputs.teacher is None:
        return replace(examples, similarity=similarity)
    teacher = Teacher(inputs.teacher)
    scores = partial(teacher.chances, similarity=similarity) if similarity else teacher.logits
    return replace(examples, similarity=similarity, teacher=scores)


@contextmanager
def _base_towers(base: str | None, examples: Examples) -> Iterator[TowerSimilarity]:
    """The towers that a training starts from. Loads torch unless they are exported already."""
    if base and (Path(base) / SPEC_FILE).is_file():
        yield TowerSimilarity(Path(base))
        return
    from encoder.train.export import export_encoder
    from encoder.train.finetune import parity_texts

    with tempfile.TemporaryDirectory(prefix="tandem-base-") as folder:
        export_encoder(base, Path(folder), parity_texts(examples.texts))
        yield TowerSimilarity(Path(folder))


def mine_negatives(
    judged: JudgedQueries,
    products: Products,
    towers: TowerSimilarity,
    settings: Mining,
    steps: Steps,
    ranker: Path | None = None,
) -> MiningResult:
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
    scored = teacher.pair_scores(queries, products.texts, cosine) if teacher else None
    with steps.step("mine hard negatives"):
        return mine(judged, products, sources, settings, cosine, scored)


def retrieve_first(
    judged: JudgedQueries, products: Products, towers: TowerSimilarity | None, count: int, steps: Steps
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
    for query, *sources in zip(queries, *lists, strict=True):
        rows, scores = fuse([line[line >= 0] for line in sources], [1.0] * len(sources))
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
