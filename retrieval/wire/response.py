"""Answers as messages. With `request.py` and `status.py`, the only code that depends on the wire format."""

from collections.abc import Sequence

from catalog.view import CatalogView
from ranker.features import LABELS
from ranker.recommendation_features import RECOMMENDATION_LABELS
from retrieval.pipeline.result import RESPONSE_TRUNCATED, RULE_LABELS, Hit, SearchResult
from retrieval.recommend.weights import SOURCE_LABELS
from retrieval.release.loaded import LoadedRelease
from retrieval.wire.display import BOUNDS, LONG_FIELDS, Display
from retrieval.wire.listing import ListRequest
from retrieval.wire.page import MOST_FACET_BYTES, Answer, add_listing
from retrieval.wire.request import Query
from retrieval.wire.status import duration
from retrieval.wire.turns import Turns
from retrieval.wire.understanding import add_understanding
from tandem.v1 import search_pb2

# Clients take messages of up to 4 MiB unless they are configured otherwise.
MAX_ANSWER_BYTES = 1 << 20
_LABELS = LABELS | RULE_LABELS | RECOMMENDATION_LABELS | SOURCE_LABELS
_FRAME = 256  # bytes, more than enough for the lengths of a hit and its product, and for saying what was cut


async def response(
    request: search_pb2.SearchRequest, query: Query, answer: SearchResult, release: LoadedRelease, request_id: str
) -> search_pb2.SearchResponse:
    """The answer as a message of 1 MiB at most, with the display fields that the query names.

    A large one is built in turns with whatever else the event loop has to do.
    """
    message = search_pb2.SearchResponse(searched_query=answer.searched_query, redirect=answer.redirect)
    add_understanding(message, answer.understanding, release.manifest.currency)
    if answer.person is not None:
        person = answer.person
        message.personalisation.strength, message.personalisation.reason = person.strength, person.reason
        message.personalisation.products, message.personalisation.unknown_products = person.products, person.unknown
    await fill_answer(message, request, query, answer, release, request_id)
    return message


async def fill_answer(
    message: Answer,
    request: ListRequest,
    query: Query,
    answer: SearchResult,
    release: LoadedRelease,
    request_id: str,
) -> None:
    """Adds to a message what every list has; what is there already counts against the bytes that it may take."""
    message.request_id, message.release_id = request_id, release.release_id
    message.catalog, message.overlay_revision = release.manifest.catalog, answer.view.revision
    for stage in answer.stages:
        message.stages.add(
            name=stage.name,
            duration=duration(stage.seconds),
            candidates_in=stage.candidates_in,
            candidates_out=stage.candidates_out,
        )
    for entry in answer.degraded:
        message.degraded.add(reason=f"DEGRADATION_REASON_{entry.reason}", detail=entry.detail)
    for id, action, detail in answer.rules:
        message.rules.add(rule_id=id, action=action, detail=detail)
    if cut := add_listing(message, answer):
        detail = f"{cut} values of facets are left out: facets take {MOST_FACET_BYTES >> 10} KiB at most"
        message.degraded.add(reason=f"DEGRADATION_REASON_{RESPONSE_TRUNCATED}", detail=detail)
    if request.HasField("experiment"):
        message.experiment.CopyFrom(request.experiment)
    turns = Turns()
    added: list[tuple[search_pb2.Hit, Hit]] = []
    for rank, hit in enumerate(answer.hits, answer.offset + 1):
        _add(message.hits.add(), hit, rank, answer.view, added)
        await turns.take()
    shown = Display(answer.view, MAX_ANSWER_BYTES - message.ByteSize() - _FRAME * (len(added) + 1))
    await _show(added, query.fields, shown, turns)
    if shown.cut:
        detail = f"{len(shown.cut)} of {len(added)} products show less than was asked for: {BOUNDS}"
        message.degraded.add(reason=f"DEGRADATION_REASON_{RESPONSE_TRUNCATED}", detail=detail)


async def _show(
    added: Sequence[tuple[search_pb2.Hit, Hit]], fields: Sequence[str], shown: Display, turns: Turns
) -> None:
    """All hits get their short fields before the first gets its long ones."""
    short = [name for name in fields if name not in LONG_FIELDS]
    long = [name for name in fields if name in LONG_FIELDS]
    for part in filter(None, (short, long)):
        fill = shown.filler(part)
        for message, hit in added:
            fill(message.product, hit.row)
            await turns.take()


def _add(
    message: search_pb2.Hit, hit: Hit, rank: int, view: CatalogView, added: list[tuple[search_pb2.Hit, Hit]]
) -> None:
    """Built in place: messages made apart and put in are copied, at twice the time. `added` gets the hit, and then
    those of its group."""
    message.product_id, message.rank, message.score = view.id(hit.row), rank, hit.score
    added.append((message, hit))
    scores, reasons = message.stage_scores, message.reasons
    for one in hit.stage_scores:
        scores.add(stage=one.stage, score=one.score, rank=one.rank)
    for reason in hit.contributions:
        label, value = _LABELS.get(reason.feature, reason.feature), reason.value
        reasons.add(feature=label, feature_id=reason.feature, value=value, contribution=reason.contribution)
    for word in hit.words:
        message.words.add(word=word.word, from_query=word.from_query, contribution=word.contribution)
    message.product.SetInParent()  # it is there, even where a product has none of the fields
    message.moves.extend(hit.moves)
    if hit.group is not None:
        message.group.value, message.group.size = hit.group.value, hit.group.size
        for place, variant in enumerate(hit.group.variants, 1):
            _add(message.group.variants.add(), variant, place, view, added)
