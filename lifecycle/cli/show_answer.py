"""Answers to searches on the terminal."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tandem.v1 import recommend_pb2, search_pb2

_NANOS = Decimal(10) ** 9
_BESIDE_TITLES, _STAGE_WIDTH = 24, 11  # characters of rank, price and frames, and of a stage's column
_LEAST_TITLE, _MOST_TITLE = 16, 72
_FIELD_WIDTH, _MOVES_WIDTH, _GROUP_WIDTH = 16, 20, 8
_IN_TABLE = ("title", "price")
_REASONS_SHOWN, _WORDS_SHOWN = 4, 8


Answer: TypeAlias = search_pb2.SearchResponse | recommend_pb2.RecommendResponse


def show_answer(console: Console, query: str, answer: search_pb2.SearchResponse, fields: Sequence[str] = ()) -> None:
    """The ranked list with each stage's score, what it was made from, its counts, and the token of the next page.
    `fields` are further fields of the products to show."""
    show_list(console, f"“{query}”", answer, fields, _search_lines(answer))


def show_list(
    console: Console, title: str, answer: Answer, fields: Sequence[str] = (), lines: Iterable[str] = ()
) -> None:
    """A ranked list below its title, its counts, and `lines` of what it was made from."""
    names = _shown_fields(fields)
    console.print(_hit_table(console, title, answer, names))
    for line in _explanations(answer):
        _print(console, line, style="dim")
    if answer.facets:
        console.print(_facet_table(answer))
    for line in (*_counts(answer), *lines, *_effects(answer)):
        _print(console, line)
    console.print(_times(answer), style="dim", highlight=False)
    for entry in answer.degraded:
        reason = search_pb2.DegradationReason.Name(entry.reason).removeprefix("DEGRADATION_REASON_")
        _print(console, f"degraded: {reason}: {entry.detail}", style="yellow")
    if answer.next_page_token:
        _print(console, f"next page: --page {answer.next_page_token}")


def format_understanding(stated: search_pb2.Understanding) -> str:
    """What a query states, in one line; empty where it states nothing."""
    parts = [f"{kind.product_type} ({kind.confidence:.0%})" for kind in stated.product_types[:1]]
    parts += [f"{one.field} {one.value} ({one.confidence:.0%})" for one in stated.attributes]
    parts += [f"no {phrase}" for phrase in stated.negations]
    if stated.HasField("price"):
        bounds = (("from", "at_least"), ("to", "at_most"))
        ends = (
            f"{word} {format_price(getattr(stated.price, name))}"
            for word, name in bounds
            if stated.price.HasField(name)
        )
        parts.append(f"price {' '.join(ends)}")
    return ", ".join(parts)


def format_price(price: search_pb2.Money) -> str:
    """An amount with its currency."""
    amount = price.units + Decimal(price.nanos) / _NANOS
    return f"{amount:,.2f} {price.currency_code}".strip()


def format_total(answer: Answer) -> str:
    """How many products match, and in how many groups where the request groups."""
    total, groups = answer.total, answer.groups
    least = "at least " if total.relation == search_pb2.TOTAL_RELATION_AT_LEAST else ""
    match = "product matches" if total.value == 1 else "products match"
    noun = "group" if groups.value == 1 else "groups"
    grouped = f", in {groups.value:,} {noun}" if answer.HasField("groups") else ""
    return f"{least}{total.value:,} {match}{grouped}"


def format_facet(facet: search_pb2.Facet) -> str:
    """The counts of a field, in one line."""
    parts = [f"{value.value} {value.count:,}" for value in facet.values]
    parts += [f"{entry.at_least:.12g} to {entry.below:.12g}: {entry.count:,}" for entry in facet.ranges]
    parts += [f"{facet.more_values:,} more values"] if facet.more_values else []
    parts += [f"none {facet.missing:,}"] if facet.missing else []
    if facet.HasField("statistics"):
        parts.append(f"from {facet.statistics.least:.12g} to {facet.statistics.most:.12g} in all")
    return " · ".join(parts) or "no product has it"


def _hit_table(console: Console, title: str, answer: Answer, names: Sequence[str]) -> Table:
    # Text, since what shoppers and feeds put in brackets is no markup.
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    stages = list(dict.fromkeys(score.stage for hit in answer.hits for score in hit.stage_scores))
    grouped, moved = answer.HasField("groups"), any(hit.moves for hit in answer.hits)
    # Titles give way: Rich would cut off the last stages instead.
    beside = _BESIDE_TITLES + _FIELD_WIDTH * len(names) + _GROUP_WIDTH * grouped + _MOVES_WIDTH * moved
    room = console.width - beside - _STAGE_WIDTH * len(stages)
    table.add_column("#", justify="right", min_width=2)
    table.add_column("product", max_width=max(_LEAST_TITLE, min(_MOST_TITLE, room)), no_wrap=True)
    for name in names:
        table.add_column(name, max_width=_FIELD_WIDTH - 3, no_wrap=True)
    table.add_column("price", justify="right", min_width=12)
    if grouped:
        table.add_column("group", justify="right")
    for name in stages:
        table.add_column(name, justify="right", min_width=8)
    if moved:
        table.add_column("moved by", max_width=_MOVES_WIDTH - 3, overflow="fold")
    for hit in answer.hits:
        cells = _cells(hit, names, stages)
        size, moves = [f"{hit.group.size:,}"] * grouped, [Text(", ".join(hit.moves))] * moved
        table.add_row(str(hit.rank), Text(hit.product.title), *cells.fields, *size, *cells.scores, *moves)
        for variant in hit.group.variants:
            cells = _cells(variant, names, stages)
            table.add_row("", Text(f"  {variant.product.title}"), *cells.fields, *[""] * grouped, *cells.scores)
    return table


class _Cells(NamedTuple):
    """The cells of a row: the fields of the product with its price, and the scores of stages."""

    fields: Sequence[str | Text]
    scores: Sequence[str]


def _cells(hit: search_pb2.Hit, names: Sequence[str], stages: Sequence[str]) -> _Cells:
    price = format_price(hit.product.price) if hit.product.HasField("price") else ""
    scores = {score.stage: f"{score.score:.3f}" for score in hit.stage_scores}
    return _Cells(
        [*(Text(_value(hit.product, name)) for name in names), price], [scores.get(stage, "") for stage in stages]
    )


def _facet_table(answer: Answer) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=32)
    table.add_column(overflow="fold")
    for facet in answer.facets:
        least = " (at least)" if facet.relation == search_pb2.TOTAL_RELATION_AT_LEAST else ""
        table.add_row(Text(facet.field + least, style="bold"), Text(format_facet(facet)))
    return table


def _counts(answer: Answer) -> Iterator[str]:
    if answer.HasField("total"):
        yield format_total(answer)
    if answer.HasField("filter"):
        searched = f" ({answer.filter.execution})" if answer.filter.execution not in ("", "none") else ""
        yield f"{answer.filter.passing:,} products of the catalog pass the filter{searched}"


def _search_lines(answer: search_pb2.SearchResponse) -> Iterator[str]:
    if answer.searched_query:
        yield f"searched as “{answer.searched_query}”"
    if understood := format_understanding(answer.understanding):
        yield f"understood: {understood}"
    if answer.redirect:
        yield f"redirect: {answer.redirect}"


def _effects(answer: Answer) -> Iterator[str]:
    for effect in answer.rules:
        yield f"rule {effect.rule_id}: {effect.action}{': ' * bool(effect.detail)}{effect.detail}"


def _explanations(answer: Answer) -> Iterator[str]:
    """The reasons and words that count most, a line a hit."""
    for hit in answer.hits:
        if hit.reasons:
            reasons = (f"{one.feature} {one.contribution:+.2f}" for one in hit.reasons[:_REASONS_SHOWN])
            yield f"{hit.rank}: {', '.join(reasons)}"
        if hit.words:
            best = sorted(hit.words, key=lambda word: -abs(word.contribution))[:_WORDS_SHOWN]
            words = (f"{'query ' * one.from_query}“{one.word}” {one.contribution:+.2f}" for one in best)
            yield f"{hit.rank} words: {', '.join(words)}"


def _shown_fields(fields: Sequence[str]) -> list[str]:
    names = [field.name for field in search_pb2.Product.DESCRIPTOR.fields] if "*" in fields else fields
    return [name for name in dict.fromkeys(names) if name not in _IN_TABLE]


def _value(product: search_pb2.Product, name: str) -> str:
    if name == "attributes":
        return ", ".join(itertools.starmap("{} {}".format, sorted(product.attributes.items())))
    if name == "availability":
        state = search_pb2.Availability.Name(product.availability).removeprefix("AVAILABILITY_")
        return "" if state == "UNSPECIFIED" else state.lower().replace("_", " ")
    return str(getattr(product, name, ""))


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _times(answer: Answer) -> str:
    parts = []
    for stage in answer.stages:
        took = stage.duration.ToMicroseconds() / 1000
        parts.append(f"{stage.name} {took:.1f} ms ({stage.candidates_in:,} → {stage.candidates_out:,})")
    return " · ".join(parts)
