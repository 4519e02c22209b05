"""Rows, columns and cells of measured results: nested JSON made flat, and numbers as people read them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docs.generate.markdown import paragraph, table

ANY = "*"
Step = str | tuple[str, ...]
Path = tuple[Step, ...]
Keys = tuple[str, ...]
_UNITS = {"mib": "MiB", "ndcg": "nDCG@10"}


@dataclass(frozen=True, slots=True)
class Table:
    """Which part of a benchmark's results a table shows.

    `rows` is the path of a row inside the results. In it, `*` stands for every key and a tuple for each of its keys;
    each of these becomes a column of its own, headed by `keys`. A path without them leads to one row, whose fields are
    listed one below the other. `columns` are the fields shown, by their flat names ("latency: p50_ms"); none means all
    but those that begin with one of `hidden`.
    """

    title: str
    rows: Path
    keys: Sequence[str] = ()
    columns: Sequence[str] = ()
    hidden: Keys = ()
    names: Mapping[str, str] = field(default_factory=dict[str, str])

    def markdown(self, results: Any) -> str:
        """The table of these results, or nothing where they lack this part."""
        rows = [(keys, flatten(value)) for keys, value in select(results, self.rows)]
        columns = self._columns([name for _, row in rows for name in row])
        if not rows or not columns:
            return ""
        heads = [self.names.get(name, readable(name)) for name in columns]
        cells = [[number(row.get(name)) for name in columns] for _, row in rows]
        if any(step == ANY or isinstance(step, tuple) for step in self.rows):
            keyed = ([*keys[: len(self.keys)], *row] for (keys, _), row in zip(rows, cells, strict=True))
            return self._titled(_figures([*self.keys, *heads], keyed))
        return self._titled(_figures(("measure", "value"), zip(heads, cells[0], strict=True)))

    def _columns(self, names: list[str]) -> list[str]:
        there = dict.fromkeys(names)
        if self.columns:
            return [name for name in self.columns if name in there]
        return [name for name in there if not name.startswith(self.hidden)] if self.hidden else list(there)

    def _titled(self, text: str) -> str:
        return f"{self.title}:\n\n{text}" if self.title else text


def select(results: Any, path: Path, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every part of the results that the path leads to, with the keys that it chose; lists count from 1."""
    if not path:
        yield keys, results
        return
    if isinstance(results, list):
        results = {str(place): value for place, value in enumerate(results, 1)}
    if not isinstance(results, dict):
        return
    step, *rest = path
    if isinstance(step, str) and step != ANY:
        if step in results:
            yield from select(results[step], tuple(rest), keys)
        return
    for key in results if step == ANY else [key for key in step if key in results]:
        yield from select(results[key], tuple(rest), (*keys, key))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Fields of nested objects by names such as "latency: p50_ms"; a mean with its interval stays together."""
    if not isinstance(value, dict) or _is_interval(value):
        return {prefix or "value": value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}: {key}" if prefix else key)
    return flat


def number(value: Any) -> str:
    """A figure with about three digits that count; a mean with its 95% interval and p, and a list with commas."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return _rounded(value)
        case list():
            return ", ".join(number(each) for each in value) or "none"
        case {"mean": mean, "low": low, "high": high} if low == mean == high:
            return number(mean)
        case {"mean": mean, "low": low, "high": high}:
            p = f", p {number(value['p'])}" if "p" in value else ""
            return f"{number(mean)} [{number(low)}, {number(high)}]{p}"
        case dict():
            return ", ".join(f"{key} {number(each)}" for key, each in value.items())
    return str(value)


def readable(name: str) -> str:
    """A field's name as a heading."""
    words = name.replace("_per_s", "/s").replace("_", " ").split(" ")
    return " ".join(_UNITS.get(word, word) for word in words)


def _rounded(value: float) -> str:
    size = abs(value)
    if 0 < size < 0.0001:
        return f"{value:.0e}"
    places = next((places for least, places in ((1000, 0), (100, 1), (1, 2), (0.1, 3)) if size >= least), 4)
    return f"{value:,.{places}f}" if value else "0"


def _figures(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return table([paragraph(column) for column in columns], ([paragraph(cell) for cell in row] for row in rows), True)


def _is_interval(value: Mapping[str, Any]) -> bool:
    return {"mean", "low", "high"} <= value.keys()
