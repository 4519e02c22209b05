"""`tandem releases`, `tandem lineage`, `tandem rollback` and `tandem sign`: the releases of a catalog."""

from pathlib import Path
from typing import Annotated

import typer

from core.errors import ChangeLogError, ReleaseError, TandemError
from core.releases import ReleaseStore
from core.signatures import SigningKey
from lifecycle.cli.options import RELEASES, SIGN_KEY_VARIABLE, Catalog, ChangeLogSetting, Releases, SignKey
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_json
from retrieval.server.settings import TRITON_FOLDER


def list_releases(
    releases: Releases = RELEASES,
    catalog: Catalog = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Newest releases to keep; the others are removed.")] = None,
    change_log: ChangeLogSetting = "",
) -> None:
    """List the releases of a catalog, and remove old ones if asked."""
    from indexer.changes import count_later
    from lifecycle.cli.show import show_damage, show_releases

    store = ReleaseStore(releases)
    name = store.named(catalog)
    if keep is not None:
        removed = _keep_newest(store, name, keep, change_log)
        console.print(f"removed {len(removed)} releases", highlight=False)
    try:
        current = store.current(name)
    except ReleaseError as error:
        current = None
        show_damage(console, str(error))
    try:
        later = count_later(store, name, change_log)
    except ChangeLogError as error:
        later = None
        show_damage(console, str(error))
    show_releases(console, store.listing(name), current, later)


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
    change_log: ChangeLogSetting = "",
    sign_key: SignKey = None,
) -> None:
    """Return to an earlier release, or to an earlier model set on the current catalog."""
    from indexer.changes import count_later
    from lifecycle.cli.show import show_release
    from lifecycle.rollback import rollback_models, rollback_release

    store = ReleaseStore(releases, SigningKey(sign_key) if sign_key else None)
    name = store.named(catalog)
    if to and model:
        raise TandemError("give --to or --model, not both")
    if model:
        outcome = rollback_models(store, name, model, Bars(console), change_log)
        show_release(console, outcome.manifest, outcome.embedded)
    else:
        release = rollback_release(store, name, to)
        console.print(f"catalog {name} is back at release {release}", highlight=False)
        if later := (count_later(store, name, change_log) or {}).get(release):
            console.print(f"changes since, which a service applies over it: {later:,} requests", highlight=False)


def sign(
    sign_key: Annotated[Path, typer.Option(envvar=SIGN_KEY_VARIABLE, help="PEM file of an Ed25519 private key.")],
    release: Annotated[str | None, typer.Argument(help="Release; default: the one in service.")] = None,
    releases: Releases = RELEASES,
    catalog: Catalog = None,
) -> None:
    """Sign a release that is there, once all its files are verified."""
    store = ReleaseStore(releases)
    name = store.named(catalog)
    chosen = release or store.current(name)
    assert chosen is not None, "a catalog without a release is not among the store's catalogs"
    with store.lock(name):
        store.verify(name, chosen)
        store.sign(name, chosen, SigningKey(sign_key))
    console.print(f"signed release {chosen} of catalog {name}", highlight=False)


def _keep_newest(store: ReleaseStore, catalog: str, keep: int, change_log: str) -> list[str]:
    """Removes all but the newest releases, their models in Triton's repository, and changes that none of the others
    needs; returns their names."""
    from indexer.changes import drop_unneeded, open_changes

    repository = store.root / TRITON_FOLDER
    with store.lock(catalog, exclusive=True):
        removed = store.prune(catalog, keep)
        if repository.is_dir():
            from engine.triton.repository import remove_others

            remove_others(repository, catalog, {release.name for release in store.releases(catalog)})
        with open_changes(store, catalog, change_log) as changes:
            drop_unneeded(store, catalog, changes)
    return removed
