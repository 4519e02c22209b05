"""Addresses of gRPC services, as users write them."""

import ipaddress
import os
import re

from core.errors import TandemError
from core.strings import quoted

UNIX = "unix:"
_MOST_PORT = 65_535
_LONGEST_PATH = 107  # bytes; the kernel takes no more
_PARTS = re.compile(r"(?P<host>\[[^\s\[\]]*\]|[^\s:/\[\]@,]*):(?P<port>[0-9]{1,9})")
_SHAPE = "give HOST:PORT, such as 127.0.0.1:50051, [::1]:50051, or 0.0.0.0:50051 for all interfaces"
_ALSO = "; or unix:PATH"


class AddressError(TandemError, ValueError):
    """What is given is no address, and what one looks like."""


def listening_address(text: str) -> str:
    """The address if one can listen there: HOST:PORT, where port 0 lets one be chosen, or unix:PATH.

    Raises AddressError.
    """
    return _unix(text) if text.startswith(UNIX) else _host_and_port(text, 0, _SHAPE + _ALSO)


def optional_address(text: str) -> str:
    """The address if one can listen there by host and port, 0 for one that is chosen; or an empty one. Raises
    AddressError."""
    return text and _host_and_port(text, 0, _SHAPE)


def trace_url(text: str) -> str:
    """The URL of a receiver of traces, http://HOST:PORT or https://HOST:PORT; or an empty one. Raises AddressError."""
    scheme, _, rest = text.partition("://")
    if text and scheme not in ("http", "https"):
        raise AddressError(f"{quoted(text)} is no URL: give http://HOST:PORT, or https:// where the receiver has TLS")
    return text and f"{scheme}://{_host_and_port(rest.rstrip('/'), 1, _SHAPE)}"


def target_address(text: str) -> str:
    """The address if it can be called: HOST:PORT, gRPC's dns:///HOST:PORT, or unix:PATH. Raises AddressError."""
    return _unix(text) if text.startswith(UNIX) else _host_and_port(text, 1, _SHAPE + _ALSO)


def tcp_address(text: str) -> str:
    """The address if it can be called by host and port alone. Raises AddressError."""
    return _host_and_port(text, 1, _SHAPE)


def is_local(address: str) -> bool:
    """Whether only this machine reaches a listening address."""
    return address.startswith(UNIX) or is_local_host(address.rpartition(":")[0].strip("[]"))


def is_local_host(host: str) -> bool:
    """Whether a host is this machine by itself: a loopback address, or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unix(text: str) -> str:
    path = text.removeprefix(UNIX)
    if path.startswith("//") and not path.startswith("///"):
        raise AddressError(f"{quoted(text)} is no address: with // a path begins at the root: unix:///tmp/tandem.sock")
    if not path.strip("/") or "\0" in path:
        raise AddressError(f"{quoted(text)} names no file: give unix:PATH, such as unix:/tmp/tandem.sock")
    if len(os.fsencode(path.removeprefix("//"))) > _LONGEST_PATH:
        raise AddressError(f"{quoted(text)} has a path of over {_LONGEST_PATH} bytes; choose a shorter one")
    return text


def _host_and_port(text: str, least: int, shape: str) -> str:
    parts = _PARTS.fullmatch(text.removeprefix("dns:///") if least else text)
    if parts is None and re.fullmatch(r"[0-9]{1,9}", text):
        parts = _PARTS.fullmatch(f":{text}")
    if parts is None or (parts["host"].startswith("[") and not _is_ipv6(parts["host"][1:-1])):
        raise AddressError(f"{quoted(text)} is no address: {shape}")
    port = int(parts["port"])
    if not least <= port <= _MOST_PORT:
        raise AddressError(f"{quoted(text)} is no address: its port is not between {least} and {_MOST_PORT}")
    if not parts["host"]:
        raise AddressError(f"{quoted(text)} names no host: give 127.0.0.1:{port}, or 0.0.0.0:{port} for all interfaces")
    return text


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
