"""What comes over a connection: broken frames, floods, bombs, metadata, callers that read nothing. Bystanders go on."""

import gzip
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from served import Bystander, Served, p99, served
from torture import SCALE, SEED, amount

from benchmarks.load.raw import RawConnection, frame, headers, settings
from core.releases import ReleaseStore
from tandem.v1 import search_pb2

SEARCH = "/tandem.v1.SearchService/Search"
QUERY = search_pb2.SearchRequest(query="red kettle", top_k=30).SerializeToString()
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GO_AWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
LIMIT = 4 << 20  # bytes of a message
INVALID, EXHAUSTED = 3, 8
RESET_BY_SERVER = -1


@pytest.fixture(scope="module")
def service(indexed: ReleaseStore) -> Iterator[Served]:
    with served(indexed) as result, Bystander(result.address) as warming:
        warming.wait(50)
        yield result


def message(data: bytes, compressed: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it, with a length that lies where one is given."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


def run(connection: RawConnection, condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Sends and reads until the condition holds or the server closes; whether it holds."""
    until = time.monotonic() + seconds
    while not condition():
        if connection.ended or time.monotonic() > until:
            return condition()
        connection.write()
        connection.read()
        time.sleep(0.0005)
    return True


def ask(address: str, body: bytes, more: tuple[tuple[str, str], ...] = ()) -> int | None:
    """The code that a call with this body ends with; None where the server closes the connection."""
    connection = RawConnection(address, SEARCH)
    stream = connection.begin(more=more)
    connection.send_data(stream, body)
    run(connection, lambda: not connection.open)
    connection.close()
    return connection.calls[stream].code


def block(more: tuple[tuple[str, str], ...] = ()) -> bytes:
    return headers(SEARCH, "x", None, more)


def broken_frames(chance: random.Random) -> bytes:
    """A few frames, of which some are whole, some damaged, and some in no place where they may be."""
    whole = frame(HEADERS, END_HEADERS, 1, block()) + frame(DATA, END_STREAM, 1, message(QUERY))
    kinds = [
        whole,
        frame(HEADERS, 0, 1, block()) + frame(DATA, 0, 1, b"x"),  # a block that does not end
        frame(HEADERS, END_HEADERS, chance.choice((0, 2, 2**31 - 1)), block()),
        frame(HEADERS, END_HEADERS, 1, chance.randbytes(chance.choice((1, 40, 900)))),
        frame(HEADERS, END_HEADERS, 1, b"\xff" * 40),
        frame(CONTINUATION, END_HEADERS, 1, block()),
        frame(DATA, END_STREAM, chance.choice((0, 1, 7)), message(QUERY)),
        frame(DATA, 8, 1, b"\xff"),  # padded by more than there is
        frame(SETTINGS, 0, chance.choice((0, 1)), chance.randbytes(chance.choice((5, 6, 60)))),
        frame(WINDOW, 0, chance.choice((0, 1)), struct.pack(">I", chance.choice((0, 1, 2**31 - 1, 2**32 - 1)))),
        frame(PING, 0, chance.choice((0, 3)), chance.randbytes(chance.choice((0, 8, 9)))),
        frame(GO_AWAY, 0, 0, chance.randbytes(chance.choice((0, 8, 200)))),
        frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + block()),
        frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 5)),  # it depends on itself
        frame(RESET, 0, chance.choice((0, 1, 9)), chance.randbytes(chance.choice((3, 4)))),
        frame(chance.randrange(10, 256), chance.randrange(256), 1, chance.randbytes(30)),
        struct.pack(">I", 0xFFFFFF)[1:] + struct.pack(">BBI", chance.randrange(10), 0, 1) + b"x" * 50,
        *[whole[: chance.randrange(len(whole))] for _ in range(2)],
        *[_flipped(chance, whole) for _ in range(3)],
        chance.randbytes(chance.choice((3, 9, 200))),
    ]
    first = chance.choice((settings(), settings(), settings(), b"", settings()[: chance.randrange(24)]))
    return first + b"".join(chance.choices(kinds, k=chance.choice((1, 2, 4))))


def _flipped(chance: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 3))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


@pytest.mark.torture
def test_connections_that_speak_broken_http_cost_a_bystander_no_call(service: Served) -> None:
    chance = random.Random(SEED)
    with Bystander(service.address) as bystander:
        bystander.wait(20)
        before = service.memory
        for number in range(amount(300, 100_000)):
            connection = RawConnection(service.address, SEARCH, begin=b"")
            connection.send(broken_frames(chance))
            connection.write()
            if number % 8 == 0:
                run(connection, lambda: False, 0.002)
            connection.close()
        bystander.wait(20)
    assert not bystander.failures, f"seed {SEED}: {bystander.failures[:3]}"
    assert service.running.poll() is None
    print(f"memory grew by {(service.memory - before) >> 20} MiB; p99 {1000 * p99(bystander.seconds):.1f} ms")
    assert service.memory - before < 64 << 20


def floods(count: int) -> dict[str, bytes]:
    """Frames of one kind without end, behind the beginning of a connection."""
    begun = frame(HEADERS, END_HEADERS, 1, block())
    # An entry of the table of headers that is named again and again: few bytes that stand for many.
    entry = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"b" * 4000
    return {
        "settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * count,
        "pings": frame(PING, 0, 0, b"8 bytes.") * count,
        "windows": begun + frame(WINDOW, 0, 1, struct.pack(">I", 1)) * count,
        "priorities": frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 5)) * count,
        "empty data": begun + frame(DATA, 0, 1) * count,
        "continuations": frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100) * count,
        "empty continuations": frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, 0, 1) * count,
        "headers by reference": frame(HEADERS, 0, 1, block() + entry) + frame(CONTINUATION, 0, 1, b"\xbe" * 8000) * 8,
        "resets": b"".join(
            frame(HEADERS, END_HEADERS, 2 * n + 1, block()) + frame(RESET, 0, 2 * n + 1, struct.pack(">I", 8))
            for n in range(count)
        ),
        "unknown frames": frame(200, 0, 0, b"x" * 100) * count,
        "calls without end": b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, block()) for n in range(count)),
    }


@pytest.mark.torture
def test_floods_of_frames_cost_a_bystander_no_call(service: Served) -> None:
    with Bystander(service.address) as bystander:
        quiet = bystander.wait(amount(20, 400))
        before = service.memory
        for name, data in floods(amount(2000, 50_000)).items():
            with ExitStack() as stack:
                for _ in range(amount(1, 4)):
                    connection = RawConnection(service.address, SEARCH)
                    stack.callback(connection.close)
                    connection.send(data)
                    run(connection, lambda connection=connection: connection.write(), 5)  # type: ignore[misc]
                flooded = bystander.wait(amount(10, 200))
            grown = service.memory - before
            print(f"{name}: p99 {1000 * p99(flooded):.1f} ms beside {1000 * p99(quiet):.1f}, memory {grown >> 20} MiB")
            assert not bystander.failures, f"{name}: {bystander.failures[:3]}"
            assert grown < 64 << 20, name


def growth(service: Served, work: Callable[[], None]) -> int:
    """Bytes by which the service grows while this is done again and again, once it was done a few times. Its highest
    counts, since what an allocator keeps comes and goes."""

    def highest(times: int) -> int:
        held = []
        for _ in range(times):
            work()
            held.append(service.memory)
        return max(held)

    before = highest(amount(20, 60))
    grown = highest(amount(5, 100)) - before
    print(f"memory grew by {grown >> 10} KiB")
    return grown


@pytest.mark.torture
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bombs_are_refused_without_the_memory_that_they_stand_for(
    service: Served, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    bombs = [compress(bytes(size << 20)) for size in (8, amount(64, 1024))]
    assert ask(service.address, message(compress(QUERY), 1), (("grpc-encoding", encoding),)) == 0

    def each() -> None:
        for bomb in bombs:
            assert ask(service.address, message(bomb, 1), (("grpc-encoding", encoding),)) == EXHAUSTED

    assert growth(service, each) <= 2 * LIMIT


@pytest.mark.torture
def test_oversize_messages_and_metadata_are_refused_without_the_memory_for_them(service: Served) -> None:
    large = message(search_pb2.SearchRequest(query="x" * (LIMIT - 100)).SerializeToString())  # read, and refused
    beyond = message(b"x" * (LIMIT + 1))
    stated = message(b"x", length=2**32 - 1)
    wide = (("x-wide", "b" * (64 << 10)),)
    many = tuple((f"x-{n}", "b" * 100) for n in range(600))

    def each() -> None:
        assert ask(service.address, large) == INVALID
        assert ask(service.address, beyond) in (EXHAUSTED, RESET_BY_SERVER)
        assert ask(service.address, stated) == EXHAUSTED
        for metadata in (wide, many):
            assert ask(service.address, message(QUERY), metadata) in (EXHAUSTED, RESET_BY_SERVER, None)

    assert growth(service, each) <= 2 * LIMIT
    assert ask(service.address, message(QUERY)) == 0


@pytest.mark.torture
def test_broken_framing_of_grpc_ends_its_own_call_alone(service: Served) -> None:
    bodies = {
        "flag without encoding": message(QUERY, 1),
        "unknown flag": message(QUERY, 7),
        "shorter than stated": message(QUERY, length=len(QUERY) + 100),
        "longer than stated": message(QUERY, length=len(QUERY) - 5),
        "half a header": message(QUERY)[:3],
        "nothing": b"",
    }
    with Bystander(service.address) as bystander:
        for name, body in bodies.items():
            code = ask(service.address, body)
            assert code is not None and code != 0, name
        bystander.wait(10)
    assert not bystander.failures


@pytest.mark.torture
def test_idle_slow_and_short_connections_cost_a_bystander_no_call(service: Served) -> None:
    idle, slow = amount(200, 5000), amount(20, 500)
    turns = amount(30, 3000)  # a p99 of 500 moves by a fifth between two quiet runs
    before, descriptors = service.memory, service.descriptors
    with Bystander(service.address) as bystander, ExitStack() as stack:
        quiet = bystander.wait(turns)
        made = [RawConnection(service.address, SEARCH) for _ in range(idle)]
        for connection in made:
            stack.callback(connection.close)
            connection.write()
        for _ in range(slow):
            connection = RawConnection(service.address, SEARCH, window=1, receive_bytes=4096)
            stack.callback(connection.close)
            connection.call(QUERY)
            connection.write()
        for _ in range(amount(100, 5000)):  # which come and go
            connection = RawConnection(service.address, SEARCH)
            connection.call(QUERY)
            connection.write()
            connection.close()
        bystander.wait(10)
        beside = bystander.wait(turns)
    ratio, grown = p99(beside) / p99(quiet), service.memory - before
    print(f"p99 {1000 * p99(beside):.1f} ms beside {1000 * p99(quiet):.1f} alone, memory {grown >> 20} MiB")
    assert not bystander.failures, bystander.failures[:3]
    assert not SCALE or ratio <= 1.2
    until = time.monotonic() + 30
    while service.descriptors > descriptors + 20 and time.monotonic() < until:
        time.sleep(0.05)
    assert service.descriptors <= descriptors + 20
