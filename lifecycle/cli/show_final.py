"""Final scores as tables on the terminal: what they are worth, stage by stage and shop by shop."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison import PairedComparison
from lifecycle.cli.show_comparison import show_costs

if TYPE_CHECKING:
    from lifecycle.final_score.shops import ShopsOutcome
    from lifecycle.final_score.train import FinalTrainingResult


def show_final(console: Console, outcome: "FinalTrainingResult", output: Path) -> None:
    """The quality of a final score on queries held out of its training, stage by stage."""
    spec = outcome.spec
    table = Table(title="held-out queries, nDCG@10 of the full catalog", title_justify="left")
    table.add_column("order by", min_width=28)
    table.add_column("mean and 95% interval", justify="right")
    for stage, estimate in outcome.summary.items():
        table.add_row(stage, f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]")
    console.print(table)
    show_costs(console, outcome.costs)
    gain = spec.report["final over reranked"]
    console.print(
        f"{spec.report['queries']} queries; fusion weighs the towers {spec.dense_weight:g} and words "
        f"{spec.lexical_weight:g}; final over reranked {gain['difference']['mean']:+.3f}, p = {gain['p']:.4f}; "
        f"{spec.rerank_depth} candidates are worth rescoring",
        style="dim",
        highlight=False,
    )
    console.print(f"trained a final score: {output}; publish it with `tandem index --final {output}`", highlight=False)


def show_shops(console: Console, outcome: "ShopsOutcome", output: Path) -> None:
    """What was learned of the other shops is worth in each, and what is written."""
    spec = outcome.spec
    table = Table(
        title="each shop by what was learned of the others, nDCG@10 of the full catalog", title_justify="left"
    )
    for name in ("shop", "queries", "fused", "final", "final over fused", "p"):
        table.add_column(name)
    for entry in outcome.left_out:
        pair, kind = entry.over_fused(), "made up" if entry.shop.made_up else "judged"
        cells = (f"{pair.difference.queries:,} {kind}", f"{pair.a:.3f}", f"{pair.b:.3f}", _gain(pair), f"{pair.p:.4f}")
        table.add_row(Text(entry.shop.name), *cells)
    console.print(table, highlight=False)
    for entry in outcome.left_out:
        show_costs(console, entry.costs, f"{entry.shop.name}: what each stage gains and takes")
    mean = spec.report["mean over fused"]
    depth = f"{spec.rerank_depth} candidates are" if spec.rerank_depth else "no candidate is"
    lines = [
        f"mean over fused {mean['mean']:+.3f}, standard error {mean['standard error']:.3f}; "
        f"worst shop {spec.report['worst shop']}; {depth} worth rescoring"
    ]
    if spec.report["ridge"] is None:
        lines.append("no weights were better in shops left out: the score keeps the order of fusion")
    lines.append(f"trained a final score: {output}; publish it with `tandem index --final {output}`")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _gain(pair: PairedComparison) -> str:
    gain = pair.difference
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
