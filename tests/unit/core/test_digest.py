from pathlib import Path

from core.digest import file_digest, value_digest

# The NIST example digests: SHA-256 of "abc" and of the empty message.
_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert file_digest(path) == _ABC
    path.write_bytes(b"")
    assert file_digest(path) == _EMPTY


def test_equal_values_have_equal_digests_whatever_the_order_of_keys() -> None:
    assert value_digest({"a": 1, "b": [1, "é"]}) == value_digest({"b": [1, "é"], "a": 1})
    assert value_digest([1, 2]) != value_digest([2, 1])
    assert value_digest("1") != value_digest(1)
