from io import StringIO

import pytest
from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from lifecycle.cli.show_answer import format_facet, format_total, show_answer
from tandem.v1 import search_pb2


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def hit(rank: int, title: str, scores: dict[str, float], price: search_pb2.Money | None = None) -> search_pb2.Hit:
    stages = [search_pb2.StageScore(stage=name, score=score) for name, score in scores.items()]
    product = search_pb2.Product(title=title, price=price)
    return search_pb2.Hit(product_id=str(rank), rank=rank, stage_scores=stages, product=product)


def test_an_answer_shows_what_was_understood(console: Console) -> None:
    answer = search_pb2.SearchResponse()
    show_answer(console, "x", answer)
    assert "understood" not in shown(console)
    answer.understanding.negations.extend(["arms", "wheels"])
    answer.understanding.price.at_most.units = 50
    answer.understanding.price.at_most.currency_code = "EUR"
    show_answer(console, "x", answer)
    assert "understood: no arms, no wheels, price to 50.00 EUR\n" in shown(console)


def test_an_answer_shows_price_scores_and_times(console: Console) -> None:
    answer = search_pb2.SearchResponse(
        hits=[
            hit(
                1,
                "Red kettle",
                {"retrieve": 0.51234, "rescore": 0.98765},
                search_pb2.Money(currency_code="EUR", units=1234, nanos=500_000_000),
            ),
            hit(2, "Blue kettle", {"retrieve": 0.4}),
        ],
        stages=[
            search_pb2.Stage(name="encode", duration=Duration(nanos=1_500_000), candidates_in=1, candidates_out=1),
            search_pb2.Stage(name="retrieve", duration=Duration(seconds=1), candidates_in=54667, candidates_out=100),
        ],
        degraded=[search_pb2.Degradation(reason="DEGRADATION_REASON_RERANK_REDUCED", detail="7 of 32")],
    )
    show_answer(console, "kettle", answer)
    text = shown(console)
    lines = text.splitlines()
    assert "“kettle”" in lines[0]
    [first] = [line for line in lines if "Red kettle" in line]
    assert [cell.strip() for cell in first.strip("│┃ ").split("│")] == [
        "1",
        "Red kettle",
        "1,234.50 EUR",
        "0.512",
        "0.988",
    ]
    [second] = [line for line in lines if "Blue kettle" in line]
    assert [cell.strip() for cell in second.strip().strip("│").split("│")] == ["2", "Blue kettle", "", "0.400", ""]
    assert "encode 1.5 ms (1 → 1) · retrieve 1000.0 ms (54,667 → 100)" in text
    assert "degraded: RERANK_REDUCED: 7 of 32" in text


def test_long_titles_give_way_to_the_last_stage() -> None:
    console = Console(width=120, file=StringIO())
    scores = dict.fromkeys(("retrieve", "lexical", "fuse", "rescore", "final"), 0.5)
    show_answer(console, "kettle", search_pb2.SearchResponse(hits=[hit(1, "kettle " * 20, scores)]))
    lines = shown(console).splitlines()
    assert "final" in lines[2] and lines[4].count("0.500") == 5 and max(map(len, lines)) <= 120


def test_brackets_are_text_and_no_markup(console: Console) -> None:
    answer = search_pb2.SearchResponse(
        hits=[hit(1, "Kettle [white] [/b] [red]", {"retrieve": 0.5})],
        degraded=[search_pb2.Degradation(reason="DEGRADATION_REASON_RERANK_FAILED", detail="shape [a] [/b]")],
    )
    show_answer(console, "[/red] [bold]kettle", answer)
    text = shown(console)
    assert "“[/red] [bold]kettle”" in text
    assert "Kettle [white] [/b] [red]" in text
    assert "shape [a] [/b]" in text


def test_an_answer_without_hits_still_shows(console: Console) -> None:
    show_answer(console, "nothing", search_pb2.SearchResponse())
    assert "nothing" in shown(console)


def lines_of(answer: search_pb2.SearchResponse, fields: tuple[str, ...] = (), width: int = 160) -> list[str]:
    console = Console(file=StringIO(), width=width)
    show_answer(console, "kettle", answer, fields)
    return shown(console).splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip()[1:-1].split("│")]


@pytest.mark.parametrize(
    ("total", "groups", "line"),
    [
        (search_pb2.Total(value=1204, relation="TOTAL_RELATION_EXACT"), None, "1,204 products match"),
        (search_pb2.Total(value=1, relation="TOTAL_RELATION_EXACT"), None, "1 product matches"),
        (search_pb2.Total(value=7, relation="TOTAL_RELATION_AT_LEAST"), None, "at least 7 products match"),
        (search_pb2.Total(value=0, relation="TOTAL_RELATION_EXACT"), 0, "0 products match, in 0 groups"),
        (search_pb2.Total(value=1204, relation="TOTAL_RELATION_EXACT"), 310, "1,204 products match, in 310 groups"),
    ],
)
def test_totals(total: search_pb2.Total, groups: int | None, line: str) -> None:
    answer = search_pb2.SearchResponse(total=total)
    if groups is not None:
        answer.groups.value = groups
    assert format_total(answer) == line
    assert line in lines_of(answer)


def test_an_answer_that_was_not_counted_has_no_total() -> None:
    assert not any("match" in line for line in lines_of(search_pb2.SearchResponse()))


def test_facets_show_values_ranges_and_what_is_left() -> None:
    brands = search_pb2.Facet(field="brand", more_values=12, missing=3)
    brands.values.add(value="Acme [x]", count=1200)
    brands.values.add(value="Bolt", count=7)
    prices = search_pb2.Facet(field="price", relation="TOTAL_RELATION_AT_LEAST")
    prices.ranges.add(at_least=0, below=19.5, count=4)
    prices.ranges.add(at_least=19.5, below=50, count=0)
    prices.statistics.least, prices.statistics.most = 2.99, 31
    assert format_facet(brands) == "Acme [x] 1,200 · Bolt 7 · 12 more values · none 3"
    assert format_facet(prices) == "0 to 19.5: 4 · 19.5 to 50: 0 · from 2.99 to 31 in all"
    assert format_facet(search_pb2.Facet(field="size")) == "no product has it"
    lines = [line.strip() for line in lines_of(search_pb2.SearchResponse(facets=[brands, prices]))]
    assert f"brand             {format_facet(brands)}" in lines
    assert f"price (at least)  {format_facet(prices)}" in lines


def test_groups_show_their_size_and_variants_and_hits_what_moved_them() -> None:
    first, second = hit(1, "Kettle", {"final": 0.5}), hit(2, "Mug", {"final": 0.25})
    first.group.size = 1200
    first.group.variants.append(hit(1, "Kettle red", {"final": 0.125}))
    second.group.size = 1
    second.moves.extend(["pin:autumn", "cap"])
    answer = search_pb2.SearchResponse(hits=[first, second], groups=search_pb2.Total(value=2))
    rows = [cells(line) for line in lines_of(answer) if "Kettle" in line or "Mug" in line]
    assert rows == [
        ["1", "Kettle", "", "1,200", "0.500", ""],
        ["", "Kettle red", "", "", "0.125", ""],
        ["2", "Mug", "", "1", "0.250", "pin:autumn, cap"],
    ]


def test_fields_asked_for_are_columns() -> None:
    one = hit(1, "Kettle", {})
    one.product.brand, one.product.availability = "Acme [b]", search_pb2.AVAILABILITY_IN_STOCK
    one.product.attributes["Volume"] = "1 l"
    one.product.attributes["Cord"] = "no"
    lines = lines_of(search_pb2.SearchResponse(hits=[one]), ("brand", "title", "availability", "attributes"))
    assert cells(lines[-3]) == ["1", "Kettle", "Acme [b]", "in stock", "Cord no, Vol…", ""]
    assert "item_group_id" in "".join(lines_of(search_pb2.SearchResponse(), ("*",), 400))


def test_rules_redirects_and_the_filter_are_lines_of_their_own() -> None:
    answer = search_pb2.SearchResponse(redirect="https://shop.example/sale[1]")
    answer.rules.add(rule_id="autumn", action="pin", detail="p1 at 2")
    answer.rules.add(rule_id="sale", action="redirect")
    answer.filter.passing, answer.filter.execution = 3021, "scan"
    lines = lines_of(answer, width=40)
    assert "rule autumn: pin: p1 at 2" in lines and "rule sale: redirect" in lines
    assert "redirect: https://shop.example/sale[1]" in lines
    assert "3,021 products of the catalog pass the filter (scan)" in lines
    answer.filter.execution = "none"
    assert "3,021 products of the catalog pass the filter" in lines_of(answer, width=40)


def test_the_next_page_is_the_last_line_and_never_broken() -> None:
    token = "AQ-_" * 1000
    lines = lines_of(search_pb2.SearchResponse(next_page_token=token), width=80)
    assert lines[-1] == f"next page: --page {token}"


def test_explanations_show_what_counts_most() -> None:
    one = hit(3, "Kettle", {})
    for number in range(6):
        one.reasons.add(feature=f"feature {number}", contribution=0.6 - number / 5)
    one.words.add(word="red", from_query=True, contribution=0.25)
    one.words.add(word="mug", contribution=-1.5)
    lines = lines_of(search_pb2.SearchResponse(hits=[one]))
    assert "3: feature 0 +0.60, feature 1 +0.40, feature 2 +0.20, feature 3 +0.00" in lines
    assert "3 words: “mug” -1.50, query “red” +0.25" in lines
