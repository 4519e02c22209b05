"""The index job: a feed and a model set become a published release.

Stages: read and clean -> fold changes -> type columns -> embed -> tokenise -> index words -> index suggestions ->
index vectors -> validate -> publish.
"""

import logging
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog.column_file import TYPED_COLUMNS_FILE, open_columns
from catalog.table import ProductTable
from catalog.tokens import OFFSETS_FILE, TOKENS_FILE
from core.errors import ReleaseError, TandemError
from core.manifest import ColumnsReport, LexicalReport, Manifest, SuggestionReport
from core.progress import Report, Steps, ignore
from core.releases import ReleaseStore
from engine.device import chosen_device
from engine.half import has_half
from engine.lexical.index import SYNONYMS_FILE, lexical_files
from indexer.build import IndexReport, build_index
from indexer.changes import Changes, drop_unneeded, open_changes
from indexer.cleaning.mapping import FeedMapping
from indexer.columns import ColumnSettings, write_columns
from indexer.embed import embed_products, tokenize_products
from indexer.fold import Folded, fold_into_feed, fold_into_release, plan_fold
from indexer.inputs import (
    IndexOptions,
    digest_feed,
    digest_mapping,
    digest_settings,
    is_unchanged,
    manifest_settings,
    replace_models,
    restore_settings,
)
from indexer.lexical import index_words
from indexer.models import ModelFolders, OpenModels, open_models
from indexer.products import CleanResult, clean_feed
from indexer.publish import (
    COLUMNS_FILE,
    INDEX_FILE,
    LEXICAL_FOLDER,
    QUARANTINE_FILE,
    CleanProducts,
    Market,
    ReleaseDraft,
    publish,
)
from indexer.queries import embed_queries
from indexer.sample import keep_sample
from indexer.suggestions import SUGGESTIONS_FOLDER, past_queries, suggestion_files, write_catalog_suggestions
from indexer.validate import validate, validate_columns
from indexer.work import work_folder
from text.synonyms import Synonyms

log = logging.getLogger("tandem.index")

WORK = "work"


@dataclass(frozen=True, slots=True)
class IndexOutcome:
    """The release in service after the job, and how many products had to be embedded; None when nothing changed."""

    manifest: Manifest
    embedded: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """All that the stages share; `work` is the folder that they write into."""

    models: OpenModels
    options: IndexOptions
    inputs: dict[str, str]
    store: ReleaseStore
    work: Path
    steps: Steps


def index_feed(
    feed: Path,
    mapping: FeedMapping,
    models: ModelFolders,
    options: IndexOptions,
    store: ReleaseStore,
    steps: Steps,
) -> IndexOutcome:
    """Reads and cleans a feed, and publishes a release of it unless the one in service was made of the same.

    Raises FeedError, ModelError or ReleaseError, with nothing published.
    """
    catalog = mapping.catalog
    market = Market(catalog.name, catalog.language, catalog.country, catalog.currency)
    with store.lock(market.catalog):
        digests = {
            "feed": digest_feed(feed),
            "mapping": digest_mapping(mapping),
            "settings": digest_settings(options),
        }
        opened = open_models(models)
        inputs = digests | opened.digests()
        served = _release_in_service(store, market.catalog)
        with open_changes(store, market.catalog, options.change_log) as changes:
            changes.check_known(served, may_be_gone=options.as_of is not None)
            cut = feed.stat().st_mtime_ns // 1_000_000 if options.as_of is None else options.as_of
            plan = plan_fold(store, market.catalog, changes, served, cut)
            unchanged = served and is_unchanged(served, inputs, options) and plan.holds_all()
            if served and unchanged and _can_be_served(store, served):
                return IndexOutcome(served, None)
            with work_folder(store.folder(market.catalog) / WORK, [QUARANTINE_FILE]) as work:
                with steps.step("clean") as report:
                    cleaned = clean_feed(feed, mapping, work, report, options.max_rejected)
                    if options.sample:
                        keep_sample(cleaned.columns, options.sample)
                job = _Job(opened, options, inputs, store, work, steps)
                products = _clean_products(cleaned, market, mapping.types)
                versions = None if options.sample else cleaned.versions
                with _fold_step(steps, changes, versions is not None) as report:
                    products = _with_changes(products, fold_into_feed(plan, store, cleaned.columns, versions, report))
                outcome = _make_release(products, job)
            _drop_changes(store, market.catalog, changes)
            return outcome


def apply_models(
    catalog: str, models: ModelFolders, options: IndexOptions, store: ReleaseStore, steps: Steps
) -> IndexOutcome:
    """Publishes the current products of a catalog under another model set, indexed as they were indexed.

    Raises ReleaseError when there are none or they are damaged.
    """
    with store.lock(catalog):
        served = _release_in_service(store, catalog)
        if served is None:
            raise ReleaseError(f"catalog {catalog!r} has no release yet: make one with `tandem index`")
        for name in (COLUMNS_FILE, QUARANTINE_FILE):
            store.verify(catalog, served.release_id, name)
        options = restore_settings(options, served)
        opened = open_models(models)
        with open_changes(store, catalog, options.change_log) as changes:
            changes.check_known(served, may_be_gone=True)
            with work_folder(store.folder(catalog) / WORK, []) as work:
                products = _copy_products(store, served, work)
                job = _Job(opened, options, replace_models(served.inputs, options, opened), store, work, steps)
                with _fold_step(steps, changes, False) as report:
                    folded = fold_into_release(changes, store, served, products.columns, report)
                outcome = _make_release(_with_changes(products, folded), job)
            _drop_changes(store, catalog, changes)
            return outcome


def _make_release(products: CleanProducts, job: _Job) -> IndexOutcome:
    table = ProductTable(products.columns)
    typed = _type_columns(table, products, job)
    vectors, embedded = _embed(table, job)
    tokens = _tokenize(table, job)
    lexical = _index_words(table, products.market, job)
    suggestions = _index_suggestions(table, products.market, job)
    index = _index_vectors(table, vectors, job)
    with job.steps.step("validate"):
        encoder, golden = job.models.encoder, list(job.options.golden)
        validation = validate(table, vectors, job.work / INDEX_FILE, index.model_dump(), encoder, golden)
        validate_columns(open_columns(job.work / TYPED_COLUMNS_FILE), table)
    with job.steps.step("publish"):
        files = {
            COLUMNS_FILE: products.columns,
            INDEX_FILE: job.work / INDEX_FILE,
            TYPED_COLUMNS_FILE: job.work / TYPED_COLUMNS_FILE,
            **products.extra_files,
            **tokens,
            **_lexical_paths(lexical, job.work),
            **suggestion_files(job.work / SUGGESTIONS_FOLDER),
        }
        settings = manifest_settings(job.options)
        draft = ReleaseDraft(
            products=products,
            count=len(table),
            models=job.models,
            files=files,
            index=index,
            lexical=lexical,
            suggestions=suggestions,
            typed=typed,
            validation=validation,
            inputs=job.inputs,
            settings=settings,
        )
        manifest = publish(draft, job.store)
    (job.work / "vectors.npy").unlink()
    return IndexOutcome(manifest, embedded)


def _type_columns(table: ProductTable, products: CleanProducts, job: _Job) -> ColumnsReport:
    market = products.market
    with job.steps.step("type columns") as report:
        settings = ColumnSettings(market.language, market.currency, products.types)
        return write_columns(table, settings, job.work / TYPED_COLUMNS_FILE, report)


def _embed(table: ProductTable, job: _Job) -> tuple[NDArray[np.float16], int]:
    """Vectors of shape (n, d), and how many of them are new."""
    encoder, device = job.models.encoder, job.options.device
    if device == "auto" and not has_half(encoder.model_path("item")):
        device = "cpu"
    with job.steps.step("embed") as report:
        return embed_products(table, encoder, job.work, report, chosen_device(device))


def _tokenize(table: ProductTable, job: _Job) -> dict[str, Path]:
    """The files of the ranker's product tokens, by their names; none without a ranker."""
    if job.models.ranker is None:
        return {}
    with job.steps.step("tokenise for the ranker") as report:
        tokenize_products(table, job.models.ranker, job.work, report)
    return {name: job.work / name for name in (TOKENS_FILE, OFFSETS_FILE)}


def _index_words(table: ProductTable, market: Market, job: _Job) -> LexicalReport:
    with job.steps.step("index words") as report:
        synonyms = job.options.synonyms or _served_synonyms(job.store, market.catalog)
        return index_words(table, market.language, synonyms, job.work / LEXICAL_FOLDER, report)


def _index_suggestions(table: ProductTable, market: Market, job: _Job) -> SuggestionReport | None:
    with job.steps.step("index suggestions") as report:
        queries = job.options.queries
        if queries is None:
            queries = _served_queries(job.store, market.catalog)
        return write_catalog_suggestions(table, market.language, queries, job.work / SUGGESTIONS_FOLDER, report)


def _index_vectors(table: ProductTable, vectors: NDArray[np.float16], job: _Job) -> IndexReport:
    with job.steps.step("build the index") as report:
        queries = embed_queries(table, job.models.encoder, job.options.queries or {})
        return build_index(vectors, queries, job.work / INDEX_FILE, job.options.index, report)


def _lexical_paths(lexical: LexicalReport, work: Path) -> dict[str, Path]:
    names = lexical_files(list(lexical.weights))
    return {f"{LEXICAL_FOLDER}/{name}": work / LEXICAL_FOLDER / name for name in names}


def _clean_products(cleaned: CleanResult, market: Market, types: dict[str, str]) -> CleanProducts:
    extra = {QUARANTINE_FILE: cleaned.quarantine} if cleaned.quarantine.is_file() else {}
    return CleanProducts(market, cleaned.columns, cleaned.summary(), extra, types)


def _fold_step(steps: Steps, changes: Changes, versioned: bool) -> AbstractContextManager[Report]:
    """A step where there is anything to fold."""
    return steps.step("fold changes") if changes.last or versioned else nullcontext(ignore)


def _with_changes(products: CleanProducts, folded: Folded) -> CleanProducts:
    files = {**products.extra_files, **folded.files}
    return replace(products, columns=folded.columns, extra_files=files, changes=folded.report)


def _drop_changes(store: ReleaseStore, catalog: str, changes: Changes) -> None:
    """Drops what no release needs; the release is published, so a failure is a warning."""
    try:
        drop_unneeded(store, catalog, changes)
    except TandemError as error:
        log.warning("entries that no release needs stay in the change log: %s", error)


def _copy_products(store: ReleaseStore, served: Manifest, work: Path) -> CleanProducts:
    """The products of a release, copied into the folder."""
    folder = store.path(served.catalog, served.release_id)
    copied: dict[str, Path] = {}
    for name in (COLUMNS_FILE, QUARANTINE_FILE):
        if name in served.snapshot.files:
            copied[name] = work / name
            shutil.copyfile(folder / name, copied[name])
    market = Market(served.catalog, served.language, served.country, served.currency)
    typed = served.snapshot.columns
    types = {name: field.kind for name, field in typed.fields.items() if field.declared} if typed else {}
    return CleanProducts(market, copied.pop(COLUMNS_FILE), served.snapshot.cleaning, copied, types)


def _release_in_service(store: ReleaseStore, catalog: str) -> Manifest | None:
    """The release in service, or the one that stands in for it; None where there is neither."""
    try:
        return store.in_service(catalog)
    except ReleaseError as error:
        log.warning("nothing is taken from what was in service: %s", error)
        return None


def _can_be_served(store: ReleaseStore, served: Manifest) -> bool:
    """Whether it is in service and whole; a damaged release is made again from the same inputs."""
    try:
        store.verify(served.catalog, served.release_id)
        return store.current(served.catalog) == served.release_id
    except ReleaseError:
        return False


def _served_synonyms(store: ReleaseStore, catalog: str) -> Synonyms:
    """The synonyms of the release in service, or none. Raises ReleaseError when they are damaged."""
    served = _release_in_service(store, catalog)
    name = f"{LEXICAL_FOLDER}/{SYNONYMS_FILE}"
    if served is None or name not in served.snapshot.files:
        return Synonyms()
    try:
        store.verify(catalog, served.release_id, name)
        return Synonyms.model_validate_json((store.path(catalog, served.release_id) / name).read_bytes())
    except (ReleaseError, ValidationError):
        raise ReleaseError(
            f"release {served.release_id}: its {name} cannot be read; give --synonyms a file, or off"
        ) from None


def _served_queries(store: ReleaseStore, catalog: str) -> dict[str, int]:
    """The past queries of the release in service, or none. Raises ReleaseError when they are damaged."""
    served = _release_in_service(store, catalog)
    if served is None or served.snapshot.suggestions is None:
        return {}
    try:
        for name in served.snapshot.files:
            if name.startswith(f"{SUGGESTIONS_FOLDER}/"):
                store.verify(catalog, served.release_id, name)
        return past_queries(store.path(catalog, served.release_id) / SUGGESTIONS_FOLDER, served.snapshot.suggestions)
    except ReleaseError as error:
        raise ReleaseError(f"{error}; or give --queries a file, or off") from None
