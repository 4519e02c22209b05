"""Reads the mapping of a feed."""

from pathlib import Path

from indexer.cleaning.mapping import FeedMapping, load_mapping


def read_mapping(file: Path | None, name: str | None = None) -> FeedMapping:
    """The file's mapping, or the one by usual column names without a file; `name` overrides the catalog's.

    Raises FeedError.
    """
    mapping = load_mapping(file) if file else FeedMapping()
    return (
        mapping.model_copy(update={"catalog": mapping.catalog.model_copy(update={"name": name})}) if name else mapping
    )
