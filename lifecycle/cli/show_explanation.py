"""An answer explained on the terminal: each hit with its stages, features and words."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from lifecycle.explanation import answer_facts, hit_facts, strength
from tandem.v1 import search_pb2

_REASONS = 6
_STYLES = ("", "green", "bold green"), ("", "red", "bold red")


def show_explanation(console: Console, query: str, answer: search_pb2.SearchResponse) -> None:
    """What the whole answer was made from, then each hit."""
    console.print(Text(f"“{query}”", style="bold"))
    for name, lines in answer_facts(answer):
        for line in lines:
            console.print(Text(f"  {name}: {line}"), soft_wrap=True)
    for hit in answer.hits:
        title = hit.product.title or hit.product_id
        console.print(Text(f"{hit.rank:>3}  {title}", style="bold"), soft_wrap=True)
        for name, line in hit_facts(hit):
            console.print(Text(f"     {name}: {line}"), soft_wrap=True)
        if hit.reasons:
            shown = ", ".join(f"{one.feature} {one.contribution:+.3f}" for one in hit.reasons[:_REASONS])
            more = f" and {len(hit.reasons) - _REASONS} more" if len(hit.reasons) > _REASONS else ""
            console.print(Text(f"     features: {shown}{more}"), soft_wrap=True)
        for name, from_query in (("query", True), ("product", False)):
            if words := [one for one in hit.words if one.from_query is from_query]:
                console.print(Text.assemble(f"     words of the {name}:", *_coloured(words)), soft_wrap=True)


def _coloured(words: Sequence[search_pb2.WordContribution]) -> Iterator[tuple[str, str]]:
    most = max(abs(word.contribution) for word in words)
    for word in words:
        style = _STYLES[word.contribution < 0][min(2, strength(word.contribution, most))]
        yield f" {word.word} ({word.contribution:+.2f})", style
