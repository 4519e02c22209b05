"""The explanation of an answer as lines of text: the same for the terminal and for a page."""

from collections.abc import Iterator

from tandem.v1 import search_pb2

STRONGEST = 4
_MOST_VIA = 12


def strength(contribution: float, most: float) -> int:
    """0 to 4: how strong a contribution is beside the strongest."""
    if not most or contribution != contribution:
        return 0
    return min(STRONGEST, round(STRONGEST * abs(contribution) / most))


def answer_facts(answer: search_pb2.SearchResponse) -> Iterator[tuple[str, list[str]]]:
    """The lines about the whole answer, by the name of their part; parts without a line are left out."""
    facts = {
        "release": [f"{answer.release_id} of catalog {answer.catalog}"],
        "searched as": [answer.searched_query] if answer.searched_query else [],
        "understood": list(_understood(answer.understanding)),
        "rule": [f"{one.rule_id}: {one.action} {one.detail}" for one in answer.rules],
        "redirect": [answer.redirect] if answer.redirect else [],
        "filter": _filter(answer),
        "total": _totals(answer),
        "stage": [
            f"{one.name} {one.duration.ToMicroseconds() / 1000:.1f} ms, {one.candidates_in:,} → {one.candidates_out:,}"
            for one in answer.stages
        ],
        "degraded": [
            f"{search_pb2.DegradationReason.Name(one.reason).removeprefix('DEGRADATION_REASON_')}: {one.detail}"
            for one in answer.degraded
        ],
    }
    return ((name, lines) for name, lines in facts.items() if lines)


def hit_facts(hit: search_pb2.Hit) -> Iterator[tuple[str, str]]:
    """The lines about a hit beside its features and words."""
    yield "score", f"{hit.score:.4f}"
    for stage in hit.stage_scores:
        place = f", place {stage.rank}" if stage.rank else ", not among its own"
        yield stage.stage, f"{stage.score:.4f}{place}"
    if hit.moves:
        yield "moved by", ", ".join(hit.moves)
    if hit.HasField("group"):
        yield "group", f"{hit.group.value or 'of its own'}, {hit.group.size:,} products"


def _filter(answer: search_pb2.SearchResponse) -> list[str]:
    if not answer.HasField("filter"):
        return []
    return [f"{answer.filter.passing:,} products pass, execution {answer.filter.execution or 'none'}"]


def _totals(answer: search_pb2.SearchResponse) -> list[str]:
    lines = []
    for name, total in (("products match", answer.total), ("groups match", answer.groups)):
        if total.relation:
            at_least = "at least " if total.relation == search_pb2.TOTAL_RELATION_AT_LEAST else ""
            lines.append(f"{at_least}{total.value:,} {name}")
    return lines


def _understood(stated: search_pb2.Understanding) -> Iterator[str]:
    for one in stated.product_types:
        yield f"product type {one.product_type} ({one.confidence:.0%})"
    for attribute in list(stated.attributes)[:_MOST_VIA]:
        yield f"{attribute.field} {attribute.value} by “{attribute.words}” ({attribute.confidence:.0%})"
    for negation in stated.negations:
        yield f"without {negation}"
    if stated.HasField("price"):
        bounds = [
            f"{name} {bound.units + bound.nanos / 1e9:.2f} {bound.currency_code}"
            for name, bound in (("at least", stated.price.at_least), ("at most", stated.price.at_most))
            if stated.price.HasField(name.replace(" ", "_"))
        ]
        yield f"price {' and '.join(bounds)}"
