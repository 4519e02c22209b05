"""The beginning of a query read and checked, and its completions as a message."""

from dataclasses import dataclass

from core.strings import fold_text
from retrieval.release.loaded import LoadedRelease
from retrieval.suggest.complete import Completions
from retrieval.wire.request import MAX_NAME, InvalidRequest, Violation
from tandem.v1 import search_pb2

MOST_PREFIX = 128
MOST_SUGGESTIONS, DEFAULT_SUGGESTIONS = 20, 8
_MOST_RAW = 4 * MOST_PREFIX  # with spaces and invisible characters, before any is looked at


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is typed so far, and how many completions are wanted."""

    text: str
    limit: int


def read_prefix(request: search_pb2.SuggestRequest) -> Prefix:
    """Reads a request. Raises InvalidRequest with all its violations at once."""
    violations = []
    # Longer ones are not folded: that takes time too.
    length = len(request.prefix) if len(request.prefix) > _MOST_RAW else len(fold_text(request.prefix))
    if length > MOST_PREFIX:
        violations.append(Violation("prefix", f"has {length} characters; send at most {MOST_PREFIX}"))
    if not 0 <= request.limit <= MOST_SUGGESTIONS:
        description = f"is {request.limit}; send 1 to {MOST_SUGGESTIONS}, or 0 for {DEFAULT_SUGGESTIONS}"
        violations.append(Violation("limit", description))
    if len(request.catalog) > MAX_NAME:
        violations.append(Violation("catalog", f"has {len(request.catalog)} characters; send at most {MAX_NAME}"))
    if violations:
        raise InvalidRequest(violations)
    return Prefix(request.prefix, request.limit or DEFAULT_SUGGESTIONS)


def suggestions(completions: Completions, release: LoadedRelease, request_id: str) -> search_pb2.SuggestResponse:
    """The completions as a message."""
    return search_pb2.SuggestResponse(
        request_id=request_id,
        release_id=release.release_id,
        catalog=release.manifest.catalog,
        suggestions=[
            search_pb2.Suggestion(text=one.text, kind=one.kind, count=one.count)  # type: ignore[arg-type]
            for one in completions.suggestions
        ],
        corrected_prefix=completions.corrected,
    )
