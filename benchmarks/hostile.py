"""How long an ordinary caller waits while requests that are made to cost much arrive beside it.

    python -m benchmarks.hostile --releases releases --queries judgments.parquet [--seconds 5]

The service runs in a process of its own. A caller on one connection asks ordinary queries one after the other, first
alone, then beside an attacker on a connection of its own, who sends one kind of hostile request again and again, the
next as soon as the last is answered. For each kind: latencies of the ordinary caller, and by how much its 99th
percentile and its longest call exceed those of the same queries sent alone, before and after.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, free_address, latencies, save, serving
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from tandem.v1 import search_pb2

METHOD = "/tandem.v1.SearchService/Search"
_DEADLINE, _WARM_QUERIES = 10.0, 200
_SHOWN = ("p50_ms", "p99_ms", "longest_ms", "beyond_p99_ms", "beyond_longest_ms")


def request(query: str = "lamp", **fields: Any) -> bytes:
    """A serialized search request."""
    return search_pb2.SearchRequest(query=query, **fields).SerializeToString()


def _filled(unit: str, length: int = 512) -> bytes:
    return request((unit * length)[:length])


_OK, _BAD = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
# Kinds of hostile request, each with the status that answers it.
HOSTILE = {
    "marks": (request("a" + "\u0301\u0323" * 255), _OK),
    "marks, raw": (request("a" + "\u0301\u0323" * 1023), _OK),
    "marks, far too many": (request("a" + "\u0301\u0323" * 16_000), _BAD),
    "marks that come apart": (request("a" + "\u0344\u0323" * 255), _OK),
    "jamo": (_filled("\u1112\u1161\u11ab"), _OK),
    "tibetan": (_filled("\u0f40\u0f71\u0f72\u0f74"), _OK),
    "ligatures of 18 letters": (_filled("\ufdfa"), _OK),
    "han": (_filled("手機殼藍色"), _OK),
    "thai": (_filled("กาแฟ"), _OK),
    "one word": (_filled("x"), _OK),
    "words without a product": (_filled("qzxv wkjq "), _OK),
    "numbers": (_filled("1234567890"), _OK),
    "sizes": (_filled("1/2 x 3 "), _OK),
    "quotes": (_filled("\"'“\u2019a"), _OK),
    "codes": (_filled("a1-b2/"), _OK),
    "spaces": (request(" " * 2047 + "x"), _OK),
    "all that there is": (request(top_k=200, explain=True, product_mask=FieldMask(paths=["*"])), _OK),
    "paths": (request(product_mask=FieldMask(paths=[""] * 30_000)), _BAD),
    "a long path": (request(product_mask=FieldMask(paths=["x" * 60_000])), _BAD),
    "wrong paths": (request(product_mask=FieldMask(paths=["🔥" * 50] * 64), language="🔥" * 5000), _BAD),
    "a large message": (b"\x0a\x80\x80\x08" + b"x" * (2 << 16), _BAD),
    "no message": (b"\xff" * 60_000, _BAD),
}


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--rerank", type=int, default=0, help="candidates to rescore")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    address = free_address()
    environment = {**NO_CACHES, "TANDEM_SERVE_PLAN__RERANK_DEPTH": str(options.rerank)}
    with serving(options.releases, address, environment):
        rows = _measure(address, queries, options.seconds)
    _print(rows)
    parameters = {"rerank": options.rerank, "seconds": options.seconds, "queries": len(queries)}
    print(save("hostile", parameters, rows, options.output))


def _measure(address: str, queries: list[str], seconds: float) -> dict[str, Any]:
    messages = cycle([request(query, top_k=10) for query in queries])
    rows: dict[str, Any] = {}
    with _call(address) as call:
        for _ in range(_WARM_QUERIES):
            call(next(messages), timeout=_DEADLINE)
        rows["alone"] = _row(_ask(call, messages, seconds), Counter())
        for name, (message, _) in HOSTILE.items():
            with _attacked(address, message) as codes:
                taken = _ask(call, messages, seconds)
            rows[name] = _row(taken, codes)
        rows["alone, again"] = _row(_ask(call, messages, seconds), Counter())
    baselines = [rows["alone"], rows["alone, again"]]
    for row in rows.values():
        for name in ("p99_ms", "longest_ms"):
            row[f"beyond_{name}"] = round(row[name] - max(one[name] for one in baselines), 2)
    return rows


def _ask(call: grpc.UnaryUnaryMultiCallable, messages: Iterator[bytes], seconds: float) -> list[float]:
    """Seconds of each call of an ordinary caller, one after the other."""
    result: list[float] = []
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        call(next(messages), timeout=_DEADLINE)
        result.append(time.monotonic() - start)
    return result


def _row(taken: list[float], codes: Counter[str]) -> dict[str, Any]:
    measured: dict[str, Any] = {"calls": len(taken), **latencies(taken), "longest_ms": round(max(taken) * 1000, 2)}
    return measured | {"hostile": dict(codes)}


@contextmanager
def _call(address: str) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)


@contextmanager
def _attacked(address: str, message: bytes) -> Iterator[Counter[str]]:
    """Sends the message again and again while the block runs; counts what answers it."""
    codes: Counter[str] = Counter()
    ended = threading.Event()

    def attack() -> None:
        with _call(address) as call:
            while not ended.is_set():
                try:
                    call(message, timeout=_DEADLINE)
                    codes["OK"] += 1
                except grpc.RpcError as error:
                    codes[error.code().name] += 1

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield codes
    finally:
        ended.set()
        thread.join()


def _print(rows: dict[str, Any]) -> None:
    table = Table("", "calls", "p50 ms", "p99 ms", "longest ms", "p99 beyond alone", "longest beyond", "hostile calls")
    for name, row in rows.items():
        figures = (
            f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "longest_ms", "beyond_p99_ms", "beyond_longest_ms")
        )
        codes = ", ".join(f"{code} {count}" for code, count in row["hostile"].items())
        table.add_row(name, str(row["calls"]), *figures, codes)
    Console(width=130).print(table)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
