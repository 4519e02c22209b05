"""Requests to change products, each with a name by which it can be sent again and is applied once."""

import uuid
from typing import TypeVar

from tandem.v1 import catalog_pb2

Change = TypeVar("Change", catalog_pb2.UpsertRequest, catalog_pb2.DeleteRequest, catalog_pb2.UpdateFieldsRequest)


def named(request: Change) -> Change:
    """The request, or a copy with a name where it has none."""
    if request.request_id:
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = uuid.uuid4().hex
    return copy
