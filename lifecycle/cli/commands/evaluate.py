"""`tandem evaluate` and `tandem gate`: the measures of a release, and whether it may be served."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.config import load_settings
from core.errors import TandemError
from core.releases import ReleaseStore
from lifecycle.cli.options import RELEASES, Catalog, Judgments, Releases, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_json

_REFUSED_STATUS = 3

Cutoff = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        min=0,
        max=1,
        help="Probability that means relevant; default: the ranker's, or best F1 on valid.",
    ),
]


def evaluate(
    judgments: Judgments,
    other: Annotated[str | None, typer.Argument(help="With --compare A: the release B, by id or folder.")] = None,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    relevant: Annotated[
        float | None, typer.Option(callback=finite, help="Least grade that is relevant; default: mid-range.")
    ] = None,
    rerank_depth: Annotated[
        int | None, typer.Option(min=0, max=500, help="Candidates to rescore; default: the release's.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Compare release A with B, each by id or folder; B alone is compared with the one in service."
        ),
    ] = None,
    cutoff: Cutoff = None,
    per_query: Annotated[Path | None, typer.Option(help="Parquet file for per-query results.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON.")] = False,
) -> None:
    """Measure the release in service on judgments, through the search code that serves, or compare two."""
    from lifecycle.cli.show import show_evaluation
    from lifecycle.cli.show_comparison import show_comparison, show_stages
    from lifecycle.quality.evaluation import (
        CURRENT,
        EvaluationRequest,
        compare_releases,
        evaluate_release,
        find_release,
    )

    if compare is None and (other is not None or cutoff is not None):
        raise TandemError("a release to evaluate, and --cutoff, go with --compare")
    store = ReleaseStore(releases)
    bars = Bars(Console(stderr=True) if as_json else console)
    name = store.named(catalog)
    if compare is not None:
        a, b = (
            find_release(store, name, reference) for reference in ((compare, other) if other else (CURRENT, compare))
        )
        comparison, slices = compare_releases(
            a, b, EvaluationRequest(judgments, split, relevant, rerank_depth, cutoff), bars
        )
        if per_query:
            comparison.write_per_query(per_query, slices)
        if as_json:
            print_json(comparison.as_json())
        else:
            show_comparison(console, comparison)
        return
    result, stages = evaluate_release(store, name, EvaluationRequest(judgments, split, relevant, rerank_depth), bars)
    if per_query:
        result.write_per_query(per_query)
    if as_json:
        print_json(result.as_json() | stages.as_json())
    else:
        show_evaluation(console, result)
        show_stages(console, stages, result.served)


def gate(
    candidate: Annotated[str, typer.Option(help="Release that is to be served, by id or folder.")],
    judgments: Judgments,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    against: Annotated[str, typer.Option(help="Release it would replace, by id or folder.")] = "current",
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    config: Annotated[Path | None, typer.Option(help="TOML file of rules and thresholds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Decide whether a release may replace the one in service. Exit status 0 if every rule holds, 3 if refused."""
    from lifecycle.cli.show_comparison import show_verdict
    from lifecycle.quality.evaluation import EvaluationRequest, compare_releases, find_release
    from lifecycle.quality.gate import GateSettings, judge

    settings = load_settings(GateSettings, config, {})
    store = ReleaseStore(releases)
    name = store.named(catalog)
    a, b = (find_release(store, name, reference) for reference in (against, candidate))
    bars = Bars(Console(stderr=True) if as_json else console)
    comparison, _ = compare_releases(a, b, EvaluationRequest(judgments, split), bars)
    verdict = judge(comparison, settings)
    if as_json:
        print_json(verdict.as_json())
    else:
        show_verdict(console, verdict)
    if not verdict.released:
        raise typer.Exit(_REFUSED_STATUS)
