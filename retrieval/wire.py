"""Answers as messages. With `query.py` and `status.py`, the only place of the service that knows the wire."""

from collections.abc import Sequence

from core.product import MICROS
from retrieval.answer import Answer, Hit
from retrieval.loaded import LoadedRelease
from retrieval.query import Query
from retrieval.status import duration
from tandem.v1 import search_pb2

_NANOS_PER_MICRO = 1000

_AVAILABILITY = {
    "in_stock": search_pb2.AVAILABILITY_IN_STOCK,
    "out_of_stock": search_pb2.AVAILABILITY_OUT_OF_STOCK,
    "preorder": search_pb2.AVAILABILITY_PREORDER,
    "backorder": search_pb2.AVAILABILITY_BACKORDER,
}
# Where a message field is not the column of the same name.
_COLUMNS = {"price": ("price_micros", "currency")}


def response(
    request: search_pb2.SearchRequest, query: Query, answer: Answer, release: LoadedRelease, request_id: str
) -> search_pb2.SearchResponse:
    """The answer as a message, with the display fields that the query asked for."""
    columns = [column for field in query.fields for column in _COLUMNS.get(field, (field,))]
    message = search_pb2.SearchResponse(
        request_id=request_id,
        release_id=release.release_id,
        catalog=release.manifest.catalog,
        searched_query=answer.searched,
        stages=[
            search_pb2.Stage(
                name=stage.name,
                duration=duration(stage.seconds),
                candidates_in=stage.candidates_in,
                candidates_out=stage.candidates_out,
            )
            for stage in answer.stages
        ],
        degraded=[
            search_pb2.Degradation(reason=f"DEGRADATION_REASON_{entry.reason}", detail=entry.detail)
            for entry in answer.degraded
        ],
    )
    for rank, hit in enumerate(answer.hits, 1):
        _add(message, hit, rank, release, query.fields, columns)
    if request.HasField("experiment"):
        message.experiment.CopyFrom(request.experiment)
    return message


def money(micros: int, currency: str) -> search_pb2.Money:
    """An amount of millionths as whole units and billionths. Amounts are never negative: cleaning sees to it."""
    units, rest = divmod(micros, MICROS)
    return search_pb2.Money(currency_code=currency, units=units, nanos=rest * _NANOS_PER_MICRO)


def _add(
    message: search_pb2.SearchResponse,
    hit: Hit,
    rank: int,
    release: LoadedRelease,
    fields: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Built in place: messages made apart and put in are copied, at twice the time."""
    added = message.hits.add(product_id=release.columns.id(hit.row), rank=rank, score=hit.score)
    scores, reasons = added.stage_scores, added.reasons
    for said in hit.said:
        scores.add(stage=said.stage, score=said.score, rank=said.rank)
    for reason in hit.reasons:
        reasons.add(feature=reason.feature, value=reason.value, contribution=reason.contribution)
    _fill(added.product, release.columns.row(hit.row, columns), fields)


def _fill(product: search_pb2.Product, row: dict, fields: Sequence[str]) -> None:
    product.SetInParent()  # it is there, even where a product has none of the fields
    for name in fields:
        if name == "price":
            if row["price_micros"] is not None:
                product.price.CopyFrom(money(row["price_micros"], row["currency"] or ""))
        elif name == "availability":
            product.availability = _AVAILABILITY.get(row[name], search_pb2.AVAILABILITY_UNSPECIFIED)
        elif name == "attributes":
            product.attributes.update(row[name] or ())
        elif row[name] is not None:
            setattr(product, name, row[name])
