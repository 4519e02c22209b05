"""Merchandising rules as a file: what each applies to, and what it does to an answer.

    format = 1
    time_zone = "Europe/Dublin"

    [[rules]]
    id = "christmas-mugs"
    when = { phrases = ["mug"], starts = 2026-12-01T00:00:00, ends = 2026-12-26T00:00:00 }
    pin = ["p17", { product = "p4", place = 5 }]
    boost = { filter = 'brand = "Acme"', factor = 1.5 }

Conditions of `when` all have to hold; of its queries, phrases, words and patterns, one has to match. Rules stand in the
order of their weight: where two contradict each other, the first one is applied.
"""

from datetime import UTC, date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from core.digest import value_digest
from core.filter_text import parse_filter
from core.filters import InvalidFilter
from core.plan import MAX_TOP_K
from core.strings import fold_text, query_key, quoted

MOST_RULES, MOST_PATTERNS, MOST_UNCONDITIONAL = 20_000, 1_000, 100
MOST_PRODUCTS, MOST_PINS, MOST_TEXTS = 1_000, 100, 1_000
_LONGEST, _LONGEST_PATTERN, _LONGEST_FILTER, _LONGEST_ADDRESS, _LONGEST_ID = 200, 200, 2_000, 2_000, 1_024
_MOST_PATTERN_BYTES = 1 << 20  # of the program that a pattern becomes


def type_path(text: str) -> str:
    """A product type as rules compare it: 'Home>kitchen' and 'Home > Kitchen' are one."""
    return " > ".join(level for part in query_key(text).split(">") if (level := part.strip()))


def compile_pattern(pattern: str) -> Any:
    """A regular expression whose time grows linearly with the text. Raises ValueError with what is wrong."""
    import re2

    options = re2.Options()
    options.log_errors, options.case_sensitive, options.max_mem = False, False, _MOST_PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"the pattern {quoted(pattern)} is none of RE2's ({reason}): neither lookaround nor backreferences"
        ) from None


def _text(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text)} characters; give at most {_LONGEST}")
    folded = fold_text(text)
    if not any(character.isalnum() for character in folded):
        raise ValueError(f"{quoted(text)} has no letter or digit")
    return folded


def _pattern(pattern: str) -> str:
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"the pattern has {len(pattern)} characters; give at most {_LONGEST_PATTERN}")
    if compile_pattern(pattern).search("") is not None:
        raise ValueError(f"the pattern {quoted(pattern)} matches an empty query, and so every one")
    return pattern


def _type(text: str) -> str:
    if not type_path(text):
        raise ValueError(f"{quoted(text)} is no product type, such as 'Home > Kitchen'")
    return text


def _filter(text: str) -> str:
    if len(text) > _LONGEST_FILTER:
        raise ValueError(f"has {len(text)} characters; give at most {_LONGEST_FILTER:,}")
    try:
        parse_filter(text)
    except InvalidFilter as error:
        raise ValueError(error.description) from None
    return text


def _address(text: str) -> str:
    if len(text) > _LONGEST_ADDRESS:
        raise ValueError(f"has {len(text)} characters; give at most {_LONGEST_ADDRESS:,}")
    parts = urlsplit(text)
    is_path = text.startswith("/") and not text.startswith("//")
    whole = parts.scheme in ("http", "https") and bool(parts.netloc)
    if not (is_path or whole) or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(f"{quoted(text)} is no address; give one such as 'https://shop.example/sale' or '/sale'")
    return text


def _product(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_ID:
        raise ValueError(f"{quoted(text)} is no product id of 1 to {_LONGEST_ID:,} characters")
    return text


def _moment(value: Any) -> Any:
    """Numbers would be read as seconds since 1970."""
    if not isinstance(value, str | date):
        raise ValueError(f"{quoted(str(value))} is no time, such as 2026-12-01T00:00:00+01:00")
    return value


def _in_utc(moment: datetime, info: ValidationInfo) -> datetime:
    if moment.tzinfo is None:
        zone = (info.context or {}).get("zone")
        if zone is None:
            raise ValueError("has no time zone; write 2026-12-01T00:00:00+01:00, or give the file a `time_zone`")
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Text = Annotated[str, AfterValidator(_text)]
ProductId = Annotated[str, AfterValidator(_product)]
FilterText = Annotated[str, AfterValidator(_filter)]
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_in_utc)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_TEXTS), AfterValidator(_once)]
Products = Annotated[tuple[ProductId, ...], Field(min_length=1, max_length=MOST_PRODUCTS), AfterValidator(_once)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class When(_Frozen):
    """What a rule applies to; without conditions, every request."""

    queries: Texts | None = Field(default=None, description="Whole queries, whatever their case and spaces.")
    phrases: Texts | None = Field(default=None, description="Words side by side in the query, as search sees them.")
    words: Texts | None = Field(default=None, description="Words in any order in the query, as search sees them.")
    patterns: (
        Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1, max_length=100)] | None
    ) = Field(default=None, description="Regular expressions (RE2), searched in the query, whatever its case.")
    product_types: (
        Annotated[tuple[Annotated[str, AfterValidator(_type)], ...], Field(min_length=1, max_length=MOST_TEXTS)] | None
    ) = Field(default=None, description="Product types, with all below them, to which the request's filter is bound.")
    languages: (
        Annotated[
            tuple[Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")], ...],
            Field(min_length=1, max_length=100),
        ]
        | None
    ) = Field(default=None, description="Languages of the request (BCP 47).")
    starts: Moment | None = Field(default=None, description="The first moment.")
    ends: Moment | None = Field(default=None, description="The first moment no more.")

    @model_validator(mode="after")
    def _ordered(self) -> "When":
        if self.starts and self.ends and self.ends <= self.starts:
            raise ValueError("ends before it starts")
        return self

    @property
    def has_query(self) -> bool:
        """Whether the query matters."""
        return any(value is not None for value in (self.queries, self.phrases, self.words, self.patterns))


class Pin(_Frozen):
    """Puts a product at a place, from 1."""

    product: ProductId
    place: int = Field(ge=1, le=MAX_TOP_K)


class Bury(_Frozen):
    """Puts products after all others."""

    products: Products | None = None
    filter: FilterText | None = None

    @model_validator(mode="after")
    def _something(self) -> "Bury":
        if self.products is None and self.filter is None:
            raise ValueError("needs `products` or a `filter`")
        return self


class Boost(Bury):
    """Raises the standing of products, or lowers it with a factor below 1."""

    factor: float = Field(ge=0.01, le=100)


def _pins(value: Any) -> Any:
    """A list of ids stands for the first places."""
    if not isinstance(value, list | tuple):
        return value
    return [{"product": pin, "place": n} if isinstance(pin, str) else pin for n, pin in enumerate(value, 1)]


class Rule(_Frozen):
    """One rule. See the module."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Names the rule in answers.")
    description: str = Field(default="", max_length=1_000)
    enabled: bool = True
    when: When = When()
    pin: Annotated[tuple[Pin, ...], BeforeValidator(_pins), Field(max_length=MOST_PINS)] = ()
    bury: Bury | None = None
    boost: Boost | None = None
    filter: FilterText | None = None
    rewrite: Text | None = None
    redirect: Annotated[str, AfterValidator(_address)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> "Rule":
        if not any((self.pin, self.bury, self.boost, self.filter, self.rewrite, self.redirect)):
            raise ValueError("does nothing; give it pin, bury, boost, filter, rewrite or redirect")
        for name in ("product", "place"):
            values = [getattr(pin, name) for pin in self.pin]
            if repeated := next((value for value in values if values.count(value) > 1), None):
                raise ValueError(f"pin: has the {name} {quoted(str(repeated))} twice")
        if self.rewrite and not self.when.has_query:
            raise ValueError("rewrite: needs queries, phrases, words or patterns in `when`")
        if self.rewrite and self.when.product_types:
            raise ValueError("rewrite: cannot depend on product_types, which only the effects on the list do")
        if self.redirect and not (self.when.has_query or self.when.product_types):
            raise ValueError("redirect: needs a query or product_types in `when`, else it would redirect every request")
        return self

    @property
    def products(self) -> tuple[str, ...]:
        """The products that it names."""
        named = [(self.bury.products or ()) if self.bury else (), (self.boost.products or ()) if self.boost else ()]
        return _once((*(pin.product for pin in self.pin), *named[0], *named[1]))

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """The filters that it has, each with the name of its field."""
        texts = {
            "filter": self.filter,
            "bury.filter": self.bury and self.bury.filter,
            "boost.filter": self.boost and self.boost.filter,
        }
        return tuple((name, text) for name, text in texts.items() if text)


def _zone(name: str) -> str:
    zone(name)
    return name


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{quoted(name)} is no time zone, such as 'Europe/Dublin'") from None


class RulesFile(_Frozen):
    """A whole file of rules, in the order of their weight. `time_zone` is that of times without one."""

    format: Literal[1] = 1
    time_zone: Annotated[str, AfterValidator(_zone)] | None = None
    rules: Annotated[tuple[Rule, ...], Field(max_length=MOST_RULES)] = ()

    @model_validator(mode="after")
    def _bounded(self) -> "RulesFile":
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) < len(ids):
            seen: set[str] = set()
            repeated = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise ValueError(f"the id {quoted(repeated)} is there twice; give each rule its own")
        if (patterns := sum(len(rule.when.patterns or ()) for rule in self.rules)) > MOST_PATTERNS:
            raise ValueError(f"has {patterns:,} patterns; give at most {MOST_PATTERNS:,}, and phrases besides")
        everywhere = sum(not (rule.when.has_query or rule.when.product_types) for rule in self.rules)
        if everywhere > MOST_UNCONDITIONAL:
            raise ValueError(
                f"has {everywhere:,} rules without a condition on query or product type; give at most "
                f"{MOST_UNCONDITIONAL}"
            )
        return self

    @cached_property
    def digest(self) -> str:
        """A SHA-256 of what the rules do, whatever the file's layout."""
        return value_digest([rule.model_dump(mode="json", exclude_none=True) for rule in self.rules])
