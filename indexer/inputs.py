"""The inputs of an index job: its options, and the digests by which the next job sees that nothing changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from catalog.product import CATALOG_SCHEMA, PRODUCT_TEXT_VERSION
from core.digest import file_digest, value_digest
from core.errors import ReleaseError
from core.formats import SUGGESTIONS, TYPED_COLUMNS
from core.manifest import Manifest
from engine.device import Device
from engine.lexical.index import FORMAT
from indexer.build import IndexSettings
from indexer.cleaning.mapping import FeedMapping
from indexer.columns import COLUMN_RULES
from indexer.feed.source import feed_errors, open_source
from indexer.models import OpenModels
from indexer.product_words import WEIGHTS
from indexer.sample import CatalogSample
from indexer.validate import GoldenQuery
from text.synonyms import Synonyms


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to index. `queries` are past queries and how often each was asked: they are suggested, and an index's recall
    and latency are measured on them. Without them those of the release in service are suggested.

    On device `cuda`, or `auto` where there is a GPU and the towers have weights for it, that embeds the products.

    Without `synonyms`, those of the release in service stay. With a `sample`, only a part of the products is indexed.

    `change_log` is its setting. The feed supersedes what was accepted until `as_of`, Unix time in
    milliseconds; by default until its file was last modified.
    """

    index: IndexSettings = field(default_factory=IndexSettings)
    max_rejected: float = 0.2
    queries: Mapping[str, int] | None = None
    golden: tuple[GoldenQuery, ...] = ()
    synonyms: Synonyms | None = None
    device: Device = "cpu"
    sample: CatalogSample | None = None
    change_log: str = ""
    as_of: int | None = None


def digest_feed(feed: Path) -> str:
    """The digest of the feed's file. Raises FeedError for one that cannot be read."""
    with open_source(feed), feed_errors(feed):
        return file_digest(feed)


def digest_mapping(mapping: FeedMapping) -> str:
    """The digest of all that a mapping sets."""
    return value_digest(mapping.model_dump(mode="json"))


def digest_settings(options: IndexOptions) -> str:
    """The digest of the options, and of the versions of all that makes a release of them."""
    settings = [
        options.index.model_dump(),
        options.max_rejected,
        None if options.queries is None else list(options.queries.items()),
        [g.model_dump() for g in options.golden],
        options.synonyms.model_dump() if options.synonyms else None,
    ]
    if options.sample:
        settings.append([options.sample.products, sorted(options.sample.ids), options.sample.seed])
    formats = [PRODUCT_TEXT_VERSION, FORMAT, WEIGHTS, SUGGESTIONS.number, TYPED_COLUMNS.number, COLUMN_RULES]
    versions = [str(CATALOG_SCHEMA), *formats, version("tandem-retrieval")]
    return value_digest([settings, *versions])


def replace_models(inputs: dict[str, str], options: IndexOptions, models: OpenModels) -> dict[str, str]:
    """The digests of a release's inputs, with those of other options and models in their places."""
    unchanged = {name: digest for name, digest in inputs.items() if name not in ("final", "half", "users")}
    return {**unchanged, "settings": digest_settings(options), **models.digests()}


def manifest_settings(options: IndexOptions) -> dict[str, Any]:
    """The options that the manifest records. Queries are files of the user's and stay there."""
    return {"index": options.index.model_dump(mode="json"), "max_rejected": options.max_rejected}


def restore_settings(options: IndexOptions, served: Manifest) -> IndexOptions:
    """The options with the settings that the release in service was indexed by, where it has any.

    Raises ReleaseError for settings of another version.
    """
    if served.settings is None:
        return options
    try:
        index = IndexSettings.model_validate(served.settings["index"])
        return replace(options, index=index, max_rejected=float(served.settings["max_rejected"]))
    except (KeyError, TypeError, ValueError):
        raise ReleaseError(
            f"release {served.release_id} was indexed by settings this version does not know; index again"
        ) from None


def is_unchanged(served: Manifest, inputs: dict[str, str], options: IndexOptions) -> bool:
    """Whether an index job of these inputs would make the release that is there."""
    kind = options.index.kind
    same_settings = served.settings in (None, manifest_settings(options))  # None: of versions that recorded none
    return served.inputs == inputs and same_settings and kind in (None, served.snapshot.index.get("kind"))
