"""The vocabularies of the sample shops, read once each: every world has a folder of data files beside this module."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

_SHARED = ("brands", "common", "features", "needs", "templates", "uses", "world")
_ZIPF = 0.75

# What shops there are to choose from: other product families, and other ways of asking for them.
WORLDS = ("home", "trade", "market")
HOME = WORLDS[0]


@dataclass(frozen=True, slots=True)
class World:
    """A shop's own facts: `catalog` has its name, language, country and currency; codes count from `first_gtin`.

    With `part_numbers`, each product has a part number.
    """

    key: str
    catalog: dict[str, str]
    first_gtin: int
    part_numbers: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a product. In `phrases` and `without`, {} stands for the type; splits alternate between them."""

    title: str
    sentences: list[str]
    phrases: list[str]
    without: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UseCase:
    """The use of a product; `phrases` follow the type, and splits alternate between them."""

    sentences: list[str]
    phrases: list[str]


@dataclass(frozen=True, slots=True)
class Brand:
    """A maker: groups of types it makes, how it names and prices, its slogan, and its own words for features."""

    name: str
    groups: list[str]
    names: str
    style: str
    tier: float
    fancy: bool
    slogan: str | None = None
    terms: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProductType:
    """A type of product. `conflicts` maps a feature or use to the materials and facet values it never goes with."""

    key: str
    path: str
    nouns: list[str]
    words: list[str]
    makers: str
    price: list[float]
    popularity: int
    about: list[str]
    brands: tuple[Brand, ...] = ()
    slang: list[str] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)
    palette: str | None = None
    sizes: list[str] = field(default_factory=list)
    size_run: str | None = None
    audiences: list[str] = field(default_factory=list)
    facets: dict[str, list[str]] = field(default_factory=dict)
    headline: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    always: list[str] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    siblings: list[str] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    conflicts: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All the words of a shop. `weights` are cumulative shares of the types, in the order of `types`.

    `forms` has, for values that shoppers write otherwise than shops, the ways to write them; {} stands for the type.
    """

    world: World
    types: dict[str, ProductType]
    weights: tuple[float, ...]
    brands: dict[str, Brand]
    features: dict[str, Feature]
    uses: dict[str, UseCase]
    colors: dict[str, list[str]]
    palettes: dict[str, list[str]]
    materials: dict[str, list[str]]
    care: dict[str, str]
    size_runs: dict[str, dict[str, list[str]]]
    names: dict[str, list[str]]
    bare: frozenset[str]
    before: frozenset[str]
    after: dict[str, str]
    forms: dict[str, list[str]] = field(default_factory=dict)

    def material_words(self, material: str | None) -> list[str]:
        """The words under which shoppers ask for a material, itself included."""
        return [material, *self.materials[material]] if material else []


@cache
def vocabulary(world: str = HOME) -> Vocabulary:
    """The vocabulary of one of `WORLDS`, read from the package's data files."""
    common = tables("common", world)
    brands = {name: Brand(name=name, **table) for name, table in tables("brands", world).items()}
    types = sorted(_types(brands.values(), world), key=lambda kind: (-kind.popularity, kind.key))
    return Vocabulary(
        world=World(key=world, **tables("world", world)),
        types={kind.key: kind for kind in types},
        weights=_zipf(len(types)),
        brands=brands,
        features={key: Feature(**table) for key, table in tables("features", world).items()},
        uses={key: UseCase(**table) for key, table in tables("uses", world).items()},
        **common | {"bare": frozenset(common["bare"]), "before": frozenset(common["before"])},
    )


def tables(name: str, world: str = HOME) -> dict[str, Any]:
    """The tables of one data file."""
    return tomllib.loads((files(__package__) / "data" / world / f"{name}.toml").read_text(encoding="utf-8"))


def _types(brands: Iterable[Brand], world: str) -> list[ProductType]:
    makers = list(brands)
    types = []
    folder = files(__package__) / "data" / world
    for department in sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml")):
        name = department.removesuffix(".toml")
        for key, table in ({} if name in _SHARED else tables(name, world)).items():
            groups = set(table["makers"].split("+"))
            types.append(ProductType(key=key, brands=tuple(b for b in makers if groups & set(b.groups)), **table))
    return types


def _zipf(count: int) -> tuple[float, ...]:
    """Cumulative shares of ranks 1 to count under Zipf's law, share ~ rank ** -0.75."""
    shares = [rank**-_ZIPF for rank in range(1, count + 1)]
    total, running, out = sum(shares), 0.0, []
    for share in shares:
        running += share / total
        out.append(running)
    return tuple(out)
