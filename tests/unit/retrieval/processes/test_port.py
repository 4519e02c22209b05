"""An address held for processes that share it: who else gets it, and who does not."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.errors import TandemError
from retrieval.processes.port import check_free, reserve_address


@contextmanager
def listening(address: str, *options: int) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    with socket.socket() as server:
        for option in options:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind((host, int(port)))
        server.listen()
        yield server


def connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def test_a_port_is_chosen_and_nobody_answers_until_a_process_listens() -> None:
    with reserve_address("127.0.0.1:0") as address:
        assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", address)
        assert not connects(address)
        with listening(address, socket.SO_REUSEPORT), listening(address, socket.SO_REUSEPORT):
            assert connects(address)


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_a_port_where_someone_listens_is_refused(options: tuple[int, ...]) -> None:
    with listening("127.0.0.1:0", *options) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(TandemError, match=f"cannot listen on {address}: the port is taken"),
            reserve_address(address),
        ):
            pass


def test_two_supervisors_never_hold_the_same_port() -> None:
    with reserve_address("127.0.0.1:0") as address:
        with pytest.raises(TandemError, match="taken"), reserve_address(address):
            pass
        both = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        with listening(address, *both), pytest.raises(TandemError, match="taken"), reserve_address(address):
            pass
    with reserve_address(address) as again:  # left free
        assert again == address


def test_connections_of_a_server_that_has_just_ended_are_no_hindrance() -> None:
    with listening("127.0.0.1:0", socket.SO_REUSEADDR) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with closing(socket.create_connection(server.getsockname())) as client:
            server.accept()[0].close()  # who closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    with reserve_address(address):
        pass


@pytest.mark.parametrize("address", ["no.such.host.invalid:0", "203.0.113.7:0", "127.0.0.1:70000"])
def test_an_address_that_is_not_of_this_machine_is_refused(address: str) -> None:
    with pytest.raises(TandemError, match=f"cannot listen on {address}"), reserve_address(address):
        pass


def test_all_addresses_of_a_name_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that this machine has, as localhost may have one of IPv6 or not."""
    hosts = ("203.0.113.7", "127.0.0.1", "127.0.0.2")
    result = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: result)
    with reserve_address("shop:0") as address:
        assert address.startswith("shop:")
        for host in hosts[1:]:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((host, int(address.rpartition(":")[2])))


def test_a_socket_is_not_shared() -> None:
    with pytest.raises(TandemError, match="several processes cannot share unix:t"), reserve_address("unix:t.sock"):
        pass


def test_a_socket_is_free_once_nobody_listens_there(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    check_free(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        check_free(path)  # left by one that was killed, as far as one can tell
        server.listen()
        with pytest.raises(TandemError, match="a service does already"):
            check_free(path)
    check_free(path)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(TandemError, match="a file is there"):
        check_free(path)
