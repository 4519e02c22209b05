"""A comparison and a verdict as tables on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.classification import Report
from evaluation.measures import Estimate
from lifecycle.quality.comparison import Comparison, Example, MeasureComparison, ReleaseQuality
from lifecycle.quality.costs import StageCost
from lifecycle.quality.gate import Verdict
from lifecycle.quality.stages import StageComparison

_STATES = {True: "yes", False: "NO", None: "not judged"}
_TITLE = 60


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Measures, slices, examples, and how far the probabilities can be trusted."""
    a, b = comparison.a.evaluation, comparison.b.evaluation
    lines = [f"A {a.release_id}, B {b.release_id}, split {b.split}, {len(b.grades)} queries; p after Holm's correction"]
    if not comparison.same_catalog:
        lines.append("the catalogs differ: only the judged pools of products that both hold are compared")
    _print_lines(console, *lines)
    _rows(console, "measures", "stage", comparison.measures)
    headline = [row for row in comparison.slices if row.measure == comparison.headline]
    _rows(console, f"slices, {comparison.headline}, as served", "slice", headline)
    for title, examples in (("gained most", comparison.gains), ("lost most", comparison.losses)):
        _examples(console, f"{title}, {comparison.headline}", examples)
    _trust(console, comparison)
    _reliability(console, comparison.b)


def show_stages(console: Console, stages: StageComparison, served: str) -> None:
    """Compares each stage with the served list, by slice too, with queries where either is ahead."""
    _print_lines(console, f"each stage (A) against what is served, {served} (B); p after Holm's correction")
    _rows(console, "stages", "stage", stages.rows)
    names = list(dict.fromkeys(stage for estimates in stages.slices.values() for stage in estimates))
    table = _table("slices, nDCG@10 of the full catalog", "slice", "queries", *names)
    for name, estimates in stages.slices.items():
        cells = [f"{estimates[stage].mean:.3f}" if stage in estimates else "" for stage in names]
        table.add_row(Text(name), str(max(entry.queries for entry in estimates.values())), *cells)
    console.print(table, highlight=False)
    show_costs(console, stages.costs)
    for stage in stages.gains:
        _examples(console, f"{served} most ahead of {stage}", stages.gains[stage])
        _examples(console, f"{served} most behind {stage}", stages.losses[stage])


def show_costs(console: Console, costs: Sequence[StageCost], title: str = "what each stage gains and takes") -> None:
    """A row for each stage: its nDCG@10, what it adds to the stage named, and its time of a query."""
    if not costs:
        return
    table = _table(title, "stage", "nDCG@10", "gain", "over", "ms, p50", "gain a ms")
    for cost in costs:
        each = "" if cost.gain_per_millisecond is None else f"{cost.gain_per_millisecond:+.4f}"
        gain = _interval(cost.gain, "+") if cost.over else ""
        cells = (f"{cost.ndcg:.3f}", gain, cost.over or "", f"{cost.milliseconds:.2f}", each)
        table.add_row(cost.stage, *cells)
    console.print(table, highlight=False)


def show_verdict(console: Console, verdict: Verdict) -> None:
    """A row for each rule, and the verdict."""
    table = _table(f"may {verdict.candidate} replace {verdict.against}?", "rule", "measured", "required", "holds")
    for finding in verdict.findings:
        table.add_row(finding.rule, finding.seen, finding.wanted, _STATES[finding.holds])
    console.print(table, highlight=False)
    failed = ", ".join(finding.rule for finding in verdict.findings if finding.holds is False)
    _print_lines(console, "released" if verdict.released else f"refused: {failed or 'no rule could be judged'}")


def _rows(console: Console, title: str, first: str, rows: list[MeasureComparison]) -> None:
    measured = first == "stage"
    names = [first, *(["measure"] if measured else []), "queries", "A", "B", "B - A", "p", "won", "lost"]
    table = _table(title, *names)
    for row in rows:
        pair = row.paired
        cells = [f"{pair.difference.queries:,}", f"{pair.a:.3f}", f"{pair.b:.3f}", _interval(pair.difference, "+")]
        last = [f"{row.p_holm:.3f}", str(pair.wins), str(pair.losses)]
        table.add_row(Text(row.name), *([row.measure] if measured else []), *cells, *last)
    console.print(table, highlight=False)


def _examples(console: Console, title: str, examples: list[Example]) -> None:
    table = _table(title, "query", "A", "B", "first with A", "first with B")
    for entry in examples:
        tops = [_product(*first[0]) if first else "" for first in (entry.first_a, entry.first_b)]
        table.add_row(Text(entry.query), f"{entry.a:.3f}", f"{entry.b:.3f}", *map(Text, tops))
    console.print(table, highlight=False)


def _trust(console: Console, comparison: Comparison) -> None:
    table = _table("judged pools, as served", "", "A", "B")
    sides = (comparison.a, comparison.b)
    table.add_row("lift over random order", *(_interval(side.lift.difference, "+") for side in sides))
    trusts = [side.trust for side in sides]
    table.add_row("cutoff", *(f"{t.cutoff:.3f} ({t.chosen})" if t else "no ranker" for t in trusts))
    for name in ("precision", "recall", "f1"):
        table.add_row(f"relevant: {name}", *(_interval(getattr(t.relevant, name)) if t else "" for t in trusts))
    for name in ("precision", "recall"):
        cells = (_interval(getattr(t.nothing_fits, name)) if t else "" for t in trusts)
        table.add_row(f"nothing fits: {name}", *cells)
    table.add_row("nothing fits: predicted, true", *(_counts(t.nothing_fits) if t else "" for t in trusts))
    table.add_row("calibration error", *(_interval(t.calibration_error) if t else "" for t in trusts))
    console.print(table, highlight=False)


def _reliability(console: Console, side: ReleaseQuality) -> None:
    if side.trust is None:
        return
    table = _table("reliability of B, tenths of the judged pairs", "pairs", "probability", "relevant")
    for entry in side.trust.reliability:
        table.add_row(f"{entry.pairs:,}", f"{entry.probability:.3f}", _interval(entry.relevant))
    console.print(table, highlight=False)


def _table(title: str, *names: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for name in names:
        table.add_column(name)
    return table


def _interval(entry: Estimate, sign: str = "") -> str:
    return f"{entry.mean:{sign}.3f} [{entry.low:{sign}.3f}, {entry.high:{sign}.3f}]"


def _counts(report: Report) -> str:
    return f"{report.predicted:,}, {report.actual:,} of {report.queries:,} queries"


def _product(title: str, grade: float | None) -> str:
    return f"{title[:_TITLE]} ({'unjudged' if grade is None else f'{grade:g}'})"


def _print_lines(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False)
