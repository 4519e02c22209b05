"""The product: its columns and the one text that both models read.

Field names follow the Google Merchant product data specification, but for `popularity`, which it lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

PRODUCT_TEXT_VERSION = 1
MICROS = 1_000_000

MOST_ATTRIBUTES = 200  # of one product: indexed, and shown
_ATTRIBUTE_LIMIT = 12
_DESCRIPTION_LIMIT = 320

AVAILABILITIES = ("in_stock", "out_of_stock", "preorder", "backorder")

TEXT_FIELDS = (
    "title",
    "description",
    "brand",
    "product_type",
    "availability",
    "color",
    "size",
    "material",
    "gtin",
    "item_group_id",
    "image_link",
    "link",
)

# Columns that formats of the table added, by the first format that has them; the others were always there.
ADDED_COLUMNS = {"popularity": 2}

# Row i of the catalog table is vector i of the index and row i of the ranker's tokens.
CATALOG_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("brand", pa.string()),
        pa.field("product_type", pa.string()),
        pa.field("price_micros", pa.int64()),
        pa.field("currency", pa.string()),
        pa.field("availability", pa.string()),
        pa.field("color", pa.string()),
        pa.field("size", pa.string()),
        pa.field("material", pa.string()),
        pa.field("gtin", pa.string()),
        pa.field("item_group_id", pa.string()),
        pa.field("image_link", pa.string()),
        pa.field("link", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("popularity", pa.float64()),
    ]
)


@dataclass(slots=True)
class Product:
    """One sellable item, cleaned. `price_micros` is the price in millionths of `currency` (ISO 4217).

    `popularity` is any number that is higher for what shoppers take more often, such as units sold.
    """

    id: str
    title: str
    description: str | None = None
    brand: str | None = None
    product_type: str | None = None
    price_micros: int | None = None
    currency: str | None = None
    availability: str | None = None
    color: str | None = None
    size: str | None = None
    material: str | None = None
    gtin: str | None = None
    item_group_id: str | None = None
    image_link: str | None = None
    link: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    popularity: float | None = None


def product_text(row: Mapping[str, object]) -> str:
    """The one string both models read for a product, from a row of `CATALOG_SCHEMA` as a mapping.

    The title comes first, since models cut at their maximum length; a brand, type or facet that the title
    already holds is not repeated. Change `PRODUCT_TEXT_VERSION` with any change of the result.
    """
    title = str(row["title"])
    parts = [title]
    written = title.casefold()
    for name in ("brand", "product_type", "color", "size", "material"):
        value = row.get(name)
        if value and str(value).casefold() not in written:
            parts.append(str(value))
            written += " " + str(value).casefold()
    attributes = row.get("attributes") or ()
    pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
    for name, value in list(pairs)[:_ATTRIBUTE_LIMIT]:  # type: ignore[call-overload]
        if value.casefold() not in written:
            parts.append(f"{name.replace('_', ' ')}: {value}")
    description = row.get("description")
    if description:
        parts.append(str(description)[:_DESCRIPTION_LIMIT])
    return ". ".join(parts)
