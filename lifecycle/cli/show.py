"""Releases and measures as tables on the terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.manifest import ChangesReport, ColumnsReport, Manifest
from core.release import Release

if TYPE_CHECKING:
    from lifecycle.quality.evaluate import Evaluation
    from lifecycle.tracking.registry import ModelVersion

_KIND_NAMES = {
    "string": "text",
    "strings": "sets of text",
    "number": "numbers",
    "money": "money",
    "boolean": "true or false",
    "date": "dates",
    "text": "long text",
}
_NAMES_SHOWN = 8
_RELEASE_COLUMNS = {"": 1, "release": 27, "created (UTC)": 19, "model": 14, "catalog": 14, "products": 8, "index": 10}


def show_releases(
    console: Console, releases: Sequence[Release], current: str | None, later: Mapping[str, int] | None = None
) -> None:
    """The releases of one catalog in their order, the one in service marked; what is damaged, and why, below.

    `later` has, by release, how many requests changed products since, where there is a change log.
    """
    table = Table()
    for name, width in _RELEASE_COLUMNS.items():
        table.add_column(name, min_width=width)
    for release in releases:
        mark = "→" if release.name == current else ""
        table.add_row(
            mark, Text(release.name), *(_release_cells(release.manifest) if release.manifest else ["damaged"])
        )
    console.print(table)
    for name, count in (later or {}).items():
        if count:
            line = f"{name}: changes since, which a service applies over it: {count:,} requests"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    for release in releases:
        if release.damage:
            show_damage(console, release.damage)


def show_damage(console: Console, damage: str) -> None:
    """Prints why a release is damaged, in one line."""
    console.print(f"damaged: {damage}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _release_cells(entry: Manifest) -> list[str]:
    return [
        f"{entry.created:%Y-%m-%d %H:%M:%S}",
        entry.model.model_id,
        entry.snapshot.catalog_id,
        f"{entry.snapshot.products:,}",
        str(entry.snapshot.index.get("kind", "")),
    ]


def show_release(console: Console, manifest: Manifest, embedded: int | None) -> None:
    """The outcome of an index job."""
    if embedded is None:
        console.print(f"nothing changed: release {manifest.release_id} stays", highlight=False)
        return
    cleaning = ", ".join(f"{name} {value:,}" for name, value in counts(manifest).items())
    console.print(f"feed: {cleaning}", highlight=False)
    _show_cleaning(console, manifest.snapshot.cleaning)
    if manifest.snapshot.changes is not None:
        _show_changes(console, manifest.snapshot.changes)
    if manifest.snapshot.columns is not None:
        _show_columns(console, manifest.snapshot.columns)
    index = manifest.snapshot.index
    console.print(
        f"index: {index['kind']}, recall@100 {index['recall_at_100']:.3f} against exact search; "
        f"{embedded:,} products embedded, {manifest.snapshot.products - embedded:,} reused",
        highlight=False,
    )
    console.print(f"published release {manifest.release_id} of catalog {manifest.catalog}", highlight=False)


def _show_cleaning(console: Console, cleaning: Mapping[str, Any]) -> None:
    """How the feed was read, and an example of each kind of value that could not be read."""
    lines = [f"feed read as {cleaning['format']} in {cleaning['encoding']}"] if "encoding" in cleaning else []
    lines += [f"note: {note}" for note in cleaning.get("notes", ())]
    dropped = cleaning.get("dropped", {})
    examples = cleaning.get("examples", {})
    lines += [
        f"left out of {count:,} products: {name}, such as {examples.get(name)}" for name, count in dropped.items()
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _show_changes(console: Console, changes: ChangesReport) -> None:
    """What of the change log the feed superseded, and what was folded in."""
    if not changes.revision:
        return
    cut = f"{datetime.fromtimestamp(changes.cut / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    line = (
        f"changes: {changes.superseded:,} requests until {cut} superseded by the feed, {changes.folded:,} later ones "
        f"folded in: products upserted {changes.upserted:,}, updated {changes.updated:,}, deleted {changes.deleted:,}"
    )
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _show_columns(console: Console, report: ColumnsReport) -> None:
    """The types of the fields that products have, a line each."""
    kinds: dict[str, list[str]] = {}
    for name, field in report.fields.items():
        if field.filled:
            unreadable = f", {field.unreadable:,} unreadable" if field.unreadable else ""
            notes = f" ({field.unit}{unreadable})" if field.unit else f" ({unreadable[2:]})" if unreadable else ""
            kinds.setdefault(field.kind, []).append(name + notes)
    for kind, names in kinds.items():
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        line = f"columns of {_KIND_NAMES[kind]}: {', '.join(names[:_NAMES_SHOWN])}{more}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.rare_attributes:
        line = f"note: {report.rare_attributes:,} rarer attributes have no column and cannot be filtered by"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_lineage(console: Console, lineage: Mapping[str, Any]) -> None:
    """The lineage from `lifecycle.tracking.lineage.release_lineage`, one fact a line."""
    lines = [f"release {lineage['release']} of catalog {lineage['catalog']}", f"  products {lineage['snapshot']}"]
    lines += [f"    {name:<9} {digest or '-'}" for name, digest in lineage["inputs"].items()]
    lines.append(f"  model set {lineage['model_set']}")
    for kind in ("encoder", "ranker"):
        lines += _training_lines(kind, lineage[kind], lineage["inputs"].get(kind, "unknown"))
    lines += _final_lines(lineage["final"])
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _training_lines(kind: str, record: Mapping[str, Any] | None, digest: str) -> list[str]:
    if record is None:
        return [f"    {kind}: {'no training known' if digest else 'none'}"]
    facts = {"started": record["started"], "code": record["git"] or "-", **record["data"]}
    if record["run"]:
        run = record["run"]
        facts |= {"run": f"{run['run_id']} in {run['uri']}", "version": f"{run['version']} of {run['model']}"}
    return [f"    {kind}: from {record['base']}", *(f"      {name:<9} {fact}" for name, fact in facts.items())]


def _final_lines(spec: Mapping[str, Any] | None) -> list[str]:
    """What a final score rescores, and what each stage gained, and took, where it was measured."""
    if spec is None:
        return ["    final: none"]
    shops, stages = spec["report"].get("shops left out", {}), spec["report"].get("stages", [])
    parts = {f"{name}, ": shop.get("stages", []) for name, shop in shops.items()} or {"": stages}
    lines = [f"      {name}{_stage_line(stage)}" for name, part in parts.items() for stage in part]
    return [f"    final: {len(spec['features'])} features, {spec['rerank_depth']} candidates are rescored", *lines]


def _stage_line(stage: Mapping[str, Any]) -> str:
    gain = f"{stage['gain']['mean']:+.3f} over {stage['over']}, " if stage["over"] else ""
    return f"{stage['stage']}: nDCG@10 {stage['ndcg']:.3f}, {gain}{stage['milliseconds']:.2f} ms"


def show_models(console: Console, models: "Sequence[ModelVersion]") -> None:
    """The registered models, a version a row."""
    table = Table()
    for name in ("model", "version", "aliases", "validation", "created (UTC)", "run"):
        table.add_column(name, overflow="fold")
    for entry in models:
        best = f"{entry.best:.3f}" if entry.best is not None else ""
        created = f"{entry.created:%Y-%m-%d %H:%M:%S}"
        table.add_row(entry.name, entry.version, ", ".join(entry.aliases), best, created, entry.run_id)
    console.print(table)


def show_evaluation(console: Console, evaluation: "Evaluation") -> None:
    """Means with their 95% intervals, a row a stage."""
    summary = evaluation.summary()
    names = list(dict.fromkeys(name for entries in summary.values() for name in entries))
    title = f"release {evaluation.release_id}, split {evaluation.split}"
    table = Table(title=title, title_justify="left")
    table.add_column("stage", min_width=12)
    for name in names:
        table.add_column(name, justify="right")
    for stage, entries in summary.items():
        cells = [entries.get(name) for name in names]
        table.add_row(stage, *(f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]" if cell else "" for cell in cells))
    console.print(table)
    queries = max(entry.queries for entries in summary.values() for entry in entries.values())
    console.print(
        f"{queries} queries; gain 2^(grade - {evaluation.lowest:g}) - 1; relevant from grade {evaluation.relevant:g}; "
        f"unjudged products gain nothing, see judged@10; {evaluation.unknown} judged products are not in the catalog",
        style="dim",
        highlight=False,
    )


def counts(manifest: Manifest) -> dict[str, int]:
    """The counts of the cleaning, nested ones flattened, zeros left out."""
    flat: dict[str, int] = {}
    for name, value in manifest.snapshot.cleaning.items():
        if name == "dropped":
            continue  # shown by itself, with examples
        if isinstance(value, dict):
            flat |= {f"{name}: {key}": count for key, count in value.items() if isinstance(count, int) and count}
        elif isinstance(value, int) and value:
            flat[name.replace("_", " ")] = value
    return flat
