"""The filter tree: conditions on a product's fields, as requests, rules and query understanding state them.

Logic is two-valued. A product without a field fails every condition on it, and `Not` passes what its condition fails.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from core.digest import value_digest
from core.errors import TandemError

MAX_DEPTH = 8  # a single condition has depth 1
MAX_CONDITIONS = 256
MAX_VALUES = 1024
MAX_FIELD_CHARACTERS = 128
MAX_VALUE_CHARACTERS = 1024

Value: TypeAlias = str | float | bool | datetime
"""A datetime without a zone is in UTC."""


@dataclass(frozen=True, slots=True)
class Equal:
    """The field has this value, or one of its values is this."""

    field: str
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field has one of these values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A number, amount of money or date is within bounds, of which at least one is there."""

    field: str
    at_least: Value | None = None
    above: Value | None = None
    at_most: Value | None = None
    below: Value | None = None

    @property
    def bounds(self) -> dict[str, Value]:
        """The bounds that are there, by their names."""
        named = {"at_least": self.at_least, "above": self.above, "at_most": self.at_most, "below": self.below}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Exists:
    """The product has the field."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """Products that fail this condition."""

    filter: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """Products that pass all of these, at least one."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Products that pass at least one of these, of which there is at least one."""

    filters: tuple["Filter", ...]


Condition: TypeAlias = Equal | OneOf | Range | Exists
Filter: TypeAlias = Equal | OneOf | Range | Exists | Not | And | Or


class InvalidFilter(TandemError):
    """A filter that a catalog cannot apply. `path` is the place in the filter, `description` states what is wrong."""

    def __init__(self, path: str, description: str) -> None:
        super().__init__(f"{path}: {description}")
        self.path = path
        self.description = description


def conditions(filter: Filter, path: str = "filter") -> Iterator[tuple[str, Condition]]:
    """All single conditions in their order, each with its path as the wire contract names it."""
    if isinstance(filter, Not):
        yield from conditions(filter.filter, f"{path}.negation")
    elif isinstance(filter, And | Or):
        name = "all_of" if isinstance(filter, And) else "any_of"
        for place, part in enumerate(filter.filters):
            yield from conditions(part, f"{path}.{name}.filters[{place}]")
    else:
        yield f"{path}{_PATHS[type(filter)]}", filter


def fields(filter: Filter) -> set[str]:
    """The fields that a filter mentions."""
    return {condition.field for _, condition in conditions(filter)}


def without_field(filter: Filter, field: str) -> Filter | None:
    """The filter without the conditions on this field alone that stand at its top or below an `And` at its top; None
    where nothing is left."""
    if not isinstance(filter, And):
        return None if fields(filter) == {field} else filter
    kept = tuple(part for part in filter.filters if fields(part) != {field})
    if len(kept) == len(filter.filters):
        return filter
    return And(kept) if len(kept) > 1 else kept[0] if kept else None


def join_filters(*filters: Filter | None) -> Filter | None:
    """What passes all of the filters that are there; None where there is none. One level of `And` is not nested."""
    parts: list[Filter] = []
    for part in filters:
        parts += part.filters if isinstance(part, And) else [part] if part is not None else []
    return And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None


def filter_digest(filter: Filter) -> str:
    """64 hex digits, the same for filters that differ in the order or repetition of conditions and values alone."""
    return value_digest(_canonical(filter))


def depth(filter: Filter) -> int:
    """How many levels there are; 1 of a single condition."""
    if isinstance(filter, Not):
        return 1 + depth(filter.filter)
    if isinstance(filter, And | Or):
        return 1 + max(map(depth, filter.filters), default=0)
    return 1


def count_values(condition: Condition) -> int:
    """How many values a condition has."""
    if isinstance(condition, OneOf):
        return len(condition.values)
    return len(condition.bounds) if isinstance(condition, Range) else int(isinstance(condition, Equal))


def check_bounds(filter: Filter) -> None:
    """Raises InvalidFilter for a filter that is larger than a request may have."""
    if (levels := depth(filter)) > MAX_DEPTH:
        raise InvalidFilter("filter", f"is {levels} levels deep; send at most {MAX_DEPTH}")
    single = [condition for _, condition in conditions(filter)]
    if len(single) > MAX_CONDITIONS:
        raise InvalidFilter("filter", f"has {len(single)} conditions; send at most {MAX_CONDITIONS}")
    if (values := sum(map(count_values, single))) > MAX_VALUES:
        raise InvalidFilter("filter", f"has {values} values; send at most {MAX_VALUES}")


def range_problem(condition: Range) -> str:
    """Why the bounds of a range exclude each other or say a thing twice; empty where they do not."""
    bounds = condition.bounds
    if not bounds:
        return "has no bound; send at_least, above, at_most or below"
    for pair in (("at_least", "above"), ("at_most", "below")):
        if bounds.keys() >= set(pair):
            return f"has both {pair[0]} and {pair[1]}; send one of them"
    low = next((name for name in ("at_least", "above") if name in bounds), None)
    high = next((name for name in ("at_most", "below") if name in bounds), None)
    if low is None or high is None:
        return ""
    least, most = bounds[low], bounds[high]
    if isinstance(least, datetime) and isinstance(most, datetime):
        least, most = timestamp(least), timestamp(most)
    if isinstance(least, int | float) and isinstance(most, int | float):
        closed = (low, high) == ("at_least", "at_most")
        if least > most or (least == most and not closed):
            return f"{low} {least:g} and {high} {most:g} leave nothing between them"
    return ""


def timestamp(time: datetime) -> float:
    """Seconds since 1970 in UTC, which is the zone of a time without one."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def is_finite(value: Value) -> bool:
    """Whether a value is no infinite number and not NaN."""
    return not isinstance(value, float) or math.isfinite(value)


_PATHS = {Equal: ".equal", OneOf: ".one_of", Range: ".range", Exists: ".exists"}


def _canonical(filter: Filter) -> list[Any]:
    match filter:
        case Equal(field, value):
            return ["one_of", field, [_tagged(value)]]
        case OneOf(field, values):
            return ["one_of", field, _sorted([_tagged(value) for value in values])]
        case Range(field):
            return ["range", field, sorted([name, *_tagged(value)] for name, value in filter.bounds.items())]
        case Exists(field):
            return ["exists", field]
        case Not(inner):
            return ["negation", _canonical(inner)]
        case And(parts):
            return ["all_of", _sorted([_canonical(part) for part in parts])]
        case Or(parts):
            return ["any_of", _sorted([_canonical(part) for part in parts])]


def _tagged(value: Value) -> list[str]:
    """A value with its type, since true is no 1 and no "true"."""
    if isinstance(value, bool):
        return ["boolean", str(value)]
    if isinstance(value, datetime):
        return ["time", repr(timestamp(value))]
    return ["text", value] if isinstance(value, str) else ["number", repr(float(value) + 0.0)]


def _sorted(parts: list[Any]) -> list[Any]:
    """In one order, whatever their types, without repeats."""
    return [part for _, part in sorted({repr(part): part for part in parts}.items())]
