"""Exports of shop systems, whose rows are more and less than products: Shopify, WooCommerce and Magento."""

import re
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import ClassVar

from indexer.feed.batch import Batch, Row

# How many parents of variants are remembered; they come shortly before their variants.
_PARENTS = 10_000
_SHOPIFY_OWN = re.compile(r"Variant |Option\d+ (Value|Linked)|Image (Position|Alt)|Cost per item|.* / ")
_ADDITIONAL = re.compile(r",(?=[a-z][a-z0-9_]*=)")


class Export(ABC):
    """A system's export: its columns of each field, the columns that it adds, and what it reads of the feed's rows.

    `skipped` counts rows that are no products by their kind, since the last batch.
    """

    name: ClassVar[str]
    added: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[dict[str, tuple[str, ...]]]

    def __init__(self, language: str | None = None) -> None:
        """`language` (BCP 47) is the one to read texts in, where an export has several."""
        self.skipped: Counter[str] = Counter()
        self._language = language

    @staticmethod
    @abstractmethod
    def matches(columns: Collection[str]) -> bool:
        """Whether these are the columns of such an export."""

    @abstractmethod
    def read(self, number: int, row: Row) -> Iterator[tuple[int, Row]]:
        """The products that are complete once this row was read."""

    def finish(self) -> Iterator[tuple[int, Row]]:
        """The products still held back at the end."""
        return iter(())

    def adapt(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Batches of products alone; each counts the rows that were skipped in it."""
        for batch in batches:
            products = Batch(broken=batch.broken)
            for number, row in zip(batch.numbers, batch.rows, strict=True):
                for product in self.read(number, row):
                    products.add(*product)
            products.skipped, self.skipped = self.skipped, Counter()
            yield products
        last = Batch()
        for product in self.finish():
            last.add(*product)
        if len(last):
            yield last


class Shopify(Export):
    """A product's first row has its texts, the next ones its other variants, or nothing but pictures."""

    name = "Shopify"
    added = ("options", "stock")
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("Variant SKU", "Handle"),
        "title": ("Title",),
        "description": ("Body (HTML)", "Body HTML"),
        "brand": ("Vendor",),
        "product_type": ("Type", "Custom Product Type", "Product Category"),
        "price": ("Variant Price",),
        "availability": ("stock",),
        "color": ("options.color", "options.colour"),
        "size": ("options.size",),
        "material": ("options.material",),
        "gtin": ("Variant Barcode",),
        "item_group_id": ("Handle",),
        "image_link": ("Image Src",),
    }

    def __init__(self, language: str | None = None) -> None:
        super().__init__(language)
        self._parent: Row = {}

    @staticmethod
    def matches(columns: Collection[str]) -> bool:
        """Whether these are the columns of such an export."""
        variants = ("Variant SKU", "Variant Price", "Option1 Value")
        return {"Handle", "Title"} <= set(columns) and any(name in columns for name in variants)

    def read(self, number: int, row: Row) -> Iterator[tuple[int, Row]]:
        """The row with its product's values, unless it is a picture's."""
        handle = row.get("Handle")
        if not handle or handle != self._parent.get("Handle"):
            self._parent = dict(row)
        elif not any(row.get(name) for name in ("Option1 Value", "Variant SKU", "Variant Price")):
            self.skipped["image_row"] += 1
            return
        else:
            row["Image Src"] = ""  # any picture of the product may stand beside a variant
            _fill(row, self._parent, lambda name: not _SHOPIFY_OWN.match(name))
        if row.get("Variant Image"):
            row["Image Src"] = row["Variant Image"]
        row["options"] = self._options(row)
        row["stock"] = _shopify_stock(row)
        if "Variant SKU" in row and not row["Variant SKU"]:
            row["Variant SKU"] = "/".join(map(str, filter(None, [handle, *row["options"].values()])))
        yield number, row

    def _options(self, row: Row) -> dict[str, str]:
        options = {}
        for place in (1, 2, 3):
            name, value = row.get(f"Option{place} Name"), row.get(f"Option{place} Value")
            if value == "Default Title":
                row[f"Option{place} Value"] = ""
            elif name and value:
                options[str(name).casefold()] = value
        return options


class WooCommerce(Export):
    """Variations name their parent, which has the description, the categories and the pictures."""

    name = "WooCommerce"
    added = ("options", "effective price", "first image")
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("ID", "SKU"),
        "title": ("Name",),
        "description": ("Description", "Short description"),
        "brand": ("Brands", "Brand"),
        "product_type": ("Categories",),
        "price": ("effective price",),
        "availability": ("In stock?",),
        "color": ("options.color", "options.colour"),
        "size": ("options.size",),
        "material": ("options.material",),
        "gtin": ("GTIN, UPC, EAN, or ISBN",),
        "item_group_id": ("Parent",),
        "image_link": ("first image",),
    }
    _OWN = ("ID", "SKU", "Type", "Parent", "Regular price", "Sale price", "Stock", "In stock?", "Position")

    def __init__(self, language: str | None = None) -> None:
        super().__init__(language)
        self._parents: OrderedDict[str, Row] = OrderedDict()

    @staticmethod
    def matches(columns: Collection[str]) -> bool:
        """Whether these are the columns of such an export."""
        needed = {"Type", "SKU", "Name", "Parent"}
        return needed <= set(columns) and any(name in columns for name in ("In stock?", "Regular price"))

    def read(self, number: int, row: Row) -> Iterator[tuple[int, Row]]:
        """The row, a variation with its parent's values."""
        if "variation" in str(row.get("Type")):
            _fill(row, self._parents.get(str(row.get("Parent")), {}), lambda name: name not in self._OWN)
        else:
            for key in (row.get("SKU"), f"id:{row.get('ID')}"):
                if key:
                    self._parents[str(key)] = dict(row)
            while len(self._parents) > _PARENTS:
                self._parents.popitem(last=False)
        pairs = ((row.get(f"Attribute {n} name"), row.get(f"Attribute {n} value(s)")) for n in range(1, 20))
        row["options"] = {str(name).casefold(): value for name, value in pairs if name and value}
        dated = row.get("Date sale price starts") or row.get("Date sale price ends")
        row["effective price"] = (not dated and row.get("Sale price")) or row.get("Regular price")
        row["first image"] = str(row.get("Images") or "").split(",")[0].strip()
        yield number, row


class Magento(Export):
    """Rows of other store views follow a product's own and translate some of it; attributes stand in one cell."""

    name = "Magento"
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("sku",),
        "title": ("name",),
        "description": ("description", "short_description"),
        "brand": ("manufacturer", "brand", "additional_attributes.manufacturer", "additional_attributes.brand"),
        "product_type": ("categories", "_category"),
        "price": ("price",),
        "availability": ("is_in_stock", "qty"),
        "color": ("color", "additional_attributes.color"),
        "size": ("size", "additional_attributes.size"),
        "material": ("material", "additional_attributes.material"),
        "gtin": ("gtin", "ean", "additional_attributes.gtin", "additional_attributes.ean"),
    }

    def __init__(self, language: str | None = None) -> None:
        super().__init__(language)
        self._held: tuple[int, Row] | None = None

    @staticmethod
    def matches(columns: Collection[str]) -> bool:
        """Whether these are the columns of such an export."""
        return "sku" in columns and ("store_view_code" in columns or {"_store", "_attribute_set"} <= set(columns))

    def read(self, number: int, row: Row) -> Iterator[tuple[int, Row]]:
        """The product before this row, once it is another's."""
        sku, store = row.get("sku"), row.get("store_view_code") or row.get("_store")
        held = self._held
        if held and (not sku or (store and sku == held[1].get("sku"))):
            self.skipped["store_view" if store else "continuation_row"] += 1
            if store and self._language and re.match(rf"{re.escape(self._language[:2])}(?![a-z])", str(store), re.I):
                held[1].update({name: value for name, value in row.items() if value not in (None, "")})
            return
        yield from self.finish()
        self._held = (number, row)

    def finish(self) -> Iterator[tuple[int, Row]]:
        """The last product."""
        if self._held:
            number, row = self._held
            if isinstance(packed := row.get("additional_attributes"), str):
                pairs = (pair.partition("=") for pair in _ADDITIONAL.split(packed))
                row["additional_attributes"] = {name.strip(' "'): value.strip('"') for name, _, value in pairs if value}
            yield number, row
        self._held = None


def detect_export(columns: Collection[str]) -> type[Export] | None:
    """The system that exports such columns, or None."""
    return next((export for export in (Shopify, WooCommerce, Magento) if export.matches(columns)), None)


def _fill(row: Row, parent: Row, shared: Callable[[str], bool]) -> None:
    for name, value in parent.items():
        if value not in (None, "") and row.get(name) in (None, "") and shared(name):
            row[name] = value


def _shopify_stock(row: Row) -> str:
    """Availability of a variant: without a tracker it is always to be had."""
    quantity = row.get("Variant Inventory Qty")
    if quantity in (None, ""):
        return ""
    if "Variant Inventory Tracker" in row and not row["Variant Inventory Tracker"]:
        return "in stock"
    sold_out = str(quantity).strip().startswith("-") or str(quantity).strip(" 0.") == ""
    return "backorder" if sold_out and row.get("Variant Inventory Policy") == "continue" else str(quantity)
