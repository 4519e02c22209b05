"""The manifest: what ties a model set to a catalog snapshot, with a SHA-256 for every file."""

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.digest import value_digest

MANIFEST_NAME = "manifest.json"


# Folders and files of letters, digits and the like, none hidden; the manifest's own names are not for others.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*){0,7}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Frozen):
    """A file's content. `size` is in bytes."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, in hexadecimal.")
    size: int = Field(ge=0, description="Size in bytes.")


def _relative(files: dict[str, FileEntry]) -> dict[str, FileEntry]:
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"file name {name!r} leaves the release")
        if str(path) != name or not _FILE_NAME.fullmatch(name) or name.casefold().startswith("manifest."):
            raise ValueError(f"file name {name!r} is none that a release has")
    return files


class ModelSet(_Frozen):
    """The towers and, where there are any, the cross-encoder, the final score and what was learned of users.

    Files stand under `encoder/`, `ranker/`, `final/` and `users/`.

    `lineage` is what training left of each, where it is known; the same weights of two runs are the same model set.
    """

    model_id: str = Field(
        description="Name of the model set, made of its files' digests: `m-` and 12 hexadecimal digits."
    )
    encoder: dict[str, Any] = Field(description="Spec of the bi-encoder, as in its folder.")
    ranker: dict[str, Any] | None = Field(
        description="Spec of the cross-encoder, as in `ranker/ranker.json`; none where the release has none."
    )
    final: dict[str, Any] | None = Field(
        default=None, description="Spec of the final score, as in `final/final.json`; none where the release has none."
    )
    users: dict[str, Any] | None = Field(
        default=None,
        description="Spec of what was learned of users, as in `users/behaviour.json`; none where nothing was.",
    )
    lineage: dict[str, Any] | None = Field(
        default=None, description="What training recorded of each model; none where nothing is known."
    )
    files: dict[str, FileEntry] = Field(
        description="Files below `encoder/`, `ranker/`, `final/` and `users/`, by their paths in the release."
    )

    _files_stay_inside = field_validator("files")(_relative)


class LexicalReport(_Frozen):
    """The lexical index: how much each of its fields counts, in their order, and how many terms and rules it holds.

    `format` is the version of the analysis that made its terms; manifests did not note it up to 4.
    """

    weights: dict[str, float] = Field(description="Weight of each field in BM25, in the order of the fields.")
    terms: int = Field(ge=0, description="Number of different terms.")
    synonyms: int = Field(default=0, ge=0, description="Number of synonym rules.")
    rewrites: int = Field(default=0, ge=0, description="Number of rewrite rules.")
    format: int = Field(default=4, ge=1, description="How texts become terms; manifests without it are of format 4.")


class SuggestionReport(_Frozen):
    """The suggestions for queries that are being typed."""

    format: int = Field(ge=1, description="Format of the suggestions.")
    entries: dict[str, int] = Field(description="Number of suggestions of each kind.")


class FieldReport(_Frozen):
    """One typed column."""

    kind: str = Field(
        description="Type: `string`, `strings` (a set), `number`, `money`, `boolean`, `date`, or `text`, of which only "
        "its presence is kept."
    )
    unit: str = Field(default="", description="Unit of numbers, or currency of money; empty where there is none.")
    filled: int = Field(ge=0, description="Number of products that have the field.")
    values: int = Field(default=0, ge=0, description="Number of different values of text.")
    unreadable: int = Field(default=0, ge=0, description="Products whose value is not of the type, and is left out.")
    declared: bool = Field(default=False, description="Whether the mapping declares the type; else it was inferred.")
    separator: str = Field(
        default="", description="What separates the values of a set: a sign, or `list` for any of several; else empty."
    )


class ColumnsReport(_Frozen):
    """The typed columns by which products are filtered, counted and sorted."""

    format: int = Field(ge=1, description="Format of the columns' file.")
    bytes: int = Field(ge=0, description="Size of the columns' file, which serving maps and processes share.")
    rare_attributes: int = Field(default=0, ge=0, description="Attributes without a column, since others are commoner.")
    fields: dict[str, FieldReport] = Field(description="Each column, by the name that filters give.")


class ChangesReport(_Frozen):
    """Which entries of the change log the products hold. A service applies the later ones over the release."""

    log: str = Field(default="", description="Id of the change log; empty where it had no entry.")
    revision: int = Field(
        default=0, ge=0, description="Last entry that is in the products, or was superseded by the feed."
    )
    cut: int = Field(
        default=0, description="The feed's cut, Unix time in milliseconds: it supersedes what was accepted until then."
    )
    cut_revision: int = Field(default=0, ge=0, description="Last entry that the feed superseded.")
    superseded: int = Field(default=0, ge=0, description="Entries that the feed superseded since the release before.")
    folded: int = Field(default=0, ge=0, description="Entries behind the cut that were applied to the feed's products.")
    upserted: int = Field(default=0, ge=0, description="Products that came, or took the place of the feed's.")
    updated: int = Field(default=0, ge=0, description="Products of the feed of which fields were changed.")
    deleted: int = Field(default=0, ge=0, description="Products of the feed that were deleted.")


class CatalogSnapshot(_Frozen):
    """The products and all that was computed from them with the model set of the same manifest.

    `lexical`, `suggestions` and `columns` are None in releases of versions that had none; `changes` is where there was
    no change log and no version.
    """

    catalog_id: str = Field(
        description="Name of the snapshot, made of the digest of `products.arrow`: `c-` and 12 hexadecimal digits."
    )
    products: int = Field(ge=1, description="Number of products.")
    cleaning: dict[str, Any] = Field(
        description=(
            "Report of the cleaning: rows read, kept, rejected and repeated, dropped values with examples, fill rates."
        )
    )
    index: dict[str, Any] = Field(
        description=(
            "Report of the vector index: kind, settings, recall, latency, bytes, and the kinds that were tried."
        )
    )
    lexical: LexicalReport | None = Field(
        default=None, description="Report of the lexical index; none in releases of versions that had none."
    )
    suggestions: SuggestionReport | None = Field(
        default=None,
        description="Report of the suggestions; none where there are none, and in releases of versions before.",
    )
    columns: ColumnsReport | None = Field(
        default=None, description="Report of the typed columns; none in releases of versions that had none."
    )
    changes: ChangesReport | None = Field(
        default=None, description="Changes between feeds that the products hold; none where there were none."
    )
    files: dict[str, FileEntry] = Field(description="All other files, by their paths in the release.")

    _files_stay_inside = field_validator("files")(_relative)


class Manifest(_Frozen):
    """One release. `inputs` digests everything it was made from, so that the same job can see nothing changed.

    `sequence` numbers a catalog's releases in the order of their publishing, from 1, independent of the clock; 0 in
    those of versions that had none. `settings` is how the catalog was indexed, for who indexes it under other models.
    """

    format: Literal[1] = Field(default=1, description="Format of the manifest.")
    sequence: int = Field(
        default=0,
        ge=0,
        description=(
            "Number of the release in its catalog, from 1, in the order of publishing; 0 in releases of "
            "versions that had none."
        ),
    )
    release_id: str = Field(
        pattern=r"^r-[0-9A-Za-z-]+$", description="Name of the release: `r-`, the time of publishing, and a digest."
    )
    created: datetime = Field(description="Time of publishing, in UTC.")
    tandem_version: str = Field(description="Version of Tandem that made the release.")
    catalog: str = Field(description="Name of the catalog.")
    language: str = Field(description="Language of the products, a BCP 47 tag.")
    country: str | None = Field(description="Country of the shop, as ISO 3166 code.")
    currency: str | None = Field(description="Currency of prices that name none, as ISO 4217 code.")
    inputs: dict[str, str] = Field(
        description="Digest of everything that the release was made of; a job with the same inputs has nothing to do."
    )
    settings: dict[str, Any] | None = Field(
        default=None, description="How the catalog was indexed, for a job that indexes it with other models."
    )
    model: ModelSet = Field(description="The model set.")
    snapshot: CatalogSnapshot = Field(description="The catalog snapshot.")
    validation: dict[str, Any] = Field(description="Results of the checks before publishing.")

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
