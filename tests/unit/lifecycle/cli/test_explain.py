"""`tandem explain`: the page and the tables, with texts that feeds and shoppers may hold."""

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from lifecycle.cli import explain_page as page_of
from lifecycle.cli.explain_page import explain_page
from lifecycle.cli.show_explanation import show_explanation
from lifecycle.explanation import strength
from tandem.v1 import search_pb2

HOSTILE = "</title></style><script>alert('x')</script><img src=https://evil.example/x onerror=alert(1)> [bold]&amp;\x00"


def answer(text: str = "Red mug") -> search_pb2.SearchResponse:
    """An answer that holds the text wherever an answer holds one."""
    message = search_pb2.SearchResponse(
        release_id=text, catalog=text, searched_query=text, redirect=text, filter={"passing": 1234, "execution": "scan"}
    )
    message.total.CopyFrom(search_pb2.Total(value=17, relation=search_pb2.TOTAL_RELATION_AT_LEAST))
    message.rules.add(rule_id=text, action="pin", detail=text)
    message.stages.add(name=text, candidates_in=1000, candidates_out=7)
    message.degraded.add(reason=search_pb2.DEGRADATION_REASON_RERANK_REDUCED, detail=text)
    message.understanding.product_types.add(product_type=text, confidence=0.9)
    message.understanding.attributes.add(field=text, value=text, words=text, confidence=0.8)
    message.understanding.negations.append(text)
    message.understanding.price.at_most.CopyFrom(search_pb2.Money(currency_code="EUR", units=50))
    hit = message.hits.add(product_id=text, rank=1, score=0.5, moves=[f"pin:{text}"])
    hit.product.title = text
    hit.stage_scores.add(stage="rescore", score=0.25, rank=3)
    hit.stage_scores.add(stage="retrieve", score=0.75, rank=0)
    hit.reasons.add(feature=text, feature_id="x", value=float("nan"), contribution=-1.5)
    hit.group.value, hit.group.size = text, 3
    for word, from_query, contribution in ((text, True, 2.0), ("mug", False, -1.0), ("cup", False, 0.0)):
        hit.words.add(word=word, from_query=from_query, contribution=contribution)
    message.hits.add(product_id="bare", rank=2)
    return message


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_a_page_has_all_that_an_answer_tells() -> None:
    page = Page(explain_page("mug", answer()))
    for part in (
        "“mug”",
        "1,234 products pass, execution scan",
        "at least 17 products match",
        "1,000 → 7",
        "RERANK_REDUCED: Red mug",
        "product type Red mug (90%)",
        "Red mug Red mug by “Red mug” (80%)",
        "without Red mug",
        "price at most 50.00 EUR",
        "Red mug: pin Red mug",
        "0.2500, place 3",
        "0.7500, not among its own",
        "pin:Red mug",
        "Red mug, 3 products",
        "-1.5000",
        "nan",
        "+2.00",
        "-1.00",
        "bare",
    ):
        assert part in page.text, part
    classes = [attributes["class"] for tag, attributes in page.elements if tag == "li"]
    assert classes == ["up4", "down4", "up0"]


def test_hostile_texts_are_shown_and_nothing_else() -> None:
    page, plain = Page(explain_page(HOSTILE, answer(HOSTILE))), Page(explain_page("mug", answer()))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe", "a"} == set()
    assert page.text.count("<script>alert('x')</script>") >= 15 and "\x00" not in page.text
    assert "[bold]&amp;" in page.text
    assert not any(name.startswith("on") or name in ("src", "href") for _, result in page.elements for name in result)


def test_a_page_loads_nothing_and_can_be_read_by_all() -> None:
    text = explain_page("mug", answer())
    page = Page(text)
    assert text.startswith("<!doctype html>") and page.elements[0] == ("html", {"lang": "en"})
    policy = next(result for tag, result in page.elements if "http-equiv" in result)
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    assert all("scope" in result for tag, result in page.elements if tag == "th")
    assert [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)][:3] == ["h1", "h2", "h3"]


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [*page_of._RAISING, *page_of._LOWERING])
def test_black_text_on_each_colour_has_a_contrast_of_7(colour: str) -> None:
    assert (luminance(colour) + 0.05) / 0.05 >= 7


def test_the_terminal_shows_the_same() -> None:
    stream = io.StringIO()
    show_explanation(Console(file=stream, width=80), HOSTILE, answer(HOSTILE))
    text = stream.getvalue()
    for part in ("[bold]&amp;", "rescore: 0.2500, place 3", "words of the product: mug (-1.00) cup (+0.00)"):
        assert part in text
    assert "-1.500" in text and "bare" in text and "filter: 1,234 products pass" in text


def test_strength_is_relative() -> None:
    assert [strength(value, 2.0) for value in (0.0, 0.1, 0.5, -1.0, 2.0)] == [0, 0, 1, 2, 4]
    assert strength(0.0, 0.0) == 0 == strength(float("nan"), 1.0)


def test_an_answer_without_anything_is_a_page_too() -> None:
    page = Page(explain_page("mug", search_pb2.SearchResponse()))
    assert "“mug”" in page.text and not [tag for tag, _ in page.elements if tag == "section"]
