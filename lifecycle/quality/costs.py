"""What each stage of a search earns and what it costs: nDCG@10 gained, and milliseconds of a query."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.plan import Plan
from core.progress import Report
from evaluation.comparison import paired
from evaluation.measures import Estimate, estimate
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

WORDS, TOWERS, FUSED, PRERANK, RESCORING, FINAL = "words", "towers", "fused", "prerank", "rescoring", "final"
# The pipeline's own stages that each is timed by; `final` takes the time of rescoring too, without which it is none.
_TIMED = {
    WORDS: ("lexical",),
    TOWERS: ("encode", "retrieve"),
    FUSED: ("fuse",),
    PRERANK: ("prerank",),
    RESCORING: ("rescore",),
    FINAL: ("rescore", "arrange"),
}
# Queries that are timed, one after another, at most.
TIMED_QUERIES = 100

Values = Mapping[str, float]  # nDCG@10 by query
Seconds = Sequence[Mapping[str, float]]  # of each query by the pipeline's stage


@dataclass(frozen=True)
class StageCost:
    """One stage: its nDCG@10, what it gains over the stage named `over`, none for a source, and its p50 in ms."""

    stage: str
    over: str | None
    ndcg: float
    gain: Estimate
    p: float | None
    milliseconds: float

    @property
    def gain_per_millisecond(self) -> float | None:
        """nDCG@10 gained for a millisecond of a query; None where it takes no time."""
        return self.gain.mean / self.milliseconds if self.milliseconds > 0 else None

    def as_json(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self) | {"gain_per_millisecond": self.gain_per_millisecond}


def stage_costs(values: Mapping[str, Values], seconds: Seconds, rescores: bool = True) -> list[StageCost]:
    """Each stage that has values, by the names above, in the order of the pipeline.

    A source gains what it is worth alone, fusion what it adds to the better source, `final` what rescoring and the last
    order together add to the stage before rescoring; without `rescores`, its order takes no rescoring.
    """
    result = []
    for stage in (WORDS, TOWERS, FUSED, PRERANK, RESCORING, FINAL):
        if stage not in values or (stage == RESCORING and not any("rescore" in entry for entry in seconds)):
            continue
        over = _before(stage, values)
        own = values[stage]
        pair = paired(values[over], own) if over else None
        gain = pair.difference if pair else estimate(list(own.values()))
        ndcg = statistics.fmean(own.values())
        timed = [name for name in _TIMED[stage] if rescores or stage != FINAL or name != "rescore"]
        result.append(StageCost(stage, over, ndcg, gain, pair.p if pair else None, _median(seconds, timed)))
    return result


async def time_stages(release: LoadedRelease, queries: Sequence[str], plan: Plan, report: Report) -> Seconds:
    """How long each stage takes of the first queries, sent one after another to a warm release without a deadline."""
    await release.warm()
    result = []
    chosen = queries[:TIMED_QUERIES]
    with Admission(1).enter() as permit:
        for done, text in enumerate(chosen, 1):
            answer = await search(Query(text), plan, release, permit, None)
            result.append({stage.name: stage.seconds for stage in answer.stages})
            report(done, len(chosen))
    return result


def _before(stage: str, values: Mapping[str, Values]) -> str | None:
    """The stage that its order is compared with."""
    if stage in (WORDS, TOWERS):
        return None
    sources = [source for source in (WORDS, TOWERS) if source in values]
    if stage == FUSED:
        return max(sources, key=lambda source: statistics.fmean(values[source].values()), default=None)
    if stage in (RESCORING, FINAL) and PRERANK in values:
        return PRERANK
    return FUSED if FUSED in values else next(iter(sources), None)


def _median(seconds: Seconds, names: Sequence[str]) -> float:
    """Milliseconds, of the queries that any of the stages answered."""
    sums = [sum(entry.get(name, 0.0) for name in names) for entry in seconds if any(name in entry for name in names)]
    return 1000 * statistics.median(sums) if sums else 0.0
