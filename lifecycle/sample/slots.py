"""The slots of query templates: each writes a fact of one product as shoppers do, and requires it of answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from lifecycle.sample.judgments import Requirement, SampleCatalog
from lifecycle.sample.products import SampleProduct
from lifecycle.sample.speech import pluralise, query_forms, with_article
from lifecycle.sample.vocabulary import ProductType, Vocabulary
from lifecycle.sample.wording import goes_before

_SLOT = re.compile(r"\{(\w+)\}")
_WEARERS = {
    "women": ("womens", "women", "ladies", "her"),
    "men": ("mens", "men", "gents", "him"),
    "kids": ("kids", "children", "childrens", "a child"),
}


class TemplateMismatch(Exception):
    """The product has no value for a slot of the template; another one is tried."""


@dataclass(slots=True)
class Draft:
    """A query under construction: its product, and the requirements of the filled slots."""

    catalog: SampleCatalog
    row: int
    parity: int  # 0 for the phrases of the training split, 1 for those of the test split
    rng: Random
    voc: Vocabulary
    word: str
    requirements: list[Requirement] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    max_price: int | None = None
    min_price: int | None = None
    pattern: str = ""

    @property
    def product(self) -> SampleProduct:
        return self.catalog.products[self.row]

    @property
    def kind(self) -> ProductType:
        return self.product.line.kind

    @property
    def rows(self) -> list[int]:
        """All products of the type."""
        return self.catalog.by_type[self.kind.key]

    def choose_phrase(self, phrases: list[str]) -> str:
        """One of the phrases that belong to the split."""
        return self.rng.choice(phrases[self.parity :: 2] or phrases)

    def require(self, *tags: str, hard: bool = False) -> None:
        self.requirements.append(Requirement(frozenset(tags), hard))

    def exclude(self, tags: list[str]) -> str:
        """Excludes one of the tags that this product lacks and others of its type have; returns its value."""
        own = self.catalog.tags[self.row]
        others = {tag for row in self.rows for tag in self.catalog.tags[row]}
        tag = self.choose([tag for tag in tags if tag in others and tag not in own])
        self.excluded.add(tag)
        return tag.partition(":")[2]

    def choose(self, values: list[str]) -> str:
        """One of the values; raises TemplateMismatch if there is none."""
        if not values:
            raise TemplateMismatch
        return self.rng.choice(values)


def fill_slots(draft: Draft, template: str) -> str:
    """The template with each slot filled. Raises TemplateMismatch where the product has no value for one."""
    return _SLOT.sub(lambda slot: _SLOTS[slot[1]](draft), template)


def require_price(draft: Draft, price: str | None) -> None:
    """Requires a low price, of the cheapest third of the type, or a high one; a type with few prices has neither."""
    if price is None:
        return
    prices = sorted(draft.catalog.products[row].price for row in draft.rows)
    low, high = prices[len(prices) // 3], prices[-1 - len(prices) // 3]
    price_here = draft.product.price
    if len(prices) < 6 or low == high or (price_here > low if price == "low" else price_here < high):
        raise TemplateMismatch
    draft.max_price, draft.min_price = (low, None) if price == "low" else (None, high)


def _color(draft: Draft) -> str:
    family = draft.product.color_family
    if not family or any("color:" in tag for tag in draft.excluded):
        raise TemplateMismatch
    draft.require(f"color:{family}")
    return "gray" if family == "grey" and draft.rng.random() < 0.3 else family


def _material(draft: Draft) -> str:
    words = draft.voc.material_words(draft.product.line.material)
    word = draft.choose(words)
    draft.require(f"material:{word}")
    return word


def _brand(draft: Draft) -> str:
    draft.require(f"brand:{draft.product.line.brand.name}")
    return draft.product.line.brand.name


def _size(draft: Draft) -> str:
    size = draft.product.size
    if not size:
        raise TemplateMismatch
    draft.require(f"size:{size}", hard=True)
    return draft.choose_phrase(draft.voc.forms.get(size) or query_forms(size))


def _part(draft: Draft) -> str:
    """The product's part number as people type it; other sizes of its line miss once, other products of the type twice.

    Raises TemplateMismatch where it has none.
    """
    part = draft.product.part_number
    if not part:
        raise TemplateMismatch
    draft.require(f"line:{draft.product.line.number}")
    draft.require(f"part:{part}")
    return draft.choose_phrase([part, part.replace("-", ""), part.replace("-", " "), part.replace("-", "/")])


def _wearer(draft: Draft) -> str:
    """The audience of the product's line. Raises TemplateMismatch where it has none."""
    audience = draft.product.line.audience
    if audience not in _WEARERS:
        raise TemplateMismatch
    draft.require(f"audience:{audience}", hard=True)
    return audience


def _facet(draft: Draft) -> str:
    """The type with one of its facets: "wireless mouse", "kettle 1.7 litre"."""
    facets = draft.product.line.facets
    facet = draft.choose([name for name in draft.kind.headline if facets[name] not in ("plain", "unperfumed")])
    value = facets[facet]
    draft.require(f"{facet}:{value}")
    if value in draft.voc.forms:
        ask = draft.choose_phrase(draft.voc.forms[value])
        return ask.format(draft.word) if "{}" in ask else f"{draft.word} {ask}"
    if facet in draft.voc.after:
        return f"{draft.word} {draft.voc.after[facet].format(value)}"
    phrase = draft.choose_phrase(query_forms(value))
    return f"{phrase} {draft.word}" if goes_before(draft.voc, facet, value) else f"{draft.word} {phrase}"


def _feature(draft: Draft) -> str:
    feature = draft.choose(draft.product.line.features)
    draft.require(f"feature:{feature}")
    ask = draft.choose_phrase(draft.voc.features[feature].phrases)
    draft.pattern = re.sub(r"\{(a_)?feature\}", ask.replace("{}", "{type}"), draft.pattern)
    return ask.format(draft.word)


def _without_feature(draft: Draft) -> str:
    kind = draft.kind
    able = [f"feature:{name}" for name in [*kind.features, *kind.always] if draft.voc.features[name].without]
    feature = draft.exclude(able)
    ask = draft.choose_phrase(draft.voc.features[feature].without)
    draft.pattern = draft.pattern.replace("{refused}", ask.replace("{}", "{type}"))
    return ask.format(draft.word)


def _use(draft: Draft) -> str:
    use = draft.product.line.use
    if not use:
        raise TemplateMismatch
    draft.require(f"use:{use}")
    ask = draft.choose_phrase(draft.voc.uses[use].phrases)
    draft.pattern = draft.pattern.replace("{use}", ask)
    return ask


def _not_material(draft: Draft) -> str:
    words = {word for material in draft.kind.materials for word in draft.voc.materials[material]}
    return draft.exclude([f"material:{word}" for word in sorted(words)])


def _not_color(draft: Draft) -> str:
    if not draft.product.color_family:
        raise TemplateMismatch
    return draft.exclude([f"color:{family}" for family in draft.voc.colors])


def _not_brand(draft: Draft) -> str:
    return draft.exclude([f"brand:{brand.name}" for brand in draft.kind.brands])


def _price_step(draft: Draft) -> tuple[int, int]:
    """This product's price in euros, and the step between round prices near it."""
    price = draft.product.price // 100
    return price, 5 if price < 50 else 10 if price < 100 else 50


def _upper_bound(draft: Draft) -> str:
    """A round price above this product's; some of its type cost more."""
    price, step = _price_step(draft)
    euros = (price // step + 1) * step
    if all(draft.catalog.products[row].price <= euros * 100 for row in draft.rows):
        raise TemplateMismatch
    draft.max_price = euros * 100
    return str(euros)


def _lower_bound(draft: Draft) -> str:
    """A round price below this product's; some of its type cost less."""
    price, step = _price_step(draft)
    euros = (price // step - 1) * step
    if euros <= 0 or all(draft.catalog.products[row].price >= euros * 100 for row in draft.rows):
        raise TemplateMismatch
    draft.min_price = euros * 100
    return str(euros)


_SLOTS: dict[str, Callable[[Draft], str]] = {
    "type": lambda draft: draft.word,
    "types": lambda draft: pluralise(draft.word),
    "a_type": lambda draft: with_article(draft.word, draft.word),
    "color": _color,
    "material": _material,
    "brand": _brand,
    "size": _size,
    "part": _part,
    "audience": lambda draft: draft.rng.choice(_WEARERS[_wearer(draft)][::2]),
    "whom": lambda draft: draft.rng.choice(_WEARERS[_wearer(draft)][1::2]),
    "facet": _facet,
    "feature": _feature,
    "a_feature": lambda draft: with_article(_feature(draft), draft.word),
    "refused": _without_feature,
    "use": _use,
    "not_material": _not_material,
    "not_color": _not_color,
    "not_brand": _not_brand,
    "price": _upper_bound,
    "low": _lower_bound,
    "high": _upper_bound,
}
