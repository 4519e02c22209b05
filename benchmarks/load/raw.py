"""A gRPC client of hand-made HTTP/2 frames: what libraries do not do, and so light that it can offer many calls.

It asks for no header compression, so that answers are read without a table, and gives the server all the room to send
that there is. It sends unary calls and reads their codes; it can as well reset them at once, or read nothing.
"""

import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_TABLE_SIZE, _INITIAL_WINDOW = 0x1, 0x4
_ROOM = (1 << 31) - 1
_DEFAULT_WINDOW = 65_535
_FRAME = 16_384  # bytes of one, at most
_CANCEL = 0x8
_STATUS, _DETAILS, _PUSHBACK = b"grpc-status", b"grpc-status-details-bin", b"grpc-retry-pushback-ms"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(window: int = _ROOM) -> bytes:
    """What a client begins with: no table of headers, and so many bytes that each answer may have unasked."""
    chosen = struct.pack(">HIHI", _TABLE_SIZE, 0, _INITIAL_WINDOW, window)
    return _PREFACE + frame(_SETTINGS, 0, 0, chosen)


def headers(path: str, authority: str, timeout: float | None, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """The block of a unary call's headers, `more` behind them, none of them indexed or compressed."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    if timeout is not None:
        fields.append(("grpc-timeout", f"{int(timeout * 1e6)}u"))
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in (*fields, *more))


def _text(value: str) -> bytes:
    """The text behind its length, seven bits of which stand in the first byte where they suffice."""
    length, rest = bytearray(), len(value) - 127
    if rest < 0:
        return bytes([len(value)]) + value.encode()
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([127, *length, rest]) + value.encode()


@dataclass(slots=True)
class Outcome:
    """One call: when it was sent and done (seconds of `time.monotonic`), its gRPC code (None while it is open; -1 where
    the stream was reset), bytes of its answer, whether its trailers have a google.rpc.Status, and the milliseconds that
    they ask to wait before it is sent again. `body` is the answer, of connections that keep them."""

    sent: float
    done: float = 0.0
    code: int | None = None
    size: int = 0
    details: bool = False
    pushback: int | None = None
    body: bytes = b""


class RawConnection:
    """One connection. `step` sends and reads what there is, without waiting."""

    def __init__(
        self,
        address: str,
        path: str,
        window: int = _ROOM,
        receive_bytes: int | None = None,
        begin: bytes | None = None,
        keep: bool = False,
    ) -> None:
        """`window` bounds each answer's bytes that are sent unasked, `receive_bytes` the socket's buffer. `begin` are
        the first bytes that are sent, in place of those that make a connection. Answers are kept where `keep` is
        set."""
        self._keep = keep
        host, _, port = address.rpartition(":")
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect((host, int(port)))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.calls: dict[int, Outcome] = {}
        self.open: set[int] = set()
        self.ended = False
        self._path, self._authority = path, address
        self._blocks: dict[float | None, bytes] = {}
        room = frame(_WINDOW, 0, 0, struct.pack(">I", _ROOM - _DEFAULT_WINDOW))
        self._out = bytearray(settings(window) + room if begin is None else begin)
        self._in = bytearray()
        self._next = 1
        self._bodies: dict[int, memoryview] = {}  # that were not sent yet
        # Bytes that the server has room for: of the connection, of each stream at first, and what was added to it.
        self._room = self._first_room = _DEFAULT_WINDOW
        self._rooms: dict[int, int] = {}

    def call(self, message: bytes, timeout: float | None = None, sent: float | None = None) -> int:
        """Queues a unary call; its stream's number. `timeout` and `sent`, when it counts as sent, are in seconds."""
        stream = self.begin(timeout, sent)
        body = b"\x00" + struct.pack(">I", len(message)) + message
        self._out += frame(_DATA, _END_STREAM, stream, body)
        return stream

    def begin(
        self, timeout: float | None = None, sent: float | None = None, more: Iterable[tuple[str, str]] = ()
    ) -> int:
        """Queues a call's headers alone, with `more` metadata; its stream's number."""
        stream, self._next = self._next, self._next + 2
        block = headers(self._path, self._authority, timeout, more) if more else self._blocks.get(timeout)
        if block is None:
            block = self._blocks[timeout] = headers(self._path, self._authority, timeout)
        self._out += frame(_HEADERS, _END_HEADERS, stream, block)
        self.calls[stream] = Outcome(time.monotonic() if sent is None else sent)
        self.open.add(stream)
        return stream

    def send(self, data: bytes) -> None:
        """Queues bytes as they are."""
        self._out += data

    def send_data(self, stream: int, body: bytes) -> None:
        """Queues the whole body of a call, and its end, as the server gives room for it."""
        self._bodies[stream] = memoryview(body)
        self._queue_bodies()

    def _queue_bodies(self) -> None:
        for stream, body in list(self._bodies.items()):
            while stream in self._bodies:
                size = min(_FRAME, len(body), self._room, self._first_room + self._rooms.get(stream, 0))
                if size <= 0 < len(body):
                    break
                last = size == len(body)
                self._out += frame(_DATA, _END_STREAM if last else 0, stream, bytes(body[:size]))
                self._room -= size
                self._rooms[stream] = self._rooms.get(stream, 0) - size
                body = self._bodies[stream] = body[size:]
                if last:
                    del self._bodies[stream]

    def end(self, stream: int) -> int:
        """Queues the end of what this side sends of a call; its stream's number."""
        self._out += frame(_DATA, _END_STREAM, stream)
        return stream

    def latest(self, count: int) -> list[Outcome]:
        """The calls that were begun last."""
        return [self.calls[stream] for stream in islice(reversed(self.calls), count)]

    def allow(self, stream: int, size: int) -> None:
        """Queues room for so many more bytes of an answer."""
        self._out += frame(_WINDOW, 0, stream, struct.pack(">I", size))

    def reset(self, stream: int) -> None:
        """Queues the end of a call from this side."""
        self._out += frame(_RESET, 0, stream, struct.pack(">I", _CANCEL))
        self._finish(stream, -1)

    def write(self) -> bool:
        """Sends what is queued and fits; whether all did."""
        while self._out:
            try:
                sent = self.socket.send(memoryview(self._out)[: 1 << 16])
            except BlockingIOError:
                return False
            except OSError:
                self.ended = True
                return True
            del self._out[:sent]
        return True

    def read(self) -> None:
        """Reads what has come."""
        while not self.ended:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self._in += data
        self._take()

    def close(self) -> None:
        """Ends the connection."""
        self.socket.close()

    def _take(self) -> None:
        data, at = self._in, 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at - 9 < size:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & _ROOM
            self._frame(kind, flags, stream, data[at + 9 : at + 9 + size])
            at += 9 + size
        del data[:at]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytearray) -> None:
        if kind == _HEADERS and flags & _END_STREAM:
            self._ended(stream, payload)
        elif kind == _DATA and stream in self.calls:
            self.calls[stream].size += len(payload)
            if self._keep:
                self.calls[stream].body += payload
        elif kind == _RESET:
            self._finish(stream, -1)
        elif kind == _WINDOW:
            [more] = struct.unpack(">I", payload)
            if stream:
                self._rooms[stream] = self._rooms.get(stream, 0) + more
            else:
                self._room += more
            self._queue_bodies()
        elif kind == _SETTINGS and not flags & _ACK:
            chosen = dict(struct.iter_unpack(">HI", payload))
            self._first_room = chosen.get(_INITIAL_WINDOW, self._first_room)
            self._queue_bodies()
            self._out += frame(_SETTINGS, _ACK, 0)
        elif kind == _PING and not flags & _ACK:
            self._out += frame(_PING, _ACK, 0, bytes(payload))

    def _ended(self, stream: int, block: bytearray) -> None:
        code, pushback = _value(block, _STATUS), _value(block, _PUSHBACK)
        if (call := self.calls.get(stream)) is not None:
            call.details = _DETAILS in block
            call.pushback = None if pushback is None else int(pushback)
        self._finish(stream, -1 if code is None else int(code))

    def _finish(self, stream: int, code: int) -> None:
        if stream in self.open:
            self.open.discard(stream)
            self.calls[stream].code, self.calls[stream].done = code, time.monotonic()


def _value(block: bytearray, name: bytes) -> bytes | None:
    """The value of a header that stands in the block as it is, in fewer than 127 bytes."""
    at = block.find(bytes([len(name)]) + name) + 1 + len(name)
    return bytes(block[at + 1 : at + 1 + block[at]]) if at > len(name) else None
