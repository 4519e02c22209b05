"""The manifest: what ties a model set to a catalog snapshot, with a SHA-256 for every file."""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.digest import value_digest

MANIFEST_NAME = "manifest.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Frozen):
    """A file's content. `size` is in bytes."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


def _relative(files: dict[str, FileEntry]) -> dict[str, FileEntry]:
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"file name {name!r} leaves the release")
    return files


class ModelSet(_Frozen):
    """The towers and, where there are any, the cross-encoder and the final score.

    Files stand under `encoder/`, `ranker/` and `final/`.

    `lineage` is what training left of each, where it is known; the same weights of two runs are the same model set.
    """

    model_id: str
    encoder: dict[str, Any]
    ranker: dict[str, Any] | None
    final: dict[str, Any] | None = None
    lineage: dict[str, Any] | None = None
    files: dict[str, FileEntry]

    _files_stay_inside = field_validator("files")(_relative)


class LexicalReport(_Frozen):
    """The lexical index: how much each of its fields counts, in their order, and how many terms and rules it holds.

    `format` tells how its texts were made into terms; manifests did not note it up to 4.
    """

    weights: dict[str, float]
    terms: int = Field(ge=0)
    synonyms: int = Field(default=0, ge=0)
    rewrites: int = Field(default=0, ge=0)
    format: int = Field(default=4, ge=1)


class CatalogSnapshot(_Frozen):
    """The products and all that was computed from them with the model set of the same manifest.

    `lexical` is None in releases of versions that had no lexical index.
    """

    catalog_id: str
    products: int = Field(ge=1)
    cleaning: dict[str, Any]
    index: dict[str, Any]
    lexical: LexicalReport | None = None
    files: dict[str, FileEntry]

    _files_stay_inside = field_validator("files")(_relative)


class Manifest(_Frozen):
    """One release. `inputs` digests everything it was made from, so that the same job can see nothing changed.

    `sequence` numbers a catalog's releases in the order of their publishing, from 1, whatever the clock says; 0 in
    those of versions that had none. `settings` is how the catalog was indexed, for who indexes it under other models.
    """

    format: Literal[1] = 1
    sequence: int = Field(default=0, ge=0)
    release_id: str = Field(pattern=r"^r-[0-9A-Za-z-]+$")
    created: datetime
    tandem_version: str
    catalog: str
    language: str
    country: str | None
    currency: str | None
    inputs: dict[str, str]
    settings: dict[str, Any] | None = None
    model: ModelSet
    snapshot: CatalogSnapshot
    validation: dict[str, Any]

    @property
    def files(self) -> dict[str, FileEntry]:
        """Every file of the release by its path inside it."""
        return {**self.model.files, **self.snapshot.files}


def model_id(files: dict[str, FileEntry]) -> str:
    """Names a model set by the content of its files: the same files have the same id."""
    return "m-" + value_digest({name: entry.sha256 for name, entry in files.items()})[:12]


def catalog_id(columns: FileEntry) -> str:
    """Names a catalog snapshot by the content of its columns: the same products have the same id."""
    return "c-" + columns.sha256[:12]


def release_id(created: datetime, model: str, catalog: str) -> str:
    """A name with the time and a digest of what is in it: `r-20261124T040000Z-1a2b3c4d`."""
    return f"r-{created:%Y%m%dT%H%M%SZ}-{value_digest([model, catalog, created.isoformat()])[:8]}"
