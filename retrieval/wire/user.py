"""Reads what a request states of a shopper. What is wrong names places in the request, never what they hold."""

import math
from collections.abc import Iterator, Mapping

from retrieval.recommend.user import Action, User, UserEvent
from retrieval.wire.violations import Violation
from tandem.v1 import search_pb2

MOST_USER_ID, MOST_PRODUCT_ID = 256, 1024
_MOST_PRODUCTS, _MOST_SEGMENTS, _MOST_SEGMENT = 1000, 16, 128
_DAY = 86_400
_NANOS = 10**9
_ACTIONS = {
    search_pb2.USER_ACTION_UNSPECIFIED: Action.view,
    search_pb2.USER_ACTION_VIEW: Action.view,
    search_pb2.USER_ACTION_CART: Action.cart,
    search_pb2.USER_ACTION_PURCHASE: Action.purchase,
}


def read_user(user: search_pb2.UserContext) -> User:
    """The shopper of a message without violations."""
    return User(
        user_id=user.user_id,
        events=tuple(_event(product) for product in user.products),
        segments=dict(user.segments),
        remember=user.remember,
        strength=user.strength if user.HasField("strength") else None,
    )


def user_violations(user: search_pb2.UserContext, now: float, path: str = "user") -> Iterator[Violation]:
    """Everything about a shopper that cannot be used. `now` is in seconds since 1970."""
    if len(user.user_id) > MOST_USER_ID:
        yield Violation(f"{path}.user_id", f"has {len(user.user_id)} characters; send at most {MOST_USER_ID}")
    if user.remember and not user.user_id:
        yield Violation(f"{path}.remember", "needs a user_id, whose profile is added to")
    if not (math.isfinite(user.strength) and 0 <= user.strength <= 1):
        yield Violation(f"{path}.strength", f"is {user.strength:g}; send 0 to 1")
    if len(user.products) > _MOST_PRODUCTS:
        yield Violation(f"{path}.products", f"has {len(user.products):,} entries; send the latest {_MOST_PRODUCTS:,}")
    else:
        for place, product in enumerate(user.products):
            yield from _product_violations(product, now, f"{path}.products[{place}]")
    yield from segment_violations(user.segments, f"{path}.segments")


def segment_violations(segments: Mapping[str, str], path: str) -> Iterator[Violation]:
    """What of the segments cannot be used."""
    if len(segments) > _MOST_SEGMENTS:
        yield Violation(path, f"has {len(segments)} entries; send at most {_MOST_SEGMENTS}")
    elif any(not name for name in segments):
        yield Violation(path, "has one without a name; name each")
    elif any(max(len(name), len(value)) > _MOST_SEGMENT for name, value in segments.items()):
        yield Violation(path, f"has a name or value of more than {_MOST_SEGMENT} characters; send shorter ones")


def product_id_violations(product_id: str, path: str) -> Iterator[Violation]:
    """What of a product's id cannot be used."""
    if not product_id:
        yield Violation(path, "is empty; send the id of a product")
    elif len(product_id) > MOST_PRODUCT_ID:
        yield Violation(path, f"has {len(product_id)} characters; send at most {MOST_PRODUCT_ID:,}")


def _product_violations(product: search_pb2.UserProduct, now: float, path: str) -> Iterator[Violation]:
    yield from product_id_violations(product.product_id, f"{path}.product_id")
    if product.action not in _ACTIONS:
        names = ", ".join(search_pb2.UserAction.keys())
        yield Violation(f"{path}.action", f"is {product.action}; send one of {names}")
    if product.HasField("time") and not (0 <= product.time.seconds <= now + _DAY and 0 <= product.time.nanos < _NANOS):
        yield Violation(
            f"{path}.time", "is not between 1970 and a day from now; send when it was done, or leave it out"
        )


def _event(product: search_pb2.UserProduct) -> UserEvent:
    time = product.time.seconds + product.time.nanos / _NANOS if product.HasField("time") else None
    return UserEvent(product.product_id, time, _ACTIONS[product.action])
