"""The token of the next page: where it begins, and the order of the first results, so that no page depends on how far
another was rescored."""

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from catalog.references import References
from engine.protocol import Vectors

MAX_TOKEN_CHARACTERS = 8192
MAX_HEAD = 400
_VERSION = 3
# Version, sources, digests of release, request, rules and what is searched, revision, time in seconds, offset, results
# in the head.
_HEADER = struct.Struct("<BB8s8s8s8sqqIH")
_DIGEST_BYTES = 8


class InvalidToken(Exception):
    """The token cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class PageToken:
    """`offset` is the number of results before the page. `products` and `scores`, both of shape (h,), are the first
    results by relevance, before caps and pins; `catalog.references` numbers products. `sources` is which sources and
    steps of reading the query took part, a bit each; `rules` the digest of the rules in effect, as of the time `now`,
    in seconds since 1970; `searched` that of the query and of what products had to pass. `revision` is the catalog's.
    """

    release: bytes
    request: bytes
    rules: bytes
    searched: bytes
    revision: int
    now: int
    sources: int
    offset: int
    products: References
    scores: Vectors


def digest8(*values: str | bytes) -> bytes:
    """A short digest of values, for tokens."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for value in values:
        data = value.encode() if isinstance(value, str) else value
        digest.update(len(data).to_bytes(4, "little") + data)
    return digest.digest()


def encode_token(token: PageToken) -> str:
    """The token as text of the characters of URLs."""
    products = token.products[:MAX_HEAD].astype("<u4")
    header = _HEADER.pack(
        _VERSION,
        token.sources,
        token.release,
        token.request,
        token.rules,
        token.searched,
        token.revision,
        token.now,
        token.offset,
        len(products),
    )
    body = header + products.tobytes() + token.scores[:MAX_HEAD].astype("<f4").tobytes()
    return base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def decode_token(text: str) -> PageToken:
    """Reads a token. Raises InvalidToken for one that this version did not make."""
    broken = InvalidToken("is not a token that this service made; send the next_page_token of a response unchanged")
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise broken
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise broken from None
    body, check = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if len(body) < _HEADER.size or check != _check(body):
        raise broken
    version, sources, release, request, rules, searched, revision, now, offset, count = _HEADER.unpack_from(body)
    if version != _VERSION or len(body) != _HEADER.size + 8 * count:
        raise InvalidToken("is of another version of the service; begin again with the first page")
    products = np.frombuffer(body, "<u4", count, _HEADER.size).astype(np.uint32)
    scores = np.frombuffer(body, "<f4", count, _HEADER.size + 4 * count).astype(np.float32)
    return PageToken(release, request, rules, searched, revision, now, sources, offset, products, scores)


def check_token(token: PageToken, release: bytes, request: bytes) -> None:
    """Raises InvalidToken where the token is of another request, or of a release that is no longer served. One of
    another revision is good: its page is made of the catalog as it is now."""
    if token.request != request:
        raise InvalidToken("is of another request; change nothing but top_k and product_mask between pages")
    if token.release != release:
        raise InvalidToken("is of a release that is no longer served; begin again with the first page")


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST_BYTES, person=b"page").digest()
