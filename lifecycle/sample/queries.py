"""Queries as shoppers type them, each with the intent it states, made from templates and one product's facts."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from lifecycle.sample.judgments import Intent, Shelf, Wish, neighbours
from lifecycle.sample.products import SampleProduct
from lifecycle.sample.speech import mistyped, plural, spoken, with_article
from lifecycle.sample.vocabulary import ProductType, Vocabulary, tables, vocabulary
from lifecycle.sample.wording import goes_before

_SLOT = re.compile(r"\{(\w+)\}")
_WEARERS = {
    "women": ("womens", "women", "ladies", "her"),
    "men": ("mens", "men", "gents", "him"),
    "kids": ("kids", "children", "childrens", "a child"),
}
_BARE_SHARE = 0.85  # of queries typed without a capital
_MOST_ANSWERS = 1 / 75  # of the shop: a query that more products answer in full says too little to measure by
_NEEDS_SHARE = 0.45  # of the queries, at most
_TRIES = 400


@dataclass(frozen=True, slots=True)
class Query:
    """A query, the template it came from (what a feature or need adds in words included), and what it asks for."""

    text: str
    template: str
    split: str
    intent: Intent


@dataclass(frozen=True, slots=True)
class Template:
    """A way of asking. `price` makes it ask for a "low" or a "high" price; `typo` slips a finger."""

    text: str
    weight: float
    price: str | None = None
    typo: bool = False


class Unfit(Exception):
    """The product lacks what the template speaks of; another one is tried."""


@dataclass(slots=True)
class _Draft:
    """A query in the making: the product it starts from, and what the slots said so far."""

    shelf: Shelf
    row: int
    turn: int  # 0 for the ways of asking of the training split, 1 for those of the test split
    rng: Random
    voc: Vocabulary
    word: str
    wishes: list[Wish] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    max_price: int | None = None
    min_price: int | None = None
    pattern: str = ""

    @property
    def product(self) -> SampleProduct:
        return self.shelf.products[self.row]

    @property
    def kind(self) -> ProductType:
        return self.product.line.kind

    @property
    def rows(self) -> list[int]:
        """All products of the type."""
        return self.shelf.by_type[self.kind.key]

    def turns(self, ways: list[str]) -> str:
        """One of the ways that belong to the split."""
        mine = ways[self.turn :: 2] or ways
        return self.rng.choice(mine)

    def wish(self, *tags: str, hard: bool = False) -> None:
        self.wishes.append(Wish(frozenset(tags), hard))

    def refuse(self, tags: list[str]) -> str:
        """Refuses one of the tags that this product lacks and others of its type have; returns its value."""
        mine = self.shelf.tags[self.row]
        others = {tag for row in self.rows for tag in self.shelf.tags[row]}
        tag = self.one([tag for tag in tags if tag in others and tag not in mine])
        self.excluded.add(tag)
        return tag.partition(":")[2]

    def one(self, values: list[str]) -> str:
        """One of the values; raises Unfit if there is none."""
        if not values:
            raise Unfit
        return self.rng.choice(values)


def make_queries(shelf: Shelf, counts: dict[str, int], seed: int) -> list[Query]:
    """Queries for the splits named in `counts`; no text occurs twice, whatever the case of its letters.

    Training and validation share templates, the test split has its own. A shelf too small to fill a count gives fewer.
    """
    rng, seen = Random(seed + 1), set[str]()
    queries: list[Query] = []
    for source, splits in (("train", ("train", "valid")), ("test", ("test",))):
        wanted = sum(counts.get(split, 0) for split in splits)
        made = list(_needs(shelf, source))[: int(wanted * _NEEDS_SHARE)]
        templates = [Template(**table) for table in tables("templates")[source]]
        for _ in range(_TRIES * wanted):
            if len(made) >= wanted:
                break
            query = _from_template(shelf, templates, source, rng)
            if query and query.text.casefold() not in seen:
                seen.add(query.text.casefold())
                made.append(query)
        rng.shuffle(made)
        for split in splits:
            queries += [replace(query, split=split) for query in made[: counts.get(split, 0)]]
            del made[: counts.get(split, 0)]
    return queries


def _needs(shelf: Shelf, split: str) -> Iterator[Query]:
    """Vague wishes that the shelf can meet; each phrase is a template of its own."""
    for need in tables("needs").values():
        wishes = tuple(Wish(frozenset([tag])) for tag in need.get("wishes", ()))
        least, most = (euros * 100 if (euros := need.get(name)) else None for name in ("min_price", "max_price"))
        intent = Intent(
            frozenset(need["types"]), related=frozenset(need["near"]), wishes=wishes, min_price=least, max_price=most
        )
        if shelf.graded(intent)[3]:
            yield from (Query(phrase, phrase, split, intent) for phrase in need[split])


def _from_template(shelf: Shelf, templates: list[Template], split: str, rng: Random) -> Query | None:
    """One query from a random template and a random product, or None if the two do not fit."""
    template = rng.choices(templates, [template.weight for template in templates])[0]
    kind = vocabulary().types[rng.choice(sorted(shelf.by_type))]
    word = rng.choice([*kind.words, *kind.slang, *kind.slang])
    draft = _Draft(shelf, rng.choice(shelf.by_type[kind.key]), int(split == "test"), rng, vocabulary(), word)
    draft.pattern = template.text
    try:
        _price_wish(draft, template.price)
        text = _SLOT.sub(lambda slot: _SLOTS[slot[1]](draft), template.text)
    except Unfit:
        return None
    siblings, related = neighbours(draft.voc, kind.key)
    intent = Intent(
        frozenset([kind.key]), siblings, related, tuple(draft.wishes), frozenset(draft.excluded),
        draft.max_price, draft.min_price,
    )  # fmt: skip
    if not 0 < len(shelf.graded(intent)[3]) <= _MOST_ANSWERS * len(shelf.products):
        return None
    if template.typo:
        straight, text = text, mistyped(text, rng)
        if text == straight:
            return None
    return Query(_as_typed(text, rng), draft.pattern + " (mistyped)" * template.typo, split, intent)


def _as_typed(text: str, rng: Random) -> str:
    text = " ".join(text.split())
    return text.lower() if rng.random() < _BARE_SHARE else text[:1].upper() + text[1:]


def _price_wish(draft: _Draft, price: str | None) -> None:
    """Low is the cheapest third of the type, high the dearest; a type with few prices has neither."""
    if price is None:
        return
    prices = sorted(draft.shelf.products[row].price for row in draft.rows)
    low, high = prices[len(prices) // 3], prices[-1 - len(prices) // 3]
    mine = draft.product.price
    if len(prices) < 6 or low == high or (mine > low if price == "low" else mine < high):
        raise Unfit
    draft.max_price, draft.min_price = (low, None) if price == "low" else (None, high)


def _color(draft: _Draft) -> str:
    family = draft.product.color_family
    if not family or any("color:" in tag for tag in draft.excluded):
        raise Unfit
    draft.wish(f"color:{family}")
    return "gray" if family == "grey" and draft.rng.random() < 0.3 else family


def _material(draft: _Draft) -> str:
    words = draft.voc.words_of(draft.product.line.material)
    word = draft.one(words)
    draft.wish(f"material:{word}")
    return word


def _brand(draft: _Draft) -> str:
    draft.wish(f"brand:{draft.product.line.brand.name}")
    return draft.product.line.brand.name


def _size(draft: _Draft) -> str:
    size = draft.product.size
    if not size:
        raise Unfit
    draft.wish(f"size:{size}", hard=True)
    return draft.turns(spoken(size))


def _wearer(draft: _Draft) -> str:
    """Who is to wear it, in the split's word: the audiences of a line, where it has any."""
    audience = draft.product.line.audience
    if audience not in _WEARERS:
        raise Unfit
    draft.wish(f"audience:{audience}", hard=True)
    return audience


def _facet(draft: _Draft) -> str:
    """The type with one of its facets: "wireless mouse", "kettle 1.7 litre"."""
    facets = draft.product.line.facets
    facet = draft.one([name for name in draft.kind.headline if facets[name] not in ("plain", "unperfumed")])
    value = facets[facet]
    draft.wish(f"{facet}:{value}")
    if facet in draft.voc.after:
        return f"{draft.word} {draft.voc.after[facet].format(value)}"
    said = draft.turns(spoken(value))
    return f"{said} {draft.word}" if goes_before(draft.voc, facet, value) else f"{draft.word} {said}"


def _feature(draft: _Draft) -> str:
    feature = draft.one(draft.product.line.features)
    draft.wish(f"feature:{feature}")
    ask = draft.turns(draft.voc.features[feature].asks)
    draft.pattern = re.sub(r"\{(a_)?feature\}", ask.replace("{}", "{type}"), draft.pattern)
    return ask.format(draft.word)


def _refused(draft: _Draft) -> str:
    kind = draft.kind
    able = [f"feature:{name}" for name in [*kind.features, *kind.always] if draft.voc.features[name].without]
    feature = draft.refuse(able)
    ask = draft.turns(draft.voc.features[feature].without)
    draft.pattern = draft.pattern.replace("{refused}", ask.replace("{}", "{type}"))
    return ask.format(draft.word)


def _use(draft: _Draft) -> str:
    use = draft.product.line.use
    if not use:
        raise Unfit
    draft.wish(f"use:{use}")
    ask = draft.turns(draft.voc.uses[use].asks)
    draft.pattern = draft.pattern.replace("{use}", ask)
    return ask


def _not_material(draft: _Draft) -> str:
    words = {word for material in draft.kind.materials for word in draft.voc.materials[material]}
    return draft.refuse([f"material:{word}" for word in sorted(words)])


def _not_color(draft: _Draft) -> str:
    if not draft.product.color_family:
        raise Unfit
    return draft.refuse([f"color:{family}" for family in draft.voc.colors])


def _not_brand(draft: _Draft) -> str:
    return draft.refuse([f"brand:{brand.name}" for brand in draft.kind.brands])


def _step(draft: _Draft) -> tuple[int, int]:
    """This product's price in euros, and how far round prices near it are apart."""
    price = draft.product.price // 100
    return price, 5 if price < 50 else 10 if price < 100 else 50


def _bound(draft: _Draft) -> str:
    """A round price that this product keeps and some of its type do not."""
    price, step = _step(draft)
    euros = (price // step + 1) * step
    if all(draft.shelf.products[row].price <= euros * 100 for row in draft.rows):
        raise Unfit
    draft.max_price = euros * 100
    return str(euros)


def _least(draft: _Draft) -> str:
    """A round price below this product's; some of its type cost less."""
    price, step = _step(draft)
    euros = (price // step - 1) * step
    if euros <= 0 or all(draft.shelf.products[row].price >= euros * 100 for row in draft.rows):
        raise Unfit
    draft.min_price = euros * 100
    return str(euros)


_SLOTS: dict[str, Callable[[_Draft], str]] = {
    "type": lambda draft: draft.word,
    "types": lambda draft: plural(draft.word),
    "a_type": lambda draft: with_article(draft.word, draft.word),
    "color": _color,
    "material": _material,
    "brand": _brand,
    "size": _size,
    "audience": lambda draft: draft.rng.choice(_WEARERS[_wearer(draft)][::2]),
    "whom": lambda draft: draft.rng.choice(_WEARERS[_wearer(draft)][1::2]),
    "facet": _facet,
    "feature": _feature,
    "a_feature": lambda draft: with_article(_feature(draft), draft.word),
    "refused": _refused,
    "use": _use,
    "not_material": _not_material,
    "not_color": _not_color,
    "not_brand": _not_brand,
    "price": _bound,
    "low": _least,
    "high": _bound,
}
