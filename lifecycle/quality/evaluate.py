"""Measures a release on judgments, through the same search code that serves."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from catalog.product import product_text
from core.errors import FeedError
from core.fusion import fuse
from core.plan import Plan
from core.progress import Report
from core.strings import quoted
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel
from evaluation import measures
from evaluation.classification import Scores
from evaluation.measures import Estimate, Grades, PerQuery, Rankings
from ranker.features import MISSING
from ranker.mix import mixed_scores
from retrieval.pipeline.candidates import DENSE, LEXICAL, CandidateSet, SourceScores, one_source
from retrieval.pipeline.coverage import favour
from retrieval.pipeline.features import with_relevance
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.understanding.result import Understanding
from retrieval.understanding.types import NEIGHBOURS, with_candidates
from retrieval.wire.request import Query

_CONCURRENT = 8
_DEPTH = 100
RETRIEVED, WORDS, FUSED, PRERANKED = "retrieval", "words", "fused", "preranked"
RERANKED, MIXED, FINAL = "reranked", "mixed", "final"
RANDOM = "random order"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Per-query values by stage and measure, and the inputs they were computed from.

    `unknown` counts judged products that the catalog does not hold. `pools` are the grades of those it does, `scores`
    what each stage gives them: similarities, or probabilities of relevance where a ranker scored.
    """

    release_id: str
    split: str
    lowest: float
    relevant: float
    unknown: int
    values: dict[str, PerQuery]
    grades: Grades = field(default_factory=dict)
    rankings: dict[str, Rankings] = field(default_factory=dict)
    pools: Grades = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)

    @property
    def served(self) -> str:
        """The stage whose order shoppers see."""
        return next(stage for stage in (FINAL, MIXED, RERANKED, FUSED, RETRIEVED) if stage in self.values)

    def summary(self) -> dict[str, dict[str, Estimate]]:
        """Means with 95% intervals, by stage and measure."""
        return {
            stage: {name: measures.estimate(list(values.values())) for name, values in of_stage.items()}
            for stage, of_stage in self.values.items()
        }

    def as_json(self) -> dict:
        """The summary and its parameters."""
        summary = {
            stage: {name: asdict(entry) for name, entry in entries.items()} for stage, entries in self.summary().items()
        }
        return {
            "release_id": self.release_id,
            "split": self.split,
            "gain": f"2^(grade - {self.lowest:g}) - 1",
            "relevant_from_grade": self.relevant,
            "judged_products_not_in_catalog": self.unknown,
            "measures": summary,
        }

    def write_per_query(self, path: Path) -> None:
        """A Parquet of `query`, `stage`, `measure`, `value`."""
        rows = [
            {"query": query, "stage": stage, "measure": name, "value": value}
            for stage, of_stage in self.values.items()
            for name, values in of_stage.items()
            for query, value in values.items()
        ]
        schema = pa.schema(
            [("query", pa.string()), ("stage", pa.string()), ("measure", pa.string()), ("value", pa.float64())]
        )
        pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


async def evaluate(
    release: LoadedRelease,
    judgments: pa.Table,
    split: str,
    plan: Plan,
    relevant: float | None,
    report: Report,
    held: Collection[str] | None = None,
) -> Evaluation:
    """Searches every query of a split without a deadline and measures each stage, over the catalog and the pool.

    `relevant` is the grade from which a product counts as relevant; the middle of the range when None. `held` are the
    products that pools may hold; the catalog's when None. Raises FeedError when the split holds no query, or the
    catalog none of its products.
    """
    chosen = select_grades(judgments, split)
    if not chosen:
        raise FeedError(f"the judgments hold no query of split {quoted(split)}")
    lowest, highest = measures.grade_range(select_grades(judgments, "all"))
    relevant = (lowest + highest) / 2 if relevant is None else relevant
    pools = select_pools(chosen, release.columns.ids() if held is None else held)
    unknown = sum(map(len, chosen.values())) - sum(map(len, pools.values()))
    if not pools:
        raise FeedError("the catalog holds none of the judged products: check that both use the same product ids")
    rankings = await _search_all(release, list(chosen), plan, report)
    scores = await score_pools(release, pools, plan)
    values = {
        stage: measures.full_ranking_measures(chosen, rankings[stage], lowest, relevant)
        | {"pool nDCG@10": measures.pool_ndcg(pools, orders(scores[stage]), lowest)}
        for stage in rankings
    }
    values[RANDOM] = {"pool nDCG@10": _random(pools, lowest)}
    return Evaluation(release.release_id, split, lowest, relevant, unknown, values, chosen, rankings, pools, scores)


async def served_ndcg(
    release: LoadedRelease, judgments: pa.Table, split: str, plan: Plan, report: Report
) -> dict[str, float]:
    """nDCG@10 over the catalog of the order that shoppers see, by query. Raises FeedError for an empty split."""
    chosen = select_grades(judgments, split)
    if not chosen:
        raise FeedError(f"the judgments hold no query of split {quoted(split)}")
    lowest, highest = measures.grade_range(select_grades(judgments, "all"))
    rankings: dict[str, list[str]] = {}
    with Admission(1).enter() as permit:
        for done, text in enumerate(chosen, 1):
            answer = await search(Query(text, top_k=_DEPTH), plan, release, permit, None)
            rankings[text] = [release.columns.id(hit.row) for hit in answer.hits]
            report(done, len(chosen))
    return measures.full_ranking_measures(chosen, rankings, lowest, (lowest + highest) / 2)["nDCG@10"]


def select_grades(judgments: pa.Table, split: str) -> dict[str, dict[str, float]]:
    """The grades of a split, or of `all`."""
    table = judgments if split == "all" else judgments.filter(pc.equal(judgments["split"], split))
    result: dict[str, dict[str, float]] = defaultdict(dict)
    for row in table.select(["query", "product_id", "grade"]).to_pylist():
        result[row["query"]][row["product_id"]] = row["grade"]
    return dict(result)


def select_pools(grades: Grades, held: Collection[str]) -> dict[str, dict[str, float]]:
    """The grades of products that are held, without the queries that have none."""
    held = frozenset(held)
    pools = {query: {p: grade for p, grade in products.items() if p in held} for query, products in grades.items()}
    return {query: products for query, products in pools.items() if products}


def orders(scores: Scores) -> dict[str, list[str]]:
    """Each query's products, the best score first; equal scores keep their order."""
    return {query: sorted(products, key=lambda p: -products[p]) for query, products in scores.items()}


async def _search_all(
    release: LoadedRelease, queries: Sequence[str], plan: Plan, report: Report
) -> dict[str, Rankings]:
    """The first hundred products of each query by each source, by both, and as reranked."""
    admission = Admission(_CONCURRENT)
    gate = asyncio.Semaphore(_CONCURRENT)
    rankings: dict[str, dict[str, list[str]]] = defaultdict(dict)

    async def one(text: str) -> None:
        async with gate:
            with admission.enter() as permit:
                answer = await search(Query(text, top_k=_DEPTH), plan, release, permit, None)
        for stage, rows in rows_by_stage(answer, release).items():
            rankings[stage][text] = [release.columns.id(row) for row in rows]
        report(len(rankings[RETRIEVED]), len(queries))

    await asyncio.gather(*(one(text) for text in queries))
    return dict(rankings)


def rows_by_stage(answer: SearchResult, release: LoadedRelease) -> dict[str, Sequence[int]]:
    """The first rows by each stage. Sources that returned more than the answer's length are truncated to it."""
    candidates = answer.candidates
    stages: dict[str, Sequence[int]] = {
        name: candidates.rows[source.order()][:_DEPTH].tolist()
        for name, source in ((RETRIEVED, candidates.dense), (WORDS, candidates.lexical))
        if source is not None
    }
    fused = np.argsort(-candidates.scores, kind="stable")
    if candidates.fused:
        stages[FUSED] = candidates.rows[fused][:_DEPTH].tolist()
    if release.final is not None:
        stages[PRERANKED] = candidates.rows[:_DEPTH].tolist()
    if release.ranker is not None:
        relevance = np.nan_to_num(answer.relevance[fused], nan=-1)
        stages[RERANKED] = candidates.rows[fused[np.argsort(-relevance, kind="stable")]][:_DEPTH].tolist()
    if release.final is not None:
        stages[FINAL] = [hit.row for hit in answer.hits]
    elif release.ranker is not None:
        stages[MIXED] = [hit.row for hit in answer.hits]
    return stages


async def score_pools(release: LoadedRelease, pools: Grades, plan: Plan) -> dict[str, Scores]:
    """Each stage's scores of each query's judged products, all of which the catalog holds.

    Fused: as serving does it, by the ranks that the two sources' scores give within the pool.
    """
    rows = {product: row for row, product in enumerate(release.columns.ids())}
    products = sorted({product for pool in pools.values() for product in pool}, key=rows.__getitem__)
    places = {product: place for place, product in enumerate(products)}
    vectors = _embed(release, [rows[product] for product in products])
    result: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for query, pool in pools.items():
        ids = list(pool)
        held = np.array([rows[product] for product in ids])
        text = (
            await release.words.correct_spelling(await release.words.apply_rewrites(query))
            if release.words is not None
            else query
        )
        similarities = vectors[[places[product] for product in ids]] @ await _vector(release, text)
        scores = {RETRIEVED: similarities}
        relevance = np.full(len(ids), MISSING)
        if release.ranker is not None:
            logits = await release.engine.rescore(release.pack(text, held), None)
            scores[RERANKED] = relevance = release.relevance(logits, similarities)
        if release.words is not None:
            scores |= await _with_words(release, text, held, similarities, relevance, plan)
        if release.ranker is not None and release.final is None:
            scores[MIXED] = _mixed(release, scores.get(FUSED, similarities), relevance)
        for stage, values in scores.items():
            result[stage][query] = dict(zip(ids, values.tolist(), strict=True))
    return dict(result)


async def _vector(release: LoadedRelease, query: str) -> np.ndarray:
    [vector] = await release.engine.encode(release.tower.tokenize_queries([query]), None)
    return vector


async def _with_words(
    release: LoadedRelease, query: str, rows: np.ndarray, similarities: np.ndarray, relevance: np.ndarray, plan: Plan
) -> dict[str, np.ndarray]:
    """A pool's scores by words, by fusion and by the final score, as if retrieval had found exactly the pool.

    Products without any of the query's words are not among those found by words.
    """
    assert release.words is not None
    matches = await release.words.search(query, NEIGHBOURS)
    evidence = await release.words.evidence(matches.query, rows)
    words = release.words.scores(evidence)
    by_words = np.argsort(-words, kind="stable")[: np.count_nonzero(words > 0)]
    weights = release.fusion_weights(plan)
    places, fused = fuse([np.argsort(-similarities, kind="stable"), by_words], weights)
    scores: dict[str, np.ndarray] = {WORDS: words, FUSED: np.zeros(len(rows))}
    scores[FUSED][places] = fused
    scores[FUSED] += favour(matches.query, evidence, weights[1])
    if release.final is not None:
        unranked = np.zeros(len(rows), np.int64)
        sources = {DENSE: SourceScores(similarities, unranked), LEXICAL: SourceScores(words, unranked)}
        candidates = CandidateSet(rows, scores[FUSED].astype(np.float32), sources, matches.query, evidence)
        stated = Understanding(attributes=matches.attributes)
        stated = with_candidates(stated, one_source(LEXICAL, matches.candidates), release.view)
        features = release.features(candidates, stated)
        scores[PRERANKED] = release.final.scores(features, rescored=False)
        table = with_relevance(features, relevance)
        scores[FINAL] = release.final.scores(table, rescored=release.ranker is not None)
    return scores


def _mixed(release: LoadedRelease, fused: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """The scores served without a final score, for a pool retrieved in the order of these scores."""
    order = np.argsort(-fused, kind="stable")
    scores = np.zeros(len(fused))
    scores[order] = mixed_scores(relevance[order], release.mix)
    return scores


def _embed(release: LoadedRelease, rows: Sequence[int]) -> np.ndarray:
    texts = [product_text(release.columns.row(row)) for row in rows]
    tower = release.tower
    return embed_all(OnnxModel(tower.model_path("item")), tower.tokenize_items(texts))


def _random(pools: Grades, lowest: float) -> dict[str, float]:
    return {
        query: measures.random_pool_ndcg(products, lowest)
        for query, products in pools.items()
        if max(products.values()) > lowest
    }
