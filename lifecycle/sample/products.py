"""The products of a sample shop: a stream of facts, each of which can be written as a row of a feed."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from lifecycle.sample.vocabulary import HOME, Brand, ProductType, Vocabulary, vocabulary
from lifecycle.sample.wording import TitleStyle, describe, model_name, noun_phrase, type_noun

_FEATURE_SHARE = 0.4
_DENIED_SHARE = 0.3  # features a product lacks that its feed row denies in words
_STOCK = (("in_stock", 0.86), ("out_of_stock", 0.95), ("backorder", 0.985), ("preorder", 1.0))
_SHOP = "https://shop.example"


@dataclass(slots=True)
class ProductLine:
    """The facts that all variants of an item group share. `price` is in cents, before the size of a variant counts."""

    vocabulary: Vocabulary
    number: int
    kind: ProductType
    brand: Brand
    model: str
    material: str | None
    audience: str | None
    use: str | None
    facets: dict[str, str]
    features: list[str]
    denied: list[str]
    price: int
    title: TitleStyle
    description: str | None
    attributes: dict[str, str]


@dataclass(slots=True)
class SampleProduct:
    """One product's facts: the truth from which both its feed row and its judgments follow."""

    number: int
    line: ProductLine
    color: str | None
    color_family: str | None
    size: str | None
    price: int
    availability: str
    part_number: str | None = None

    @property
    def id(self) -> str:
        return f"S{self.number:07d}"

    @property
    def title(self) -> str:
        return self.line.title(self.color, self.size)

    def tags(self) -> frozenset[str]:
        """The facts that queries can ask for, as "facet:value"."""
        line, voc = self.line, self.line.vocabulary
        tags = {f"{facet}:{value}" for facet, value in line.facets.items()}
        tags |= {f"feature:{feature}" for feature in line.features}
        tags |= {f"material:{word}" for word in voc.material_words(line.material)}
        tags |= {f"brand:{line.brand.name}", f"color:{self.color_family}", f"size:{self.size}", f"use:{line.use}"}
        if self.part_number:
            tags |= {f"line:{line.number}", f"part:{self.part_number}"}
        wearers = ("women", "men") if line.audience in (None, "unisex") else (line.audience,)
        return frozenset(tags | {f"audience:{wearer}" for wearer in wearers})

    def row(self) -> dict[str, str]:
        """The product as a row of a feed, with the field names of Google Merchant; absent values are left out."""
        line, code, world = self.line, self.id, self.line.vocabulary.world
        row = {
            "id": code,
            "title": line.title(self.color, self.size),
            "description": line.description,
            "brand": line.brand.name,
            "product_type": line.kind.path,
            "price": f"{self.price // 100}.{self.price % 100:02d} {world.catalog['currency']}",
            "availability": self.availability,
            "color": self.color,
            "size": self.size,
            "material": line.material,
            "gtin": ean13(world.first_gtin + self.number),
            "item_group_id": f"G{line.number:07d}",
            "image_link": f"{_SHOP}/images/{code}.jpg",
            "link": f"{_SHOP}/products/{code}",
        }
        parts = {"attr_part_number": self.part_number} if self.part_number else {}
        return {name: value for name, value in row.items() if value} | parts | line.attributes


def ean13(number: int) -> str:
    """Twelve digits and the EAN-13 check digit: weights 1 and 3 from the left, up to the next ten."""
    digits = f"{number:012d}"
    total = sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))
    return f"{digits}{-total % 10}"


def iter_products(count: int, seed: int = 7, world: str = HOME) -> Iterator[SampleProduct]:
    """`count` products with distinct ids and titles, one by one; a smaller count gives a prefix of a larger one."""
    return islice(_products(seed, vocabulary(world)), count)


def _products(seed: int, voc: Vocabulary) -> Iterator[SampleProduct]:
    rng, number = Random(seed), 0
    for line in _lines(rng, voc):
        for nth, (color, family, size, price) in enumerate(_variants(rng, voc, line), 1):
            roll = rng.random()
            stock = next(name for name, edge in _STOCK if roll < edge)
            number += 1
            part = f"{line.model}-{line.number:04d}{nth:02d}" if voc.world.part_numbers else None
            yield SampleProduct(number, line, color, family, size, price, stock, part)


def _lines(rng: Random, voc: Vocabulary) -> Iterator[ProductLine]:
    """An endless stream of lines: every type once, then by Zipf's law, so that small shops have all types too."""
    types = list(voc.types.values())
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    first = rng.sample(types, len(types))
    number = 0
    while True:
        kind = first.pop() if first else types[min(bisect_left(voc.weights, rng.random()), len(types) - 1)]
        number += 1
        yield _line(rng, voc, kind, number, counts)


def _line(
    rng: Random, voc: Vocabulary, kind: ProductType, number: int, counts: dict[tuple[str, str], int]
) -> ProductLine:
    pick = _picker(rng)
    brand = kind.brands[int(len(kind.brands) * rng.random() ** 1.3)]
    nth = counts[brand.name, kind.key]
    counts[brand.name, kind.key] = nth + 1
    model = model_name(voc, brand, kind, nth)
    material = pick(kind.materials) if kind.materials else None
    audience = pick(kind.audiences) if kind.audiences else None
    facets = {facet: pick(values) for facet, values in kind.facets.items()}
    ruled_out = {*voc.material_words(material), *facets.values(), audience or ""}
    features, denied = _features(rng, kind, ruled_out)
    uses = [use for use in kind.uses if ruled_out.isdisjoint(kind.conflicts.get(use, ()))]
    use = pick(uses) if uses and rng.random() < 0.8 else None
    shown = pick(features) if features and rng.random() < 0.45 else None
    noun, detail = noun_phrase(
        voc, kind, type_noun(brand, kind), audience, facets, material if rng.random() < 0.7 else None,
        (brand.terms.get(shown) or voc.features[shown].title) if shown else None,
    )  # fmt: skip
    return ProductLine(
        vocabulary=voc,
        number=number,
        kind=kind,
        brand=brand,
        model=model,
        material=material,
        audience=audience,
        use=use,
        facets=facets,
        features=features,
        denied=denied,
        price=_price(rng, kind, brand, audience),
        title=TitleStyle(brand, model, noun, detail),
        description=describe(voc, rng, brand, kind, material, features, use),
        attributes=_attributes(brand, audience, use, facets, features, denied),
    )


def _picker(rng: Random) -> Callable[[list[str]], str]:
    draw = rng.random
    return lambda values: values[int(draw() * len(values))]


def _features(rng: Random, kind: ProductType, ruled_out: set[str]) -> tuple[list[str], list[str]]:
    """The features of a line, and those that its feed row denies."""
    can = [name for name in kind.always if ruled_out.isdisjoint(kind.conflicts.get(name, ()))]
    cannot = []
    for name in kind.features:
        roll = rng.random()
        if roll < _FEATURE_SHARE and ruled_out.isdisjoint(kind.conflicts.get(name, ())):
            can.append(name)
        elif roll > 1 - _DENIED_SHARE:
            cannot.append(name)
    return can, cannot


def _price(rng: Random, kind: ProductType, brand: Brand, audience: str | None) -> int:
    """Cents within the type's range, geometric in the brand's tier, ending as prices end."""
    low, high = kind.price
    place = min(max(brand.tier + rng.gauss(0, 0.18), 0.0), 1.0)
    euros = low * (high / low) ** place * (0.6 if audience == "kids" else 1)
    if euros >= 100:
        return int(round(euros / 10) * 1000 - 100)
    return int(euros) * 100 + (99 if brand.tier < 0.5 else 95 if brand.tier < 0.7 else 0 if euros > 20 else 50)


def _attributes(
    brand: Brand,
    audience: str | None,
    use: str | None,
    facets: dict[str, str],
    features: list[str],
    denied: list[str],
) -> dict[str, str]:
    """Extra columns of a row. A feature with a brand's own word appears under that word alone."""
    attributes = {"attr_audience": audience} if audience else {}
    attributes |= {f"attr_{facet}": value for facet, value in facets.items()}
    if use:
        attributes["attr_use"] = use.replace("_", " ")
    terms = [brand.terms[feature] for feature in features if feature in brand.terms]
    if terms:
        attributes["attr_technology"] = ", ".join(terms)
    attributes |= {f"attr_{feature}": "yes" for feature in features if feature not in brand.terms}
    return attributes | {f"attr_{feature}": "no" for feature in denied}


def _variants(
    rng: Random, voc: Vocabulary, line: ProductLine
) -> Iterator[tuple[str | None, str | None, str | None, int]]:
    """Colour, its family, size and price of each variant."""
    sizes = _sizes(voc, line)
    span = 1 + int(4 * rng.random() ** 1.5) if sizes else 1
    start = int(rng.random() * max(1, len(sizes) - span + 1))
    chosen = range(start, min(start + span, len(sizes)))
    for color, family in _colors(rng, voc, line):
        if not sizes:
            yield color, family, None, line.price
        for index in chosen:
            # Bigger things cost more; bigger clothes and shoes do not.
            price = line.price if line.kind.size_run else int(line.price * (0.7 + 0.25 * index)) // 100 * 100 + 99
            yield color, family, sizes[index], price


def _sizes(voc: Vocabulary, line: ProductLine) -> list[str]:
    if line.kind.size_run:
        return voc.size_runs[line.kind.size_run][line.audience or "unisex"]
    return line.kind.sizes


def _colors(rng: Random, voc: Vocabulary, line: ProductLine) -> list[tuple[str | None, str | None]]:
    palette = voc.palettes[line.kind.palette] if line.kind.palette else []
    if not palette or (line.material and not voc.bare.isdisjoint(voc.material_words(line.material))):
        return [(None, None)]
    start, count = int(rng.random() * len(palette)), 1 + int(3 * rng.random() ** 1.7)
    families = [palette[(start + step) % len(palette)] for step in range(min(count, len(palette)))]
    if not line.brand.fancy:
        return [(family.capitalize(), family) for family in families]
    shades = [voc.colors[family] for family in families]
    return [(shade[int(rng.random() * len(shade))], family) for shade, family in zip(shades, families, strict=True)]
