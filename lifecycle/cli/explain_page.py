"""An answer explained as one HTML page that loads nothing from elsewhere.

The page is built as a tree of elements, so that every text of a query, a feed or a rule is escaped.
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from lifecycle.explanation import answer_facts, hit_facts, strength
from tandem.v1 import search_pb2

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# Each background has a contrast of 7 or more with the black text on it. A number repeats what a colour shows.
_RAISING = ("#ffffff", "#e3f5e6", "#c2ebc9", "#98dda4", "#6fce80")
_LOWERING = ("#ffffff", "#fde8e4", "#fbd0c7", "#f8b3a5", "#f59885")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 60rem; margin: 2rem auto; }
section { border-top: 1px solid #767676; padding: .5rem 0; }
table { border-collapse: collapse; }
caption { text-align: left; font-weight: 600; padding-top: .5rem; }
th, td { text-align: left; padding: .1rem .8rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
ul.words { list-style: none; padding: 0; margin: .2rem 0; }
ul.words li { display: inline-block; margin: .1rem; padding: 0 .3rem; border: 1px solid #767676; color: #000; }
h1, h2, li { overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; }
h3 { font-size: 1rem; margin: .5rem 0 0; }
"""
_COLOURS = "".join(
    f".{name}{place} {{ background: {colour}; }}\n"
    for name, colours in (("up", _RAISING), ("down", _LOWERING))
    for place, colour in enumerate(colours)
)


def explain_page(query: str, answer: search_pb2.SearchResponse) -> str:
    """The page: what the answer was made from, then each hit with its stages, features and words."""
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _add(head, "title", f"“{query}” explained")
    _add(head, "style", _STYLE + _COLOURS)
    main = SubElement(SubElement(page, "body"), "main")
    _add(main, "h1", f"“{query}”")
    _table(main, "The answer", [(name, line) for name, lines in answer_facts(answer) for line in lines])
    _add(
        main,
        "p",
        "Green words raise the cross-encoder's score of a product, red ones lower it: the number is by how much its "
        "log-odds fall when the word is left out.",
    )
    for hit in answer.hits:
        _add_hit(main, hit)
    return "<!doctype html>\n" + _printable(tostring(page, "unicode", method="html")) + "\n"


def _add_hit(main: Element, hit: search_pb2.Hit) -> None:
    section = SubElement(main, "section")
    _add(section, "h2", f"{hit.rank}. {hit.product.title or hit.product_id}")
    _table(section, f"Stages of hit {hit.rank}", [("id", hit.product_id), *hit_facts(hit)])
    for name, from_query in (("the query", True), ("the product", False)):
        words = [word for word in hit.words if word.from_query is from_query]
        if words:
            _add(section, "h3", f"Words of {name}")
            _add_words(section, words)
    if hit.reasons:
        rows = [(one.feature, f"{one.value:.4g}", f"{one.contribution:+.4f}") for one in hit.reasons]
        details = SubElement(section, "details")
        _add(details, "summary", f"{len(rows)} features of the final score")
        _table(details, f"Features of hit {hit.rank}", rows, ("feature", "value", "contribution"))


def _add_words(section: Element, words: Sequence[search_pb2.WordContribution]) -> None:
    most = max(abs(word.contribution) for word in words)
    entries = SubElement(section, "ul", {"class": "words"})
    for word in words:
        direction = "down" if word.contribution < 0 else "up"
        entry = SubElement(entries, "li", {"class": f"{direction}{strength(word.contribution, most)}"})
        entry.text = f"{word.word} "
        _add(entry, "small", f"{word.contribution:+.2f}")


def _table(parent: Element, caption: str, rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> None:
    table = SubElement(parent, "table")
    _add(table, "caption", caption)
    if heads:
        row = SubElement(SubElement(table, "thead"), "tr")
        for name in heads:
            _add(row, "th", name).set("scope", "col")
    body = SubElement(table, "tbody")
    for first, *others in rows:
        row = SubElement(body, "tr")
        _add(row, "th", first).set("scope", "row")
        for cell in others:
            _add(row, "td", cell)


def _add(parent: Element, tag: str, text: str) -> Element:
    element = SubElement(parent, tag)
    element.text = text
    return element


def _printable(text: str) -> str:
    """Without the characters that a page cannot have."""
    return "".join(character for character in text if character >= " " or character in "\t\n")
