"""The key of the hashes that stand for shoppers."""

import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.profiles.keys import ShopperKey, read_key, read_or_make_key
from retrieval.profiles.protocol import ProfileError


def test_a_hash_is_the_hmac_of_the_id_and_the_key_is_never_printed() -> None:
    key = ShopperKey(b"sixteen bytes ok")
    assert key.hash("Zoë") == hmac.new(b"sixteen bytes ok", "Zoë".encode(), "sha256").digest()
    assert "sixteen" not in repr(key) + str(key)
    assert ShopperKey(b"another key of 16").hash("Zoë") != key.hash("Zoë")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ProfileError, match="at least 16"):
        ShopperKey(b"short")


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "key"
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(read_or_make_key, [path] * 16))
    assert len({key.hash("a") for key in keys}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["key"]
    assert read_key(path).hash("a") == keys[0].hash("a")


def test_a_key_that_others_can_read_or_that_is_missing_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ProfileError, match="copy it"):
        read_key(path)
    path.write_bytes(b"x" * 32)
    path.chmod(0o644)
    with pytest.raises(ProfileError, match="chmod 600"):
        read_or_make_key(path)
