"""`tandem rules`: check, try, publish, list and roll back the merchandising rules of a catalog."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from core.errors import TandemError
from core.plan import MAX_TOP_K
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules_file import read_rules
from lifecycle.cli.options import RELEASES, Catalog, Releases
from lifecycle.cli.terminal import console, print_json, print_line

rules = typer.Typer(no_args_is_help=True, add_completion=False, help="Pin, bury, boost, filter, rewrite, redirect.")

_SHOWN = 20  # warnings

File = Annotated[Path, typer.Argument(help="TOML or JSON file of rules.")]


@rules.command()
def check(
    file: File,
    releases: Annotated[
        Path | None, typer.Option(help="Folder of releases, to see whether the catalog has what the rules name.")
    ] = None,
    catalog: Catalog = None,
) -> None:
    """Check a file of rules, and with --releases what of it the catalog does not hold."""
    content = read_rules(file)
    if releases is None:
        if catalog is not None:
            raise TandemError("--catalog needs --releases, the folder that the catalog is in")
        print_line(f"{file}: {_count(len(content.rules))}, sound")
        return
    from lifecycle.rules import open_current, warnings

    store = ReleaseStore(releases)
    release = open_current(store, store.named(catalog))
    notes = warnings(content, release)
    release.retire()
    _show_warnings(notes)
    print_line(f"{file}: {_count(len(content.rules))}, sound, with {len(notes):,} warnings")


@rules.command("try")
def try_file(
    file: File,
    query: Annotated[list[str] | None, typer.Option(help="A query; can be given several times.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Text file of queries, one a line.")] = None,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    top_k: Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to compare.")] = 10,
    at: Annotated[str | None, typer.Option(help="Time to try, such as 2026-12-01T09:00+01:00; default: now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what a file would change: each query is searched under the rules in service and under the file.

    The release in service is opened from its folder, so that nothing reaches shoppers.
    """
    from lifecycle.cli.show_rules import show_trial, show_trials
    from lifecycle.rules import open_current, published_rules, read_queries, read_time, try_rules, warnings

    texts = [*(query or ()), *(read_queries(queries) if queries else ())]
    if not texts:
        raise TandemError("give queries to try: --query, or --queries with a file of them")
    content, moment, store = read_rules(file), read_time(at), ReleaseStore(releases)
    name = store.named(catalog)
    before, release = published_rules(store, name), open_current(store, name)
    notes = warnings(content, release)
    trials = []
    if not as_json:
        _show_warnings(notes)
    for trial in try_rules(before, content, release, texts, top_k, moment):
        trials.append(trial)
        if not as_json:
            show_trial(console, trial)
    release.retire()
    if as_json:
        parts = [asdict(trial) | {"changes": trial.changes} for trial in trials]
        print_json({"release": release.release_id, "warnings": notes, "queries": parts})
    else:
        show_trials(console, trials, release.release_id)


@rules.command()
def publish(
    file: File,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
) -> None:
    """Publish a file of rules; serving processes take it up within a second, without loading a model."""
    content, store = read_rules(file), ReleaseStore(releases)
    name = store.named(catalog)
    version, new = RuleStore(store, name).publish(content)
    if new:
        print_line(f"published {version} of catalog {name}: {_count(len(content.rules))}")
    else:
        print_line(f"nothing changed: {version} stays")


@rules.command("list")
def list_versions(releases: Releases = RELEASES, catalog: Catalog = None) -> None:
    """List the published versions; the one in service is marked."""
    from lifecycle.cli.show_rules import show_versions

    store = ReleaseStore(releases)
    kept = RuleStore(store, store.named(catalog))
    show_versions(console, kept.versions(), kept.trail())


@rules.command()
def rollback(
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    to: Annotated[str | None, typer.Option(help="Version to return to; default: the one served before.")] = None,
) -> None:
    """Return to an earlier version of the rules."""
    store = ReleaseStore(releases)
    name = store.named(catalog)
    print_line(f"catalog {name} is back at {RuleStore(store, name).rollback(to)}")


def _count(number: int) -> str:
    return f"{number:,} rule{'' if number == 1 else 's'}"


def _show_warnings(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        print_line(f"warning: {line}")
    if len(lines) > _SHOWN:
        print_line(f"and {len(lines) - _SHOWN:,} warnings more")
