"""Filters of requests: read and checked, every fault named by its path, and written."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from catalog.columns import Kind
from catalog.masks import filter_problems
from core.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_FIELD_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    MAX_VALUES,
    And,
    Equal,
    Exists,
    Filter,
    Not,
    OneOf,
    Or,
    Range,
    Value,
    range_problem,
)
from retrieval.wire.violations import InvalidRequest, Violation
from tandem.v1 import search_pb2

_BOUNDS = ("at_least", "above", "at_most", "below")
_MOST_PROBLEMS = 11  # one more than a refusal names
_CONDITIONS = "equal, one_of, range, exists, negation, all_of or any_of"


def read_filter(message: search_pb2.Filter, path: str = "filter") -> Filter:
    """Reads a filter. Raises InvalidRequest with its violations, each with its path in the request."""
    filter, violations = try_filter(message, path)
    if filter is None:
        raise InvalidRequest(violations)
    return filter


def try_filter(message: search_pb2.Filter, path: str = "filter") -> tuple[Filter | None, list[Violation]]:
    """The filter and no violations, or None and its violations."""
    reader = _Reader(path)
    filter = reader.read(message, path, 1)
    return (None if reader.violations else filter), reader.violations


def check_filter_fields(filter: Filter | None, kinds: Mapping[str, Kind] | None) -> None:
    """Raises InvalidRequest where a catalog whose columns have these kinds cannot apply a request's filter; None stands
    for a release without columns."""
    if filter is None:
        return
    problems = [Violation(p.path, p.description) for p in islice(filter_problems(filter, kinds), _MOST_PROBLEMS)]
    if problems:
        raise InvalidRequest(problems)


def filter_message(filter: Filter) -> search_pb2.Filter:
    """The message that states a filter."""
    match filter:
        case Equal(field, value):
            return search_pb2.Filter(equal=search_pb2.EqualCondition(field=field, value=_value_message(value)))
        case OneOf(field, values):
            several = search_pb2.OneOfCondition(field=field, values=[_value_message(value) for value in values])
            return search_pb2.Filter(one_of=several)
        case Range(field):
            bounds = {name: _value_message(value) for name, value in filter.bounds.items()}
            return search_pb2.Filter(range=search_pb2.RangeCondition(field=field, **bounds))
        case Exists(field):
            return search_pb2.Filter(exists=field)
        case Not(inner):
            return search_pb2.Filter(negation=filter_message(inner))
        case And(parts):
            return search_pb2.Filter(all_of=search_pb2.FilterList(filters=map(filter_message, parts)))
        case Or(parts):
            return search_pb2.Filter(any_of=search_pb2.FilterList(filters=map(filter_message, parts)))


class _Reader:
    """Reads one filter. What is too large is not looked at further."""

    def __init__(self, path: str) -> None:
        self.violations: list[Violation] = []
        self._path = path
        self._conditions = 0
        self._values = 0

    def read(self, message: search_pb2.Filter, path: str, depth: int) -> Filter | None:
        if depth > MAX_DEPTH:
            return self._fault(self._path, f"is more than {MAX_DEPTH} levels deep")
        match message.WhichOneof("condition"):
            case "negation":
                inner = self.read(message.negation, f"{path}.negation", depth + 1)
                return None if inner is None else Not(inner)
            case "all_of":
                several = self._list(message.all_of.filters, f"{path}.all_of.filters", depth + 1)
                return None if several is None else And(several)
            case "any_of":
                several = self._list(message.any_of.filters, f"{path}.any_of.filters", depth + 1)
                return None if several is None else Or(several)
            case None:
                return self._fault(path, f"has no condition; set {_CONDITIONS}")
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            return self._fault(self._path, f"has more than {MAX_CONDITIONS} conditions")
        return self._condition(message, path)

    def _list(self, messages: Sequence[search_pb2.Filter], path: str, depth: int) -> tuple[Filter, ...] | None:
        if not messages:
            return self._fault(path, "is empty; send at least one filter")
        filters = []
        for place, message in enumerate(messages):
            filters.append(self.read(message, f"{path}[{place}]", depth))
            if self._is_too_large:
                return None
        return None if None in filters else tuple(one for one in filters if one is not None)

    @property
    def _is_too_large(self) -> bool:
        return self._conditions > MAX_CONDITIONS or self._values > MAX_VALUES or len(self.violations) >= _MOST_PROBLEMS

    def _condition(self, message: search_pb2.Filter, path: str) -> Filter | None:
        if message.HasField("exists"):
            return Exists(message.exists) if self._field(message.exists, f"{path}.exists") else None
        if message.HasField("equal"):
            named = self._field(message.equal.field, f"{path}.equal.field")
            value = self._value(message.equal.value, f"{path}.equal.value")
            return None if value is None or not named else Equal(message.equal.field, value)
        if message.HasField("one_of"):
            return self._one_of(message.one_of, f"{path}.one_of")
        return self._range(message.range, f"{path}.range")

    def _one_of(self, message: search_pb2.OneOfCondition, path: str) -> Filter | None:
        named = self._field(message.field, f"{path}.field")
        if not message.values:
            return self._fault(f"{path}.values", "is empty; send at least one value")
        if self._values + len(message.values) > MAX_VALUES:
            self._values += len(message.values)
            return self._fault(self._path, f"has more than {MAX_VALUES} values")
        values: list[Value] = []
        for place, each in enumerate(message.values):
            value = self._value(each, f"{path}.values[{place}]")
            if value is not None:
                values.append(value)
            if self._is_too_large:
                return None
        return OneOf(message.field, tuple(values)) if named and len(values) == len(message.values) else None

    def _range(self, message: search_pb2.RangeCondition, path: str) -> Filter | None:
        named = self._field(message.field, f"{path}.field")
        there = [name for name in _BOUNDS if message.HasField(name)]
        bounds = {name: self._value(getattr(message, name), f"{path}.{name}") for name in there}
        bad = [name for name, value in bounds.items() if isinstance(value, bool)]
        for name in bad:
            self._fault(f"{path}.{name}", "is true or false; a bound is a number or a time")
        if not named or bad or None in bounds.values():
            return None
        condition = Range(message.field, **bounds)
        problem = range_problem(condition)
        return self._fault(path, problem) if problem else condition

    def _field(self, name: str, path: str) -> bool:
        if not name:
            self._fault(path, "is empty; send the name of a field")
        elif len(name) > MAX_FIELD_CHARACTERS:
            self._fault(path, f"has {len(name)} characters; send at most {MAX_FIELD_CHARACTERS}")
        else:
            return True
        return False

    def _value(self, message: search_pb2.FilterValue, path: str) -> Value | None:
        self._values += 1
        if self._values > MAX_VALUES:
            return self._fault(self._path, f"has more than {MAX_VALUES} values")
        match message.WhichOneof("value"):
            case "text":
                if len(message.text) > MAX_VALUE_CHARACTERS:
                    return self._fault(path, f"has {len(message.text)} characters; send at most {MAX_VALUE_CHARACTERS}")
                return str(message.text)
            case "number":
                if not math.isfinite(message.number):
                    return self._fault(path, f"is {message.number}; send a finite number")
                return float(message.number)
            case "boolean":
                return bool(message.boolean)
            case "time":
                return self._time(message, path)
        return self._fault(path, "has no value; set text, number, boolean or time")

    def _time(self, message: search_pb2.FilterValue, path: str) -> datetime | None:
        try:
            time: datetime = message.time.ToDatetime(UTC)
        except (ValueError, OverflowError):
            return self._fault(path, "is no time between the years 1 and 9999")
        return time

    def _fault(self, path: str, description: str) -> Any:
        """Notes a violation, and returns None for what could not be read."""
        violation = Violation(path, description)
        if violation not in self.violations:
            self.violations.append(violation)
        return None


def _value_message(value: Value) -> search_pb2.FilterValue:
    if isinstance(value, bool):
        return search_pb2.FilterValue(boolean=value)
    if isinstance(value, datetime):
        message = search_pb2.FilterValue()
        message.time.FromDatetime(value if value.tzinfo else value.replace(tzinfo=UTC))
        return message
    return search_pb2.FilterValue(text=value) if isinstance(value, str) else search_pb2.FilterValue(number=value)
