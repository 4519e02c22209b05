"""Queries as shoppers type them, each with its intent, made from templates and the facts of one product."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from lifecycle.sample.judgments import Intent, Requirement, SampleCatalog, neighbour_types
from lifecycle.sample.slots import Draft, TemplateMismatch, fill_slots, require_price
from lifecycle.sample.speech import add_typo
from lifecycle.sample.vocabulary import tables

_LOWER_CASE_SHARE = 0.85  # of queries typed without a capital
_MOST_ANSWERS = 1 / 75  # share of the shop: a query with more perfect matches is too broad for measuring
_NEEDS_SHARE = 0.45  # of the queries, at most
_TRIES = 400


@dataclass(frozen=True, slots=True)
class Query:
    """A query, its template (with the words that a feature or a need adds), its split and its intent."""

    text: str
    template: str
    split: str
    intent: Intent


@dataclass(frozen=True, slots=True)
class Template:
    """A template of queries. `price` makes them require a "low" or a "high" price; `typo` adds a typo."""

    text: str
    weight: float
    price: str | None = None
    typo: bool = False


def make_queries(catalog: SampleCatalog, counts: dict[str, int], seed: int) -> list[Query]:
    """Queries for the splits named in `counts`; no text occurs twice, whatever the case of its letters.

    Training and validation share templates, the test split has its own. A small catalog may give fewer.
    """
    rng, texts = Random(seed + 1), set[str]()
    queries: list[Query] = []
    for source, splits in (("train", ("train", "valid")), ("test", ("test",))):
        target = sum(counts.get(split, 0) for split in splits)
        drafts = list(_need_queries(catalog, source))[: int(target * _NEEDS_SHARE)]
        templates = [Template(**table) for table in tables("templates", catalog.vocabulary.world.key)[source]]
        for _ in range(_TRIES * target):
            if len(drafts) >= target:
                break
            query = _fill_template(catalog, templates, source, rng)
            if query and query.text.casefold() not in texts:
                texts.add(query.text.casefold())
                drafts.append(query)
        rng.shuffle(drafts)
        for split in splits:
            queries += [replace(query, split=split) for query in drafts[: counts.get(split, 0)]]
            del drafts[: counts.get(split, 0)]
    return queries


def _need_queries(catalog: SampleCatalog, split: str) -> Iterator[Query]:
    """Queries for vague needs that the catalog can meet; each phrase is a template of its own."""
    for need in tables("needs", catalog.vocabulary.world.key).values():
        requirements = tuple(Requirement(frozenset([tag])) for tag in need.get("requirements", ()))
        least, most = (euros * 100 if (euros := need.get(name)) else None for name in ("min_price", "max_price"))
        intent = Intent(
            frozenset(need["types"]),
            related=frozenset(need["near"]),
            requirements=requirements,
            min_price=least,
            max_price=most,
        )
        if catalog.rows_by_grade(intent)[3]:
            yield from (Query(phrase, phrase, split, intent) for phrase in need[split])


def _fill_template(catalog: SampleCatalog, templates: list[Template], split: str, rng: Random) -> Query | None:
    """One query from a random template and a random product, or None if the two do not fit."""
    template = rng.choices(templates, [template.weight for template in templates])[0]
    voc = catalog.vocabulary
    kind = voc.types[rng.choice(sorted(catalog.by_type))]
    word = rng.choice([*kind.words, *kind.slang, *kind.slang])
    draft = Draft(catalog, rng.choice(catalog.by_type[kind.key]), int(split == "test"), rng, voc, word)
    draft.pattern = template.text
    try:
        require_price(draft, template.price)
        text = fill_slots(draft, template.text)
    except TemplateMismatch:
        return None
    siblings, related = neighbour_types(draft.voc, kind.key)
    intent = Intent(
        frozenset([kind.key]), siblings, related, tuple(draft.requirements), frozenset(draft.excluded),
        draft.max_price, draft.min_price,
    )  # fmt: skip
    if not 0 < len(catalog.rows_by_grade(intent)[3]) <= _MOST_ANSWERS * len(catalog.products):
        return None
    if template.typo:
        straight, text = text, add_typo(text, rng)
        if text == straight:
            return None
    return Query(_vary_capitals(text, rng), draft.pattern + " (mistyped)" * template.typo, split, intent)


def _vary_capitals(text: str, rng: Random) -> str:
    text = " ".join(text.split())
    return text.lower() if rng.random() < _LOWER_CASE_SHARE else text[:1].upper() + text[1:]
