"""Whatever a client sends that cannot be answered, the status it gets is one that its library takes."""

import base64
import urllib.parse

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from retrieval.wire.request import check_market, read_query
from retrieval.wire.status import bad_request, brief, status_metadata
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import search_pb2

_LETTERS = st.characters(exclude_categories=["Cs"])
_ANY = st.text(_LETTERS, max_size=60)
# Short and long, of letters that take one byte or twelve.
_TEXT = _ANY | st.tuples(_ANY, st.sampled_from([1, 3, 40, 900])).map(lambda pair: pair[0] * pair[1])
_PATHS = st.lists(_TEXT, max_size=6) | st.tuples(_TEXT, st.integers(1, 3000)).map(lambda pair: [pair[0][:50]] * pair[1])


def _size(error: InvalidRequest) -> int:
    message = brief(str(error))
    [(_, value)] = status_metadata(grpc.StatusCode.INVALID_ARGUMENT, message, [bad_request(error.violations)])
    safe = "".join(map(chr, range(32, 127))).replace("%", "")
    return len(urllib.parse.quote(message, safe=safe)) + len(base64.b64encode(value))


@given(_TEXT, st.integers(-(2**31), 2**31 - 1), _TEXT, _TEXT, _TEXT, _PATHS, _TEXT)
def test_any_refusal_fits(
    text: str, top_k: int, catalog: str, language: str, country: str, paths: list[str], variant: str
) -> None:
    request = search_pb2.SearchRequest(
        query=text, top_k=top_k, catalog=catalog, language=language, country=country,
        product_mask=FieldMask(paths=paths), experiment=search_pb2.ExperimentContext(variant_id=variant),
    )  # fmt: skip
    try:
        check_market(read_query(request), "en", "IE")
    except InvalidRequest as error:
        assert 1 <= len(error.violations) <= 10
        assert _size(error) < 3900
