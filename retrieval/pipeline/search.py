"""One request, top to bottom: encode, retrieve and match words side by side, fuse, prerank, rescore, arrange."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.errors import TandemError
from core.plan import Plan
from engine.protocol import Candidates, DeadlineExceeded, EngineError, Vectors
from ranker.features import FEATURE_NAMES, MISSING
from ranker.mix import mixed_scores
from retrieval.pipeline.answer import (
    CODE_MATCH_RULE,
    DENSE_FAILED,
    EXPLANATION_SKIPPED,
    LEXICAL_FAILED,
    PRICE_RULE,
    RERANK_FAILED,
    RERANK_REDUCED,
    RERANK_SKIPPED,
    Answer,
    Degradation,
    FeatureContribution,
    Hit,
    StageScore,
)
from retrieval.pipeline.budget import before_words
from retrieval.pipeline.candidates import CandidateSet, Fusion, SourceScores, one_source
from retrieval.pipeline.features import code_matches, features, with_relevance
from retrieval.pipeline.words import LexicalFailed, LexicalMatches
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

# Of the time left: all else waits for the spelling, which takes far less.
_FOR_SPELLING = 0.1
# The final score of more candidates takes a millisecond or more, and so a thread: the event loop has others to answer.
_AT_ONCE = 256
# Hits whose reasons are told: 300 trees take some .5 ms for each.
_EXPLAINED = 50
# What rescoring that was cut off is taken to need, of the time that it had.
_UNFINISHED = 1.5


async def search(query: Query, plan: Plan, release: LoadedRelease, permit: Permit, deadline: float | None) -> Answer:
    """Answers a query from one release.

    `deadline` is a time of the running loop's clock, or None. Raises DeadlineExceeded or EngineError when neither the
    towers nor words found anything in time; other trouble only degrades the answer.
    """
    answer = Answer(view=release.view)
    with answer.naming_fallback():
        asked, bounds = release.price_bounds(query.text)
        if (text := await _understood(replace(query, text=asked), plan, release, deadline)) != query.text:
            query, answer.searched = replace(query, text=text), text
        found = await _retrieve(query, plan, release, deadline, answer)
        table = None  # what the final score goes by, where there is one
        if release.final is not None and found.evidence is not None and len(found.rows) > 0:
            found, table = await _preranked(release, found, answer)
        elif (first := code_matches(found)).any():
            found = found.ordered(np.argsort(~first, kind="stable"))
        beyond = np.zeros(len(found.rows), bool)  # the price that was asked for
        if bounds is not None:  # what is within is worth rescoring first
            beyond = ~bounds.include(answer.view.prices(found.rows))
            order = np.argsort(beyond, kind="stable")
            found, table, beyond = found.ordered(order), None if table is None else table[order], beyond[order]
        relevance = np.empty(0, np.float32)
        if release.ranker is not None and release.rerank_depth(plan) and len(found.rows) and found.dense is not None:
            relevance = await _rescore(query, plan, release, found, deadline, answer)
        answer.settled = answer.settled or asyncio.get_running_loop().time()
        answer.found, answer.relevance = found, _spread(relevance, len(found.rows))
        with answer.stage("arrange", len(found.rows)) as stage:
            if table is None:
                answer.hits = _arrange(found, relevance, release.mix, query.top_k, beyond)
            else:
                table = with_relevance(table, answer.relevance)
                answer.hits = await _by_final(query, release, answer, table, beyond, deadline)
            stage.candidates_out = len(answer.hits)
    return answer


async def _understood(query: Query, plan: Plan, release: LoadedRelease, deadline: float | None) -> str:
    """The query as it is to be searched: by the release's rewrites, then spelt as its products are.

    Trouble is told where words are matched.
    """
    if release.words is None:
        return query.text
    text = query.text
    left = None if deadline is None else deadline - asyncio.get_running_loop().time()
    with contextlib.suppress(TimeoutError, LexicalFailed):
        async with asyncio.timeout(None if left is None else _FOR_SPELLING * left):
            text = await release.words.apply_rewrites(text)
            if plan.lexical_candidates:
                text = await release.words.correct_spelling(text)
    return text


async def _retrieve(
    query: Query, plan: Plan, release: LoadedRelease, deadline: float | None, answer: Answer
) -> CandidateSet:
    """The candidates of both sources, asked side by side; of one where the other is not wanted, missing or failed."""
    words = asyncio.ensure_future(_match(query, plan, release, deadline, answer))
    until = deadline if release.words is None or deadline is None else _until(deadline, before_words)
    try:
        vector, dense = await _dense(query, plan, release, until, answer)
    except (EngineError, DeadlineExceeded) as error:
        if (matches := await words) is None or not len(matches.candidates.rows):
            raise
        detail = "found by words alone: the towers " + ("failed" if str(error) else "took too long")
        answer.degraded.append(Degradation(DENSE_FAILED, detail, str(error)))
        return one_source(matches.candidates, lexical=True)
    except BaseException:
        words.cancel()
        raise
    matches = await words
    if matches is None:
        return one_source(dense)
    return await _fuse(plan, release, vector, dense, matches, deadline, answer)


async def _dense(
    query: Query, plan: Plan, release: LoadedRelease, deadline: float | None, answer: Answer
) -> tuple[Vectors, Candidates]:
    """The query's vector, of shape (d,), and the products most similar to it."""
    with answer.stage("encode", 1) as stage:
        [tokens] = release.tower.tokenize_queries([query.text])
        vector = await release.models.encode(tokens, deadline)
        stage.candidates_out = 1
    breadth = max(plan.candidates, query.top_k)
    with answer.stage("retrieve", len(answer.view)) as stage:
        found = await release.models.retrieve(vector, breadth, deadline, answer.view)
        stage.candidates_out = len(found.rows)
    return vector, found


async def _match(
    query: Query, plan: Plan, release: LoadedRelease, deadline: float | None, answer: Answer
) -> LexicalMatches | None:
    """What words find; None where the plan or the release has no such source, or it failed."""
    if release.words is None or not plan.lexical_candidates:
        return None
    with answer.stage("lexical", len(answer.view)) as stage:
        try:
            async with asyncio.timeout_at(_latest(release, deadline)):
                matches = await release.words.search(query.text, plan.lexical_candidates, answer.view)
        except TimeoutError:
            answer.degraded.append(Degradation(LEXICAL_FAILED, "matching words took too long"))
            return None
        except LexicalFailed as error:
            answer.degraded.append(Degradation(LEXICAL_FAILED, "matching words failed", str(error)))
            return None
        stage.candidates_out = len(matches.candidates.rows)
        return matches


async def _fuse(
    plan: Plan,
    release: LoadedRelease,
    vector: Vectors,
    dense: Candidates,
    matches: LexicalMatches,
    deadline: float | None,
    answer: Answer,
) -> CandidateSet:
    """Both lists as one, each source asked what it makes of the products that the other found."""
    assert release.words is not None
    with answer.stage("fuse", len(dense.rows) + len(matches.candidates.rows)) as stage:
        fusion = Fusion.of(dense, matches.candidates, release.fusion_weights(plan))
        try:
            async with asyncio.timeout_at(_latest(release, deadline)):
                similarities, evidence = await asyncio.gather(
                    release.models.score_rows(vector, fusion.rows[fusion.unseen_by_dense], deadline, answer.view),
                    release.words.evidence(matches.query, fusion.rows, answer.view),
                )
        except (TimeoutError, LexicalFailed, EngineError, DeadlineExceeded) as error:
            detail = "comparing both sources " + ("failed" if str(error) else "took too long")
            answer.degraded.append(Degradation(LEXICAL_FAILED, detail, str(error)))
            return one_source(dense)
        found = fusion.completed(similarities, release.words.scores(evidence), matches.query, evidence)
        stage.candidates_out = len(found.rows)
        return found


async def _preranked(release: LoadedRelease, found: CandidateSet, answer: Answer) -> tuple[CandidateSet, Vectors]:
    """The candidates by the final score without the cross-encoder's word: the first are worth its time.

    With their features, shape (c, f), in the same order.
    """
    assert release.final is not None
    with answer.stage("prerank", len(found.rows)) as stage:
        table = features(found, answer.view.popularity(found.rows))
        stage.candidates_out = len(found.rows)
        order = np.lexsort((-await _final_scores(release, table, rescored=False), ~code_matches(found)))
        return found.ordered(order), table[order]


async def _rescore(
    query: Query, plan: Plan, release: LoadedRelease, found: CandidateSet, deadline: float | None, answer: Answer
) -> Vectors:
    """Probabilities of relevance of the first candidates, as many as there was time for; shape (depth,)."""
    assert found.dense is not None
    with answer.stage("rescore", len(found.rows)) as stage:
        work = release.rescoring(query.text, found.rows[: release.rerank_depth(plan)], answer.view)
        depth = _depth(work.costs(), plan, release, deadline, answer)
        if not depth:
            return np.empty(0, np.float32)
        latest = _latest(release, deadline)
        try:
            async with asyncio.timeout_at(latest):
                logits = await work.logits(depth, latest)
        except asyncio.CancelledError:
            if latest is not None and (late := asyncio.get_running_loop().time() - latest) > 0:
                release.reserve.observe(late)  # the end of the call itself was heard of no later
            raise
        except (TimeoutError, DeadlineExceeded):
            answer.settled = latest or 0.0  # how late this is heard of belongs to what is to be reserved
            release.pace.observe(work.tokens, _UNFINISHED * work.seconds)
            answer.degraded.append(Degradation(RERANK_FAILED, f"rescoring {depth} candidates took too long"))
            return np.empty(0, np.float32)
        except EngineError as error:
            answer.degraded.append(Degradation(RERANK_FAILED, f"rescoring {depth} candidates failed", str(error)))
            return np.empty(0, np.float32)
        release.pace.observe(work.tokens, work.seconds)
        stage.candidates_out = depth
        return release.relevance(logits, found.dense.scores[:depth])


def _depth(costs: list[int], plan: Plan, release: LoadedRelease, deadline: float | None, answer: Answer) -> int:
    """How many pairs, given by their tokens to compute, to rescore: all, or as many as the time left affords, or none
    when too few would fit."""
    if deadline is None:
        return len(costs)
    left = deadline - asyncio.get_running_loop().time()
    depth = release.pace.affordable(costs, release.reserve.usable(left))
    if depth == len(costs):
        return depth
    detail = f"{left * 1000:.0f} ms left allow {depth} of {len(costs)} candidates"
    if depth < min(plan.minimum_rerank, len(costs)):
        release.pace.relax()
        answer.degraded.append(Degradation(RERANK_SKIPPED, detail))
        return 0
    answer.degraded.append(Degradation(RERANK_REDUCED, detail))
    return depth


def _latest(release: LoadedRelease, deadline: float | None) -> float | None:
    """Until when a stage that can be done without may take."""
    return None if deadline is None else _until(deadline, release.reserve.usable)


def _until(deadline: float, share: Callable[[float], float]) -> float:
    """The time when so much of what is left until the deadline will have passed."""
    now = asyncio.get_running_loop().time()
    return now + share(deadline - now)


def _spread(relevance: Vectors, count: int) -> Vectors:
    """Of all candidates, NaN where there was no time to rescore; shape (count,)."""
    return np.concatenate([relevance, np.full(count - len(relevance), MISSING)])


async def _by_final(
    query: Query,
    release: LoadedRelease,
    answer: Answer,
    table: Vectors,
    beyond: NDArray[np.bool_],
    deadline: float | None,
) -> list[Hit]:
    """All candidates by the final score of their features; of equals, the one that was worth more before rescoring.

    Those `beyond` the price that was asked for come below all others.
    """
    found = answer.found
    rescored = not np.isnan(answer.relevance).all()
    learned = await _final_scores(release, table, rescored)
    # What the query names by its code comes first, whatever trees think that learned of other queries.
    lifted = np.where(code_matches(found), learned + np.ptp(learned) + 1, learned)
    scores = _lowered(lifted, beyond)
    order = np.argsort(-scores, kind="stable")[: query.top_k]
    ranks, explained = _ranks(answer.relevance), order[:_EXPLAINED]
    told = await _contributions(release, table[explained], rescored, deadline, answer) if query.explain else None
    rules = {CODE_MATCH_RULE: lifted - learned, PRICE_RULE: scores - lifted}
    ruled = {name: by_rule[explained] for name, by_rule in rules.items()}
    reasons = [()] * len(order) if told is None else _reasons(table[explained], told, ruled)
    relevance, worth = answer.relevance[order].tolist(), scores[order].tolist()
    hits = []
    for place, (i, said) in enumerate(zip(order.tolist(), _said(found, order), strict=True)):
        heard = (StageScore("rescore", relevance[place], ranks[i]),) if i in ranks else ()
        why = reasons[place] if place < len(reasons) else ()
        said = (*said, *heard, StageScore("final", worth[place], place + 1))
        hits.append(Hit(int(found.rows[i]), worth[place], said, why))
    return hits


async def _final_scores(release: LoadedRelease, table: Vectors, rescored: bool) -> Vectors:
    """Of c candidates, shape (c,)."""
    assert release.final is not None
    if len(table) <= _AT_ONCE:
        return release.final.scores(table, rescored)
    return await asyncio.to_thread(release.final.scores, table, rescored)


async def _contributions(
    release: LoadedRelease, table: Vectors, rescored: bool, deadline: float | None, answer: Answer
) -> Vectors | None:
    """What each feature did to the score of each of these candidates, shape (c, f).

    None where there is no time, or what explains scores is not installed; the answer names that.
    """
    assert release.final is not None
    try:
        async with asyncio.timeout_at(_latest(release, deadline)):
            return await asyncio.to_thread(release.final.contributions, table, rescored)
    except TimeoutError:
        answer.degraded.append(Degradation(EXPLANATION_SKIPPED, "explaining the scores took too long"))
    except TandemError as error:
        answer.degraded.append(Degradation(EXPLANATION_SKIPPED, "this service cannot explain scores", str(error)))
    return None


def _ranks(relevance: Vectors) -> dict[int, int]:
    """Places by relevance alone, from 1, of the candidates that have one."""
    rescored = np.flatnonzero(~np.isnan(relevance))
    order = rescored[np.argsort(-relevance[rescored], kind="stable")]
    return {int(i): rank for rank, i in enumerate(order, 1)}


def _lowered(scores: Vectors, beyond: NDArray[np.bool_]) -> Vectors:
    """Scores of which those beyond the price asked for are below all others, in the same order; shape (c,)."""
    if not beyond.any() or beyond.all():
        return scores
    return np.where(beyond, scores - np.ptp(scores) - 1, scores)


def _reasons(table: Vectors, told: Vectors, rules: dict[str, Vectors]) -> list[tuple[FeatureContribution, ...]]:
    """What each feature did to the score of each candidate, the most first; before them what each rule did to it."""
    names = FEATURE_NAMES
    orders = np.argsort(-np.abs(told), axis=1, kind="stable").tolist()
    result = []
    for place, (order, values, gains) in enumerate(zip(orders, table.tolist(), told.tolist(), strict=True)):
        ruled = ((name, float(by_rule[place])) for name, by_rule in rules.items())
        before = (FeatureContribution(name, 1.0, gain) for name, gain in ruled if gain)
        result.append((*before, *(FeatureContribution(names[f], values[f], gains[f]) for f in order if gains[f])))
    return result


def _arrange(found: CandidateSet, relevance: Vectors, mix: float, top_k: int, beyond: NDArray[np.bool_]) -> list[Hit]:
    """Rescored candidates by a mix of both orders, then the others as found, by their score less 1, which is below.

    Those `beyond` the price that was asked for come last.
    """
    if beyond.any() and not beyond.all():
        hits = _arrange(found, relevance, mix, len(found.rows), np.zeros_like(beyond))
        places = {row: place for place, row in enumerate(found.rows.tolist())}
        low = np.array([beyond[places[hit.row]] for hit in hits])
        scores = _lowered(np.array([hit.score for hit in hits]), low)
        return [replace(hits[i], score=float(scores[i])) for i in np.argsort(-scores, kind="stable")[:top_k].tolist()]
    first = code_matches(found)  # what the query names by its code is meant
    worth = np.where(first[: len(relevance)], 1, mixed_scores(relevance, mix))
    fused = np.where(first, found.scores.max(initial=0), found.scores)
    order, ranks = np.argsort(-worth, kind="stable")[:top_k], _ranks(relevance)
    rescored = []
    for rank, (i, said) in enumerate(zip(order.tolist(), _said(found, order), strict=True), 1):
        heard = StageScore("rescore", float(relevance[i]), ranks[i]), StageScore("mix", float(worth[i]), rank)
        rescored.append(Hit(int(found.rows[i]), float(worth[i]), (*said, *heard)))
    offset = 1.0 if len(relevance) else 0.0
    rest = np.arange(len(relevance), min(len(found.rows), len(relevance) + top_k - len(rescored)))
    return rescored + [
        Hit(int(found.rows[i]), float(fused[i]) - offset, said)
        for i, said in zip(rest.tolist(), _said(found, rest), strict=True)
    ]


def _said(found: CandidateSet, places: NDArray[np.int64]) -> list[tuple[StageScore, ...]]:
    """What retrieval said of candidates, source by source, and of both together, by which they have their ranks."""
    sides = [("retrieve", found.dense), ("lexical", found.lexical)]
    if found.fused:
        sides.append(("fuse", SourceScores(found.scores, found.ranks())))
    columns = [
        (name, side.scores[places].tolist(), side.ranks[places].tolist()) for name, side in sides if side is not None
    ]
    return [
        tuple(StageScore(name, scores[place], ranks[place]) for name, scores, ranks in columns)
        for place in range(len(places))
    ]
