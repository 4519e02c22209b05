"""A release from the files of an index job: its manifest, and its place in the store."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.manifest import (
    CatalogSnapshot,
    ChangesReport,
    ColumnsReport,
    FileEntry,
    LexicalReport,
    Manifest,
    ModelSet,
    SuggestionReport,
    catalog_id,
    model_id,
    release_id,
)
from core.releases import ReleaseStore
from indexer.build import IndexReport
from indexer.models import OpenModels

COLUMNS_FILE = "products.arrow"
QUARANTINE_FILE = "quarantine.parquet"
INDEX_FILE = "index.faiss"
LEXICAL_FOLDER = "lexical"


@dataclass(frozen=True, slots=True)
class Market:
    """Whose catalog it is: its name, language (BCP 47), country (ISO 3166-1) and currency (ISO 4217)."""

    catalog: str
    language: str
    country: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class CleanProducts:
    """Products to be indexed: the file of their columns, the report of the cleaning, files that go along,
    the types of fields that the mapping declares, and which changes were folded in."""

    market: Market
    columns: Path
    cleaning: dict[str, Any]
    extra_files: dict[str, Path] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    changes: ChangesReport | None = None


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """All that a release is made of; `files` by their paths in the release, without those of the models."""

    products: CleanProducts
    count: int
    models: OpenModels
    files: dict[str, Path]
    index: IndexReport
    lexical: LexicalReport
    suggestions: SuggestionReport | None
    typed: ColumnsReport
    validation: dict[str, Any]
    inputs: dict[str, str]
    settings: dict[str, Any]


def publish(draft: ReleaseDraft, store: ReleaseStore) -> Manifest:
    """Adds the files to the store, publishes the release, and returns its manifest. Raises ReleaseError."""
    model_files = {name: store.add_copy(path) for name, path in draft.models.files().items()}
    files = {name: store.add(path) for name, path in draft.files.items()}
    created = datetime.now(UTC)
    model, catalog = _model_set(draft.models, model_files), catalog_id(files[COLUMNS_FILE])
    market = draft.products.market
    manifest = Manifest(
        release_id=release_id(created, model.model_id, catalog),
        created=created,
        tandem_version=version("tandem-retrieval"),
        catalog=market.catalog,
        language=market.language,
        country=market.country,
        currency=market.currency,
        inputs=draft.inputs,
        settings=draft.settings,
        model=model,
        snapshot=CatalogSnapshot(
            catalog_id=catalog,
            products=draft.count,
            cleaning=draft.products.cleaning,
            index=draft.index.model_dump(),
            lexical=draft.lexical,
            suggestions=draft.suggestions,
            columns=draft.typed,
            changes=draft.products.changes,
            files=files,
        ),
        validation=draft.validation,
    )
    return store.publish(manifest)


def _model_set(models: OpenModels, files: dict[str, FileEntry]) -> ModelSet:
    return ModelSet(
        model_id=model_id(files),
        encoder=models.encoder.spec.model_dump(mode="json"),
        ranker=models.ranker.spec.model_dump(mode="json") if models.ranker else None,
        final=models.final.spec.model_dump(mode="json") if models.final else None,
        users=models.users.spec if models.users else None,
        lineage=models.lineage,
        files=files,
    )
