"""`tandem profiles`: the stored profiles of shoppers."""

from pathlib import Path
from typing import Annotated

import typer

from core.config import load_settings
from core.errors import TandemError
from lifecycle.cli.options import RELEASES, Catalog, Config, Releases
from lifecycle.cli.terminal import print_line

profiles = typer.Typer(no_args_is_help=True, add_completion=False, help="Profiles of shoppers that a service reads.")


@profiles.callback()
def _group() -> None:
    """Keeps `import` a command of its own."""


@profiles.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="Parquet, JSONL or CSV with user, product, time and, if known, action.")],
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="A column with a name of its own: of user, product, time or action."),
    ] = None,
    config: Config = None,
) -> None:
    """Load what shoppers did into their profiles, as the settings of `tandem serve` keep them."""
    from core.releases import ReleaseStore
    from lifecycle.profiles import import_profiles
    from retrieval.profiles.profiles import open_profiles
    from retrieval.server.settings import ServeSettings

    settings = load_settings(ServeSettings, config, {"releases": releases})
    releases_there = ReleaseStore(settings.releases)
    name = releases_there.named(catalog)
    store = open_profiles(settings.profile_settings)
    if store is None:
        raise TandemError("profiles are off; set `profiles` to embedded or to the URL of a Redis")
    try:
        releases_there.audit.record("import profiles", name, file=str(file))
        report = import_profiles(file, store, name, column or ())
    finally:
        store.close()
    for line in report.lines():
        print_line(line)
