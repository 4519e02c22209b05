"""Queries cleaned, and varied as shoppers vary them: typing errors, dropped and reordered words."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from core.strings import fold_text, query_key
from text.keyboard import BESIDE

_SHORTEST = 4


class Augmentation(BaseModel):
    """How often a query is varied: each is the probability of one such change in a query that allows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    typing: float = Field(default=0.1, ge=0, le=1, description="Probability of one typing error in a query.")
    dropped: float = Field(
        default=0.05, ge=0, le=1, description="Probability that a query of three or more words loses one."
    )
    reordered: float = Field(
        default=0.05, ge=0, le=1, description="Probability that two neighbouring words change places."
    )
    seed: int = Field(default=0, ge=0, description="Seed of all random choices.")


def clean_judgments(judgments: pa.Table) -> pa.Table:
    """Judgments in which queries that differ only in case and spaces are merged, under the first spelling.

    Takes and returns a table of `JUDGMENTS_SCHEMA`; of a pair judged twice the last grade counts. `load_judgments`
    ensures that no such query is in two splits.
    """
    written: dict[str, str] = {}
    queries = [written.setdefault(query_key(query), fold_text(query)) for query in judgments["query"].to_pylist()]
    place = judgments.column_names.index("query")
    table = judgments.set_column(place, judgments.schema.field("query"), pa.array(queries, pa.string()))
    rows = table.append_column("row", pa.array(range(len(table)), pa.int64()))
    last = rows.group_by(["query", "product_id"], use_threads=False).aggregate([("row", "max")])
    return table.take(last["row_max"].sort())


def held_out_keys(judgments: pa.Table) -> set[str]:
    """The keys of the queries to validate and test on, which synthetic training queries may not repeat."""
    others = judgments.filter(pc.not_equal(judgments["split"], "train"))
    return {query_key(query) for query in others["query"].unique().to_pylist()}


def augment(queries: Sequence[str], settings: Augmentation, forbidden: Collection[str] = frozenset()) -> list[str]:
    """Each query or a variant of it, in the same order; the same seed gives the same variants.

    Words with anything but letters, such as sizes and model numbers, stay unchanged and in place, and so does the word
    after one that holds a digit, which may be its unit. A variant whose key is `forbidden` is not used.
    """
    random = np.random.default_rng(settings.seed)
    changes = ((settings.reordered, _reorder), (settings.dropped, _drop), (settings.typing, _mistype))
    return [_vary(query, changes, random, forbidden) for query in queries]


_Change = Callable[[list[str], np.random.Generator], list[str]]


def _vary(
    query: str, changes: Sequence[tuple[float, _Change]], random: np.random.Generator, forbidden: Collection[str]
) -> str:
    words = query.split()
    for (probability, change), draw in zip(changes, random.random(len(changes)), strict=True):
        if draw < probability:
            words = change(words, random)
    variant = " ".join(words)
    return query if query_key(variant) in forbidden else variant


def _movable_places(words: list[str]) -> list[int]:
    """The places of the words that may move or go: only letters, and not the unit of a preceding number."""
    return [i for i, word in enumerate(words) if word.isalpha() and not (i and any(map(str.isdigit, words[i - 1])))]


def _reorder(words: list[str], random: np.random.Generator) -> list[str]:
    free = set(_movable_places(words))
    places = [i for i in sorted(free) if i + 1 in free]
    if not places:
        return words
    i = places[random.integers(len(places))]
    return [*words[:i], words[i + 1], words[i], *words[i + 2 :]]


def _drop(words: list[str], random: np.random.Generator) -> list[str]:
    free = _movable_places(words)
    if len(words) < 3 or not free:
        return words
    i = free[random.integers(len(free))]
    return words[:i] + words[i + 1 :]


def _mistype(words: list[str], random: np.random.Generator) -> list[str]:
    """One of the four errors in one word of a script with upper and lower case, never in its first letter.

    Most misspelt words have a single error, and few have it in the first letter (Kukich, "Techniques for automatically
    correcting words in text", ACM Computing Surveys 24(4), 1992).
    """
    places = [i for i, word in enumerate(words) if len(word) >= _SHORTEST and all(map(_is_cased, word))]
    if not places:
        return words
    i = places[random.integers(len(places))]
    error = _ERRORS[random.integers(len(_ERRORS))]
    return [*words[:i], error(words[i], random), *words[i + 1 :]]


def _is_cased(character: str) -> bool:
    return character.isalpha() and (character.islower() or character.isupper())


def _slip(word: str, random: np.random.Generator) -> str:
    """Replaces a letter by its neighbour on the keyboard; letters without a known key are swapped instead."""
    places = [i for i in range(1, len(word)) if word[i].lower() in BESIDE]
    if not places:
        return _swap(word, random)
    i = places[random.integers(len(places))]
    near = BESIDE[word[i].lower()]
    letter = near[random.integers(len(near))]
    return word[:i] + (letter.upper() if word[i].isupper() else letter) + word[i + 1 :]


def _swap(word: str, random: np.random.Generator) -> str:
    i = int(random.integers(1, len(word) - 1))
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _omit(word: str, random: np.random.Generator) -> str:
    i = int(random.integers(1, len(word)))
    return word[:i] + word[i + 1 :]


def _double(word: str, random: np.random.Generator) -> str:
    i = int(random.integers(1, len(word)))
    return word[: i + 1] + word[i:]


_ERRORS = (_slip, _swap, _omit, _double)
