"""Reads for whom or beside what the options of `tandem recommend` ask."""

import time
from collections.abc import Sequence

from core.errors import TandemError
from core.strings import quoted
from tandem.v1 import recommend_pb2, search_pb2

_ACTIONS = {"view", "cart", "purchase"}
_RELATIONS = {
    "similar": recommend_pb2.PRODUCT_RELATION_SIMILAR,
    "bought-together": recommend_pb2.PRODUCT_RELATION_BOUGHT_TOGETHER,
}


def add_subject(
    request: recommend_pb2.RecommendRequest,
    recent: Sequence[str],
    user: str,
    remember: bool,
    product: str,
    relation: str,
    segments: Sequence[str],
) -> None:
    """Sets whom or what a request is for. Raises TandemError for options that contradict each other."""
    if product and (recent or user or segments):
        raise TandemError("--product goes without --recent, --user and --segment; give one of them")
    if remember and not (user and recent):
        raise TandemError("--remember adds what --recent names to the profile of --user; give both")
    if relation != "similar" and not product:
        raise TandemError("--relation is about --product; give that too")
    groups = dict(map(_segment, segments))
    if product:
        request.product.product_id = product
        request.product.relation = _RELATIONS[relation]
    elif recent or user:
        request.user.user_id, request.user.remember = user, remember
        now = int(time.time())
        for place, text in enumerate(recent):  # a second apart, the first of them last
            added = request.user.products.add()
            added.CopyFrom(read_recent(text))
            added.time.seconds = now - place
        request.user.segments.update(groups)
    elif groups:
        request.popular.segments.update(groups)


def read_recent(text: str) -> search_pb2.UserProduct:
    """Reads PRODUCT or PRODUCT:ACTION; an id may have colons itself."""
    name, sign, action = text.rpartition(":")
    if not sign or not name or action not in _ACTIONS:
        name, action = text, "purchase"
    return search_pb2.UserProduct(product_id=name, action=f"USER_ACTION_{action.upper()}")


def _segment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise TandemError(f"--segment {quoted(text)} names no value; write NAME=VALUE, as in age=25-34")
    return name, value
