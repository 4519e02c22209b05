"""The mapping: which column of a feed fills which field of a product.

[catalog]
name = "shop"                                       # also language, country, currency, encoding
language = "tr"                                     # tells old encodings apart: UTF-8 needs none of this
encoding = "cp1254"                                 # only where it is guessed wrongly; any codec of Python
[fields]
id = "sku"                                          # a column; "offer.price" reaches into an object
title = { columns = ["name", "colour"], join = " " }
price = { column = "cents", scale = 0.01 }          # decimal = "," where "1.234" means 1234
currency = { constant = "EUR" }
version = "revision"                                # whole numbers; a change with a newer one wins over the feed
[attributes]
include = ["attr_*"]                                # in the order of importance
exclude = ["attr_internal_*"]
strip_prefix = "attr_"                              # and strip_suffix
[types]
"attributes.voltage" = "number"                     # else inferred; also string, strings, money, boolean, date
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from catalog.columns import ATTRIBUTES, Kind
from catalog.product import TEXT_FIELDS
from core.errors import FeedError
from core.strings import quoted
from indexer.cleaning.currency import CURRENCIES
from indexer.feed.encoding import codec_name
from indexer.feed.exports import Export

FIELDS = ("id", "price", "currency", "popularity", *TEXT_FIELDS)
VERSION = "version"  # only where a mapping names it: columns of that name may be of a product's own version
REQUIRED = ("id", "title")

# Names other systems use, most telling first. Case, spaces, dashes, underscores and a "g:" before them do not count.
_ALIASES = {
    "id": ("product_id", "item_id", "article_id", "offer_id", "sku"),
    "title": ("product_title", "product_name", "item_name", "name"),
    "description": ("product_description", "long_description", "body_html", "short_description"),
    "brand": ("brand_name", "manufacturer", "vendor", "supplier"),
    "product_type": ("product_category", "category", "categories", "google_product_category"),
    "price": ("current_price", "regular_price"),
    "currency": ("price_currency", "currency_code"),
    "availability": ("stock_status", "in_stock", "stock"),
    "color": ("colour", "color_name", "colour_name"),
    "size": ("size_name",),
    "material": ("fabric",),
    "gtin": ("ean", "ean13", "upc", "barcode"),
    "item_group_id": ("parent_id", "parent_sku", "group_id"),
    "image_link": ("image_url", "image"),
    "link": ("product_url", "url"),
    "popularity": ("popularity_score", "units_sold", "sales_count", "order_count"),
}
# Fields whose type may be declared beside the attributes, which begin with the prefix; and the types.
_TYPED_FIELDS = ("brand", "color", "size", "material")
_TYPES = tuple(kind.value for kind in Kind if kind is not Kind.text)
_MOST_TYPES = 256
_ATTRIBUTE_COLUMNS = ("attributes", "options", "additional_attributes")
# A mapping of every column of a wide feed is smaller.
_FILE_LIMIT = 1 << 20
# What takes such names apart needs the square of their parts in memory.
_DEEP_NAME = re.compile(r"""(?:["'\w-]+\s*\.\s*){32}""")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*", re.ASCII)
_NAMES_SHOWN = 20
_NAME_SHOWN = 60


def _refuse_unknown(keys: Iterable[str], known: Iterable[str]) -> None:
    for key in keys:
        if key not in known:
            raise ValueError(f"unknown name {key!r}{_hint(key, known)}")


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {_list_names(names)}"


def _list_names(names: list[str]) -> str:
    """The first names in one line, whatever they hold."""
    shown = ["".join(c if c.isprintable() else " " for c in name[:_NAME_SHOWN]) for name in names[:_NAMES_SHOWN]]
    return ", ".join(shown + ["..."] * (len(names) > _NAMES_SHOWN)) or "none"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            _refuse_unknown(data, cls.model_fields)
        return data


def _as_tuple(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError(f"{code!r} is no ISO 4217 code")
    return code


def _language(tag: str) -> str:
    """A BCP 47 tag, also one written with underscores as in a locale."""
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError(f"{tag[:40]!r} is no language; give its ISO 639 code, such as en, de or pt-BR")
    return tag.replace("_", "-")


_Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class CatalogSettings(_Strict):
    """Whose products these are. Language by ISO 639, country by ISO 3166, currency by ISO 4217.

    `encoding` is that of the feed's text, where it is neither UTF-8 nor detected by the language's letters.
    """

    name: str = Field(default="default", description="Name of the catalog, as requests give it.")
    language: Annotated[str, AfterValidator(_language)] = Field(
        default="en", description="Language of the products, a BCP 47 tag such as `en` or `pt-BR`."
    )
    country: str | None = Field(default=None, description="Country of the shop, as ISO 3166 code such as `IE`.")
    currency: Annotated[str, AfterValidator(_currency)] | None = Field(
        default=None, description="Currency of prices that name none, as ISO 4217 code such as `EUR`."
    )
    encoding: Annotated[str, AfterValidator(codec_name)] | None = Field(
        default=None,
        description="Encoding of the feed, where it is not UTF-8 and is detected wrongly; any codec of Python.",
    )


class FieldSource(_Strict):
    """Where one field's values come from: columns joined, or a constant.

    `scale` multiplies a price; `decimal` is the sign before its decimals, where the feed leaves that open.
    """

    columns: _Names = Field(
        default=(), description="Columns whose values are joined, or `column` for one; a dot reaches into an object."
    )
    join: str = Field(default=" ", description="Text between joined values.")
    constant: str | None = Field(default=None, description="Value of all products, in place of columns.")
    scale: Decimal | None = Field(
        default=None, ge=Decimal("1E-12"), le=Decimal("1E+12"), description="Factor of a price, such as 0.01 for cents."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Decimal sign of a price, where the feed leaves it open."
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"columns": (data,)}
        if not isinstance(data, dict):
            raise ValueError('give a column\'s name, or a table such as { column = "name" }')
        _refuse_unknown(data, ("column", *cls.model_fields))
        if sum(key in data for key in ("column", "columns", "constant")) != 1:
            raise ValueError("give one of column, columns and constant")
        if not data.get("columns", True):
            raise ValueError("columns names none")
        rest = {key: value for key, value in data.items() if key != "column"}
        if "scale" in rest:
            rest["scale"] = str(rest["scale"])  # 0.01 as written, not as the nearest binary fraction
        return rest | ({"columns": (data["column"],)} if "column" in data else {})


class AttributeRules(_Strict):
    """Patterns (`*`, `?`) of columns gathered as attributes. Earlier patterns come first in a product's attributes."""

    include: _Names = Field(default=(), description="Patterns of columns to keep, the most important first.")
    exclude: _Names = Field(default=(), description="Patterns of columns to leave out.")
    strip_prefix: _Names = Field(default=(), description="Beginnings that are cut off a column's name.")
    strip_suffix: _Names = Field(default=(), description="Ends that are cut off a column's name.")

    def match(self, column: str) -> tuple[int, str] | None:
        """The number of the pattern that takes this column and the attribute's name, or None."""
        rank = next((i for i, pattern in enumerate(self.include) if fnmatchcase(column, pattern)), None)
        if rank is None or any(fnmatchcase(column, pattern) for pattern in self.exclude):
            return None
        prefix = next((p for p in self.strip_prefix if column.startswith(p) and column != p), "")
        name = column[len(prefix) :]
        suffix = next((s for s in self.strip_suffix if name.endswith(s) and name != s), "")
        return rank, re.sub("__+", "_", name.removesuffix(suffix)).strip("_") or column


class FeedMapping(_Strict):
    """A whole mapping. Without fields of its own it takes Google Merchant's names and their usual aliases."""

    catalog: CatalogSettings = CatalogSettings()
    fields: dict[str, FieldSource] = {}
    attributes: AttributeRules = AttributeRules()
    types: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _encoding_on_top(cls, data: Any) -> Any:
        """`encoding` may stand before the tables as well."""
        if isinstance(data, dict) and "encoding" in data and isinstance(data.get("catalog", {}), dict):
            rest = {key: value for key, value in data.items() if key != "encoding"}
            return rest | {"catalog": {"encoding": data["encoding"]} | data.get("catalog", {})}
        return data

    @model_validator(mode="after")
    def _check_fields(self) -> "FeedMapping":
        _refuse_unknown(self.fields, (*FIELDS, VERSION))
        lacking = [name for name in REQUIRED if self.fields and name not in self.fields]
        if lacking:
            raise ValueError(f"fields: no {lacking[0]}; every product needs one")
        if self.fields and self.fields["id"].constant is not None:
            raise ValueError("fields.id: a constant would make all rows one product; name a column")
        for name, source in self.fields.items():
            if name != "price" and (source.scale is not None or source.decimal is not None):
                raise ValueError(f"fields.{name}: scale and decimal are for price alone")
        return self

    @field_validator("types")
    @classmethod
    def _check_types(cls, types: dict[str, str]) -> dict[str, str]:
        if len(types) > _MOST_TYPES:
            raise ValueError(f"declares {len(types)} types; declare at most {_MOST_TYPES}")
        for name, kind in types.items():
            if not (name.startswith(ATTRIBUTES) and name != ATTRIBUTES) and name not in _TYPED_FIELDS:
                near = f'; write "{ATTRIBUTES}{name}" for an attribute' if name not in FIELDS else ""
                shown = quoted(name)
                raise ValueError(f"{shown} has its own type, or is no field{near}; there is {', '.join(_TYPED_FIELDS)}")
            if kind not in _TYPES:
                raise ValueError(f"{quoted(name)}: unknown type {quoted(kind)}{_hint(kind, _TYPES)}")
        return types

    @cached_property
    def sources(self) -> frozenset[str]:
        """The columns that fields read, by the whole name and by the object that a dotted name reaches into."""
        names = [column for source in self.fields.values() for column in source.columns]
        return frozenset(names) | {name.split(".")[0] for name in names}

    def check(self, columns: Collection[str]) -> None:
        """Raises FeedError for a column or pattern of the mapping that the feed does not have."""
        for field, source in self.fields.items():
            for column in source.columns:
                if column not in columns and column.split(".")[0] not in columns:
                    raise FeedError(f"fields.{field}: the feed has no column {column!r}{_hint(column, columns)}")
        for rank, pattern in enumerate(self.attributes.include):
            if not any(fnmatchcase(column, pattern) for column in columns):
                raise FeedError(f"attributes.include[{rank}]: {pattern!r} matches no column of the feed")


def load_mapping(path: Path) -> FeedMapping:
    """Reads a mapping file. Raises FeedError, in one line, for what it cannot mean."""
    try:
        return FeedMapping.model_validate(tomllib.loads(_read_toml(path)))
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise FeedError(f"{path}: is nested too deeply for a mapping") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FeedError(
            f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None
    except ValueError as error:  # TOML's own errors, bytes that are not UTF-8, numbers of thousands of digits
        raise FeedError(f"{path}: not TOML: {str(error).splitlines()[0]}") from None


def _read_toml(path: Path) -> str:
    """The file's text. Raises FeedError for what no mapping is, before it costs time or memory."""
    if path.exists() and not path.is_file():
        raise FeedError(f"{path}: cannot be read: it is no file")
    if path.stat().st_size > _FILE_LIMIT:
        raise FeedError(f"{path}: has over {_FILE_LIMIT:,} bytes, more than a mapping has")
    text = path.read_text(encoding="utf-8-sig")
    if _DEEP_NAME.search(text):
        raise FeedError(f"{path}: is nested too deeply for a mapping")
    return text


def default_mapping(
    columns: Iterable[str],
    catalog: CatalogSettings | None = None,
    attributes: AttributeRules | None = None,
    export: type[Export] | None = None,
) -> FeedMapping:
    """Fields by a shop system's columns, or by Google Merchant's names or their usual aliases, of those there are.

    A field without a column keeps its own name, for feeds whose later rows have keys that the first do not. Without
    patterns in `attributes`, a column of that name gives them. Raises FeedError when nothing looks like an id or a
    title.
    """
    columns = list(columns)
    by_name = {_normal(column): column for column in reversed(columns)}
    fields = {}
    for name in FIELDS:
        if export and (own := _export_columns(export, name, columns)):
            fields[name] = FieldSource(columns=own)
            continue
        column = next((by_name[_normal(n)] for n in (name, *_ALIASES.get(name, ())) if _normal(n) in by_name), None)
        if column is None and name in REQUIRED:
            raise FeedError(f"no column looks like the {name}: write a mapping; the columns are {_list_names(columns)}")
        fields[name] = FieldSource(columns=(column or name,))
    rules = attributes or AttributeRules()
    listed = next((name for name in _ATTRIBUTE_COLUMNS if name in columns), None)
    if not rules.include and listed and (export or listed == _ATTRIBUTE_COLUMNS[0]):
        rules = rules.model_copy(update={"include": (listed,)})
    return FeedMapping.model_construct(catalog=catalog or CatalogSettings(), fields=fields, attributes=rules)


def _export_columns(export: type[Export], field: str, columns: list[str]) -> tuple[str, ...]:
    """An export's columns for a field: the first there is, or all members of an object."""
    there = [name for name in export.fields.get(field, ()) if name.split(".")[0] in columns]
    return tuple(name for name in there if "." in name) if there and "." in there[0] else tuple(there[:1])


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold().removeprefix("g:"))
