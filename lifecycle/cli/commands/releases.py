"""`tandem releases`, `tandem lineage` and `tandem rollback`: the releases of a catalog."""

from typing import Annotated

import typer

from core.errors import ReleaseError, TandemError
from core.releases import ReleaseStore
from lifecycle.cli.options import RELEASES, Catalog, Releases
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_json
from retrieval.server.settings import TRITON_FOLDER


def list_releases(
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Newest releases to keep; the others are removed.")] = None,
) -> None:
    """List the releases of a catalog, and remove old ones if asked."""
    from lifecycle.cli.show import show_damage, show_releases

    store = ReleaseStore(releases)
    name = store.named(catalog)
    if keep is not None:
        removed = _keep_newest(store, name, keep)
        console.print(f"removed {len(removed)} releases", highlight=False)
    try:
        current = store.current(name)
    except ReleaseError as error:
        current = None
        show_damage(console, str(error))
    show_releases(console, store.listing(name), current)


def lineage(
    release: Annotated[str | None, typer.Argument(help="Release; default: the one in service.")] = None,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what a release was made of: its model set, the training runs, and the digests of all data."""
    from lifecycle.cli.show import show_lineage
    from lifecycle.tracking.lineage import release_lineage

    store = ReleaseStore(releases)
    name = store.named(catalog)
    current = release or store.current(name)
    assert current is not None, "a catalog without a release is not among the store's catalogs"
    parts = release_lineage(store.manifest(name, current))
    if as_json:
        print_json(parts)
    else:
        show_lineage(console, parts)


def rollback(
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    to: Annotated[str | None, typer.Option(help="Release to return to; default: the one before.")] = None,
    model: Annotated[str | None, typer.Option(help="Model set to return to, on the current catalog.")] = None,
) -> None:
    """Return to an earlier release, or to an earlier model set on the current catalog."""
    from lifecycle.cli.show import show_release
    from lifecycle.rollback import rollback_models, rollback_release

    store = ReleaseStore(releases)
    name = store.named(catalog)
    if to and model:
        raise TandemError("give --to or --model, not both")
    if model:
        outcome = rollback_models(store, name, model, Bars(console))
        show_release(console, outcome.manifest, outcome.embedded)
    else:
        console.print(f"catalog {name} is back at release {rollback_release(store, name, to)}", highlight=False)


def _keep_newest(store: ReleaseStore, catalog: str, keep: int) -> list[str]:
    """Removes all but the newest releases, and their models in Triton's repository; returns their names."""
    repository = store.root / TRITON_FOLDER
    if not repository.is_dir():
        with store.lock(catalog, exclusive=True):
            return store.prune(catalog, keep)
    from engine.triton.repository import remove_others

    with store.lock(catalog, exclusive=True):
        removed = store.prune(catalog, keep)
        remove_others(repository, catalog, {release.name for release in store.releases(catalog)})
    return removed
