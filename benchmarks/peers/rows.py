"""Summarises the programs' figures: a row each, quality with a paired test, ratios, and where a peer is ahead."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.common import latencies
from evaluation.comparison import paired
from evaluation.measures import Grades, full_ranking_measures, grade_range

_NOISE = 1.02
Answers = Mapping[str, Sequence[str]]  # query -> products, best first


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed with so many clients. Cores are those busy on average; a peer's client is the peer itself."""

    queries_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cores: float
    client_cores: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One program at one depth of rescoring. `speeds` are by clients, `quality` is of the answers.

    `ready_seconds` are from texts to answers, embedding included, None where they were not measured; of a peer they are
    reckoned from its rate of embedding.
    """

    speeds: dict[int, Speed]
    quality: dict[str, float | None]
    products_per_s: float | None
    ready_seconds: float | None
    peak_mib: float

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def measure_speed(run: Mapping[str, Any]) -> Speed:
    """The speed of one run from a program's report."""
    times, seconds, client = run["times_ms"], run["seconds"], run.get("client_processor_seconds")
    return Speed(
        queries_per_s=round(len(times) / seconds, 2),
        **latencies([each / 1000 for each in times]),
        cores=round(run["processor_seconds"] / seconds, 2),
        client_cores=None if client is None else round(client / seconds, 2),
    )


def make_row(report: Mapping[str, Any], depth: int, quality: dict[str, float | None], products: int) -> Row:
    """The row of one program at one depth."""
    rates = report["embedding"]["products_per_s"]
    rate = round(float(np.median(rates)), 1)
    ready = (
        report["ready_seconds"] if "ready_seconds" in report else round(products / rate + report["build_seconds"], 1)
    )
    speeds = {run["clients"]: measure_speed(run) for run in report["runs"] if run["depth"] == depth}
    return Row(speeds, quality, rate, ready, report["peak_mib"])


def overlap(answers: Answers, other: Answers) -> float:
    """The mean share of a query's best ten that both have, over the queries both answer; NaN without any."""
    shares = [
        len(set(answers[query][:10]) & set(other[query][:10])) / max(len(other[query][:10]), 1)
        for query in answers.keys() & other.keys()
    ]
    return round(float(np.mean(shares)), 4) if shares else float("nan")


def quality(answers: Answers, baseline: Answers | None, grades: Grades) -> dict[str, float | None]:
    """nDCG@10 over the queries answered, and beside the baseline's on the same queries: the difference with its 95%
    interval and p, and the overlap of the best ten; None without a baseline."""
    entries: dict[str, float | None] = {"queries": len(answers), "ndcg": _mean(_ndcg(answers, grades))}
    if baseline is None:
        return entries | dict.fromkeys(("difference", "low", "high", "p", "overlap"))
    test = paired(_ndcg(baseline, grades), _ndcg(answers, grades))
    figures = {
        "difference": test.difference.mean,
        "low": test.difference.low,
        "high": test.difference.high,
        "p": test.p,
    }
    return (
        entries | {name: round(value, 4) for name, value in figures.items()} | {"overlap": overlap(answers, baseline)}
    )


def _ndcg(answers: Answers, grades: Grades) -> dict[str, float]:
    judged = {query: grades[query] for query in answers if query in grades}
    lowest, highest = grade_range(grades)
    return full_ranking_measures(judged, answers, lowest, (lowest + highest) / 2)["nDCG@10"]


def _mean(values: Mapping[str, float]) -> float | None:
    return round(float(np.mean(list(values.values()))), 4) if values else None


def figures(row: Row) -> dict[str, float]:
    """The figures that rows are compared by; of all but rates, less is better. Quality has a paired test instead."""
    entries: dict[str, float | None] = {}
    for clients, each in row.speeds.items():
        entries |= {f"queries/s, clients {clients}": each.queries_per_s, f"p50 ms, clients {clients}": each.p50_ms}
        entries |= {f"p99 ms, clients {clients}": each.p99_ms}
    entries |= {"products embedded/s": row.products_per_s, "seconds until ready": row.ready_seconds}
    entries |= {"peak MiB": row.peak_mib}
    return {name: value for name, value in entries.items() if value is not None}


def ratios(row: Row, baseline: Row) -> dict[str, float]:
    """The row's figures as multiples of the baseline's, where both have them and the baseline's is not zero."""
    base = figures(baseline)
    return {name: round(value / base[name], 3) for name, value in figures(row).items() if base.get(name)}


def strongest(peers: Mapping[str, Row]) -> str | None:
    """The peer that answers most queries a second at its most clients, which all rows have alike; None without any."""
    rates = {name: each.speeds[max(each.speeds)].queries_per_s for name, each in peers.items() if each.speeds}
    return max(rates, key=rates.__getitem__, default=None)


def ahead(peer: Row, ours: Row) -> dict[str, tuple[float, float]]:
    """Where the peer's figure is better than ours by more than a run's noise: both, by name."""
    mine, entries = figures(ours), {}
    for name, theirs in figures(peer).items():
        better, worse = (theirs, mine.get(name)) if _more_is_better(name) else (mine.get(name), theirs)
        if better is not None and worse is not None and better > worse * _NOISE:
            entries[name] = (theirs, mine[name])
    return entries


def _more_is_better(name: str) -> bool:
    return "/s" in name
