"""A request read and checked: every field at fault is named, and nothing is guessed."""

import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.filters import Filter
from core.plan import MAX_TOP_K
from core.strings import fold_text, quoted
from retrieval.listing.spec import PLAIN, ListingSpec
from retrieval.recommend.user import User
from retrieval.understanding.result import SOFT
from retrieval.wire.filters import try_filter
from retrieval.wire.listing import ListRequest, listing_violations, read_listing
from retrieval.wire.understanding import MODE_NAMES
from retrieval.wire.user import read_user, user_violations
from retrieval.wire.violations import InvalidRequest, Violation
from tandem.v1 import search_pb2

MAX_QUERY_CHARACTERS = 512
_MOST_RAW_CHARACTERS = 4 * MAX_QUERY_CHARACTERS  # with spaces and invisible characters, before any is looked at
_MOST_PATHS = 64
DEFAULT_TOP_K = 10
_MOST_EXPLAINED = 10  # hits whose words are explained
MAX_NAME = 128

PRODUCT_FIELDS = tuple(field.name for field in search_pb2.Product.DESCRIPTOR.fields)
_DEFAULT_FIELDS = tuple(name for name in PRODUCT_FIELDS if name not in ("description", "attributes"))


@dataclass(frozen=True, slots=True)
class Query:
    """A shopper's query, ready to be searched; without a text where the list is of recommendations. `language` and
    `country` are empty when not given.

    `verbatim`: it is searched as typed, without rewrites and corrections. `understanding` is a mode of
    `retrieval.understanding.result`.
    """

    text: str
    top_k: int = DEFAULT_TOP_K
    fields: tuple[str, ...] = _DEFAULT_FIELDS
    language: str = ""
    country: str = ""
    explain: bool = False
    explain_words: int = 0
    verbatim: bool = False
    filter: Filter | None = None
    understanding: str = SOFT
    listing: ListingSpec = PLAIN
    user: User | None = None


def read_query(request: search_pb2.SearchRequest) -> Query:
    """Reads a request. Raises InvalidRequest with all its violations at once."""
    # Longer ones are not folded: that takes time too.
    text = fold_text(request.query) if len(request.query) <= _MOST_RAW_CHARACTERS else request.query
    violations = [
        *_text_violations(text),
        *_explain_violations(request.explain_words),
        *_understanding_violations(request.understanding),
        *(user_violations(request.user, time.time()) if request.HasField("user") else ()),
    ]
    query = read_list_query(request, violations)
    return replace(
        query,
        text=text,
        explain_words=request.explain_words,
        verbatim=request.verbatim,
        understanding=MODE_NAMES[request.understanding],
        user=read_user(request.user) if request.HasField("user") else None,
    )


def read_list_query(request: ListRequest, violations: Sequence[Violation] = ()) -> Query:
    """Reads what searches and recommendations have in common. Raises InvalidRequest with all violations at once, those
    given first."""
    filter, filter_violations = try_filter(request.filter) if request.HasField("filter") else (None, [])
    violations = [
        *violations,
        *_top_k_violations(request.top_k),
        *_name_violations(request),
        *_mask_violations(request.product_mask.paths),
        *filter_violations,
        *listing_violations(request),
    ]
    if violations:
        raise InvalidRequest(violations)
    return Query(
        text="",
        top_k=request.top_k or DEFAULT_TOP_K,
        fields=_fields(request.product_mask.paths),
        language=request.language.lower(),
        country=request.country.upper(),
        explain=request.explain,
        filter=filter,
        listing=read_listing(request),
    )


def check_market(query: Query, language: str, country: str | None) -> None:
    """Raises InvalidRequest when the query is in another language or for another country than the catalog's."""
    violations = []
    if query.language and query.language.split("-")[0] != language.lower().split("-")[0]:
        violations.append(
            Violation("language", f"this catalog is in {language!r}; ask a catalog in {quoted(query.language)}")
        )
    if query.country and country and query.country != country.upper():
        violations.append(
            Violation("country", f"this catalog sells in {country!r}; ask a catalog for {quoted(query.country)}")
        )
    if violations:
        raise InvalidRequest(violations)


def _text_violations(text: str) -> list[Violation]:
    if not text:
        return [Violation("query", "is empty; send the shopper's words")]
    if len(text) > MAX_QUERY_CHARACTERS:
        return [Violation("query", f"has {len(text)} characters; send at most {MAX_QUERY_CHARACTERS}")]
    if not any(unicodedata.category(character)[0] in "LNS" for character in text):
        return [Violation("query", "has no letter, digit or symbol to search for")]
    return []


def _top_k_violations(top_k: int) -> list[Violation]:
    if 0 <= top_k <= MAX_TOP_K:
        return []
    return [Violation("top_k", f"is {top_k}; send 1 to {MAX_TOP_K}, or 0 for {DEFAULT_TOP_K}")]


def _understanding_violations(mode: int) -> list[Violation]:
    if mode in MODE_NAMES:
        return []
    return [Violation("understanding", f"is {mode}; send one of {', '.join(search_pb2.UnderstandingMode.keys())}")]


def _explain_violations(hits: int) -> list[Violation]:
    if 0 <= hits <= _MOST_EXPLAINED:
        return []
    return [Violation("explain_words", f"is {hits}; send 0 to {_MOST_EXPLAINED}")]


def _mask_violations(paths: Sequence[str]) -> list[Violation]:
    if len(paths) > _MOST_PATHS:
        return [Violation("product_mask.paths", f"has {len(paths)} paths; send at most {_MOST_PATHS}")]
    wrong = [i for i, path in enumerate(paths) if path != "*" and path not in PRODUCT_FIELDS]
    fields = f"; use {', '.join(PRODUCT_FIELDS)} or *"
    return [
        Violation(
            f"product_mask.paths[{i}]", f"{quoted(paths[i])} is no field of Product{fields if i == wrong[0] else ''}"
        )
        for i in wrong
    ]


def _name_violations(request: ListRequest) -> list[Violation]:
    names = {
        "catalog": request.catalog,
        "language": request.language,
        "country": request.country,
        "experiment.experiment_id": request.experiment.experiment_id,
        "experiment.variant_id": request.experiment.variant_id,
    }
    return [
        Violation(field, f"has {len(name)} characters; send at most {MAX_NAME}")
        for field, name in names.items()
        if len(name) > MAX_NAME
    ]


def _fields(paths: Sequence[str]) -> tuple[str, ...]:
    if not paths:
        return _DEFAULT_FIELDS
    return PRODUCT_FIELDS if "*" in paths else tuple(dict.fromkeys(paths))
