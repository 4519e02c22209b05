"""`tandem upsert`, `tandem update` and `tandem delete`: changes of products while they are served."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import TandemError
from lifecycle.cli.connection import calls_service
from lifecycle.cli.options import ADDRESS, Address, Mapping, duration
from lifecycle.cli.terminal import print_line

if TYPE_CHECKING:
    from lifecycle.changes import ChangeReport

_Catalog = Annotated[str, typer.Option(help="Catalog; default: the only one served.")]
_Version = Annotated[str, typer.Option(help="Column of versions: an older one never replaces a newer one.")]
_Quarantine = Annotated[Path | None, typer.Option(help="Parquet file for rejected rows.")]
_Timeout = Annotated[float, typer.Option(callback=duration, help="Seconds for each request.")]
_Changes = Annotated[Path, typer.Argument(help="Parquet, JSONL or CSV file, gzipped or not.")]


@calls_service
def upsert(
    products: _Changes,
    address: Address = ADDRESS,
    mapping: Mapping = None,
    catalog: _Catalog = "",
    version_column: _Version = "",
    quarantine: _Quarantine = None,
    timeout: _Timeout = 30.0,
) -> None:
    """Add products to a running service, or replace them."""
    from lifecycle.changes import ChangeFile
    from lifecycle.client import connect
    from lifecycle.feeds import read_mapping

    chosen = read_mapping(mapping)
    with connect(address, timeout) as client:
        _show(ChangeFile(client, catalog, version_column, quarantine).upsert(products, chosen))


@calls_service
def update(
    changes: _Changes,
    address: Address = ADDRESS,
    catalog: _Catalog = "",
    version_column: _Version = "",
    quarantine: _Quarantine = None,
    timeout: _Timeout = 30.0,
) -> None:
    """Change fields of products in a running service: a file with `id` and the columns to change."""
    from lifecycle.changes import ChangeFile
    from lifecycle.client import connect

    with connect(address, timeout) as client:
        _show(ChangeFile(client, catalog, version_column, quarantine).update(changes))


@calls_service
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of products.")] = None,
    file: Annotated[Path | None, typer.Option(help="File with a column `id`, in place of ids.")] = None,
    address: Address = ADDRESS,
    catalog: _Catalog = "",
    version_column: _Version = "",
    timeout: _Timeout = 30.0,
) -> None:
    """Remove products from a running service."""
    from lifecycle.changes import ChangeFile
    from lifecycle.client import connect

    if bool(ids) == bool(file):
        raise TandemError("give ids of products, or --file with a file of them")
    with connect(address, timeout) as client:
        sender = ChangeFile(client, catalog, version_column)
        _show(sender.delete_file(file) if file else sender.delete(ids or ()))


def _show(report: "ChangeReport") -> None:
    """Prints what came of the changes. Raises TandemError where nothing was taken."""
    from lifecycle.changes import no_changes

    for reason, count in report.rejected.most_common():
        print_line(f"rejected {count:,}: {reason}, such as {report.examples[reason]}")
    for warning in report.warnings:
        print_line(f"warning: {warning}")
    if error := no_changes(report):
        raise error
    done = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.most_common()) or "nothing to change"
    print_line(f"{done}; revision {report.revision}" if report.revision else done)
