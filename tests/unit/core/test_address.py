from collections.abc import Callable

import pytest

from core.address import AddressError, listening_address, target_address, tcp_address
from core.errors import TandemError

ALL = (listening_address, target_address, tcp_address)


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:50051",
        "localhost:1",
        "0.0.0.0:65535",
        "[::1]:50051",
        "[::]:80",
        "tandem-1.shop.example:8001",
        "büro:7",
    ],
)
def test_a_host_and_a_port_are_an_address(check: Callable[[str], str], address: str) -> None:
    assert check(address) == address


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1:99999", "'127.0.0.1:99999' is no address: its port is not between"),
        ("127.0.0.1:65536", "its port is not between"),
        ("127.0.0.1:" + "9" * 30, "is no address: give HOST:PORT, such as 127.0.0.1:50051, [::1]:50051,"),
        ("53105", "'53105' names no host: give 127.0.0.1:53105, or 0.0.0.0:53105 for all interfaces"),
        (":53106", "':53106' names no host: give 127.0.0.1:53106, or 0.0.0.0:53106 for all interfaces"),
        ("99999", "its port is not between"),
        ("", "'' is no address: give HOST:PORT"),
        ("localhost", "is no address: give HOST:PORT"),
        ("localhost:", "is no address: give HOST:PORT"),
        ("localhost:http", "is no address: give HOST:PORT"),
        ("localhost:-1", "is no address: give HOST:PORT"),
        ("localhost:٣", "is no address: give HOST:PORT"),
        ("::1:50051", "is no address: give HOST:PORT"),
        ("[::1]", "is no address: give HOST:PORT"),
        ("[::1:50051", "is no address: give HOST:PORT"),
        ("[localhost]:50051", "is no address: give HOST:PORT"),
        ("http://localhost:50051", "is no address: give HOST:PORT"),
        ("localhost:50051/search", "is no address: give HOST:PORT"),
        ("a b:1", "is no address: give HOST:PORT"),
        ("localhost:1\n", "is no address: give HOST:PORT"),
        ("x" * 500, f"'{'x' * 39}…' is no address"),
    ],
)
def test_anything_else_is_refused_in_a_line_that_says_what_one_looks_like(
    check: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(AddressError) as error:
        check(text)
    assert message in str(error.value) and str(error.value).isprintable()
    assert isinstance(error.value, TandemError) and isinstance(error.value, ValueError)


def test_port_0_is_chosen_where_one_listens_and_cannot_be_called() -> None:
    assert listening_address("127.0.0.1:0") == "127.0.0.1:0"
    for check in (target_address, tcp_address):
        with pytest.raises(AddressError, match="not between 1 and 65535"):
            check("127.0.0.1:0")


@pytest.mark.parametrize("address", ["unix:t.sock", "unix:/tmp/t.sock", "unix:///tmp/t.sock", "unix:/" + "x" * 106])
def test_a_socket_is_an_address_where_a_path_can_be_one(address: str) -> None:
    assert listening_address(address) == target_address(address) == address
    with pytest.raises(AddressError, match="is no address"):
        tcp_address(address)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unix:", "names no file"),
        ("unix:/", "names no file"),
        ("unix:a\0b", "names no file"),
        ("unix://tmp/t.sock", "a path begins at the root"),
        ("unix:/" + "x" * 107, "over 107 bytes"),
        ("unix:/" + "é" * 60, "over 107 bytes"),
    ],
)
def test_a_socket_without_a_usable_path_is_refused(text: str, message: str) -> None:
    for check in (listening_address, target_address):
        with pytest.raises(AddressError, match=message):
            check(text)


def test_a_name_of_grpcs_resolver_can_be_called_but_not_listened_on() -> None:
    assert target_address("dns:///tandem.shop:50051") == "dns:///tandem.shop:50051"
    with pytest.raises(AddressError):
        listening_address("dns:///tandem.shop:50051")
