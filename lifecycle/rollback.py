"""Returns a catalog to an earlier release, or to earlier models."""

import logging

from core.errors import ReleaseError
from core.progress import Steps
from core.releases import ReleaseStore
from core.strings import quoted
from indexer.inputs import IndexOptions
from indexer.job import IndexOutcome, apply_models
from indexer.models import ModelFolders
from lifecycle.models import models_of

log = logging.getLogger("tandem.releases")


def rollback_release(store: ReleaseStore, catalog: str, release: str | None) -> str:
    """Points the catalog to an earlier release, products and all: the named one, or the last whole one served before.

    Served before is what the pointer named until the release in service came, whatever their names and the clock say:
    one rollback after another goes further back, and what was rolled back from is not served before what follows.
    Raises ReleaseError when there is no such release or it is damaged; the one in service stays then.
    """
    with store.lock(catalog):
        if release is None:
            release = _last_whole_release(store, catalog)
        else:
            store.verify(catalog, release)
        store.point(catalog, release, "rollback")
    return release


def rollback_models(store: ReleaseStore, catalog: str, model: str, steps: Steps, change_log: str = "") -> IndexOutcome:
    """Publishes the current products under an earlier model set, so that no old stock comes back.

    Raises ReleaseError when no release of the catalog has that model set, or its files or the products are damaged.
    """
    manifests = store.manifests(catalog)
    matching = [entry for entry in manifests if entry.model.model_id == model]
    if not matching:
        known = ", ".join(dict.fromkeys(entry.model.model_id for entry in manifests))
        raise ReleaseError(f"no release of catalog {catalog!r} has model set {quoted(model)}; there is: {known}")
    models = _models_of_any(store, catalog, [entry.release_id for entry in reversed(matching)])
    return apply_models(catalog, models, IndexOptions(change_log=change_log), store, steps)


def _models_of_any(store: ReleaseStore, catalog: str, releases: list[str]) -> ModelFolders:
    """The models of the first release that has them whole. Raises ReleaseError of the last one where none has."""
    for release in releases[:-1]:
        try:
            return models_of(store, catalog, release)
        except ReleaseError as error:
            log.warning("%s is passed over: %s", release, error)
    return models_of(store, catalog, releases[-1])


def _last_whole_release(store: ReleaseStore, catalog: str) -> str:
    """The last release before the one in service that is whole."""
    current, damaged = store.current(catalog), []
    for release in store.earlier(catalog):
        try:
            store.verify(catalog, release)
        except ReleaseError as error:
            log.warning("%s is passed over: %s", release, error)
            damaged.append(str(error))
        else:
            return release
    if damaged:
        raise ReleaseError(f"no release before {current} is whole; choose one with --to: {'; '.join(damaged)}")
    raise ReleaseError(f"catalog {catalog!r} has no release before {current}; see `tandem releases`")
