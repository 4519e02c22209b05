"""The file of keys: what it lets in, when it is read again, and that a damaged one never opens the door."""

import json
import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from credentials import keys_in

from core.errors import TandemError
from lifecycle.keys import Keys
from retrieval.server.caller import Caller, Priority
from retrieval.server.identity.key_file import KeyFile, KeyFileError, key_id, make_key, now, read_key_file
from retrieval.server.identity.key_store import KeyStore, narrowed


class Clock:
    """Moves a little more than the store waits between two looks, each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.01
        return self.now


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return keys_in(tmp_path)


def store(folder: Path, required: bool = False) -> KeyStore:
    return KeyStore(folder / "keys.json", required, Clock())


def caller(kept: KeyStore, key: str, later: float = 0.0) -> Caller | None:
    found = kept.current()
    assert found is not None
    return found.key(key.encode(), time.time() + later)


def test_a_key_has_256_random_bits_and_names_its_id() -> None:
    made = [make_key() for _ in range(50)]
    assert len({text for text, _ in made}) == 50
    for text, name in made:
        assert key_id(text) == name and len(text) == len("tdm_12345678_") + 43
    assert key_id(made[0][0][:-1]) is None and key_id("tdm_") is None


def test_a_key_is_a_caller_and_the_file_holds_its_hash_alone(keys: Keys, tmp_path: Path) -> None:
    text, entry = keys.add("acme", frozenset({"search"}), catalogs=frozenset({"shop"}), priority="batch")
    expected = Caller(f"acme/{entry.id}", "acme", frozenset({"search"}), frozenset({"shop"}), Priority.BATCH)
    kept = store(tmp_path)
    assert caller(kept, text) == expected
    assert caller(kept, text[:-1]) is None and caller(kept, text + " ") is None and caller(kept, "") is None
    for path in tmp_path.iterdir():
        assert text.rpartition("_")[2] not in path.read_text(), f"{path} holds the key"


def test_two_keys_are_valid_while_one_takes_the_place_of_the_other(keys: Keys, tmp_path: Path) -> None:
    old, entry = keys.add(
        "acme", frozenset({"search"}), catalogs=frozenset({"shop"}), expires=now() + timedelta(days=90)
    )
    new, new_entry, ending = keys.rotate(entry.id, timedelta(days=7))
    kept = store(tmp_path)
    first, second = caller(kept, old), caller(kept, new)
    assert first is not None and second is not None and first.catalogs == second.catalogs == {"shop"}
    day = 86_400.0
    assert caller(kept, old, 6.9 * day) and not caller(kept, old, 7.1 * day)
    assert caller(kept, new, 89.9 * day) and not caller(kept, new, 90.1 * day)
    keys.revoke(entry.id)
    assert caller(kept, old) is None and caller(kept, new) == second
    with pytest.raises(TandemError, match="revoked or expired"):
        keys.rotate(entry.id, timedelta(days=7))
    with pytest.raises(TandemError, match="revoked already"):
        keys.revoke(entry.id)
    assert new_entry.id != ending.id


def test_every_change_of_keys_is_in_the_audit_log_without_a_key(keys: Keys, tmp_path: Path) -> None:
    text, entry = keys.add("acme", frozenset({"search", "write"}))
    keys.rotate(entry.id, timedelta(hours=1))
    keys.revoke(entry.id)
    keys.set_tenant("acme", calls_per_second=5.0)
    keys.add_certificate("gateway.example", "acme", frozenset({"search"}))
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    acts = ["add a key", "rotate a key", "revoke a key", "set a tenant", "add a certificate"]
    assert [each["action"] for each in entries] == acts
    assert entries[0]["facts"] == {"key": entry.id, "tenant": "acme", "scopes": "search,write"}
    assert text.rpartition("_")[2] not in json.dumps(entries)


def test_a_change_that_cannot_be_logged_is_not_made(keys: Keys, tmp_path: Path) -> None:
    keys.add("acme", frozenset({"search"}))
    before = (tmp_path / "keys.json").read_bytes()
    (tmp_path / "audit.jsonl").write_bytes(b"{}\n")
    with pytest.raises(TandemError, match="is no entry"):
        keys.add("acme", frozenset({"admin"}))
    assert (tmp_path / "keys.json").read_bytes() == before


def test_a_tenant_narrows_the_catalogs_of_its_keys(keys: Keys, tmp_path: Path) -> None:
    limited, _ = keys.add("acme", frozenset({"search"}), catalogs=frozenset({"shop", "other"}))
    whole, _ = keys.add("acme", frozenset({"search"}))
    keys.set_tenant("acme", catalogs=frozenset({"shop", "outlet"}))
    kept = store(tmp_path)
    first, second = caller(kept, limited), caller(kept, whole)
    assert first is not None and first.catalogs == {"shop"}
    assert second is not None and second.catalogs == {"shop", "outlet"}
    assert narrowed(None, None) is None


def test_the_file_is_read_again_when_it_changes_and_looked_at_once_a_second(keys: Keys, tmp_path: Path) -> None:
    first, _ = keys.add("acme", frozenset({"search"}))
    still = 0.0
    kept = KeyStore(tmp_path / "keys.json", True, lambda: still)
    second, entry = keys.add("acme", frozenset({"search"}))
    assert caller(kept, second) is None
    still = 1.5
    assert caller(kept, second) is not None and caller(kept, first) is not None
    keys.revoke(entry.id)
    assert caller(kept, second) is not None
    still = 3.0
    assert caller(kept, second) is None and caller(kept, first) is not None


def test_without_a_file_there_are_no_keys_until_there_is_one(keys: Keys, tmp_path: Path) -> None:
    kept = store(tmp_path)
    assert kept.current() is None
    text, _ = keys.add("acme", frozenset({"search"}))
    assert caller(kept, text) is not None
    with pytest.raises(KeyFileError, match="tandem keys add"):
        KeyStore(tmp_path / "other.json", True)


def _entry(content: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = content["keys"][0]
    return entry


DAMAGES = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "no JSON": lambda data: b"keys: none",
    "no UTF-8": lambda data: b"\xff" + data,
    "nested": lambda data: b"[" * 100_000,
    "a list": lambda data: b"[]",
    "a version to come": lambda data: data.replace(b'"version":1', b'"version":2'),
    "an unknown field": lambda data: data.replace(b'"version"', b'"admins":[],"version"'),
    "an unknown scope": lambda data: data.replace(b'"search"', b'"root"'),
    "a short hash": lambda data: json.dumps(_changed(data, "hash", "abc")).encode(),
    "a hash in capitals": lambda data: json.dumps(_changed(data, "hash", "A" * 64)).encode(),
    "a time without a zone": lambda data: json.dumps(_changed(data, "expires", "2027-01-01T00:00:00")).encode(),
    "an end that is none": lambda data: json.dumps(_changed(data, "expires", "never")).encode(),
    "an unknown tenant": lambda data: json.dumps(_changed(data, "tenant", "other")).encode(),
    "a tenant that is no name": lambda data: json.dumps(_changed(data, "tenant", "../acme")).encode(),
    "a key twice": lambda data: json.dumps(_twice(data)).encode(),
    "longer than such a file is": lambda data: data + b" " * (16 << 20),
}


def _changed(data: bytes, name: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(data)
    _entry(content)[name] = value
    return content


def _twice(data: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(data)
    content["keys"] *= 2
    return content


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_keeps_the_last_good_one_in_force(
    keys: Keys, tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = keys.add("acme", frozenset({"search"}))
    kept, path = store(tmp_path), tmp_path / "keys.json"
    good = json.dumps(json.loads(path.read_bytes()), separators=(",", ":")).encode()
    damaged = damage(good)
    assert damaged != good
    path.write_bytes(damaged)
    with caplog.at_level(logging.ERROR, "tandem.identity"):
        assert [caller(kept, text) is not None for _ in range(4)] == [True] * 4
    logged = [record for record in caplog.records if record.name == "tandem.identity"]
    assert len(logged) == 1, "it is logged once"
    assert "\n" not in caplog.records[0].getMessage()
    with pytest.raises(KeyFileError):
        store(tmp_path)
    path.write_bytes(good)
    assert caller(kept, text) is not None and store(tmp_path).current() is not None


def test_a_file_that_is_gone_or_none_opens_nothing(keys: Keys, tmp_path: Path) -> None:
    text, _ = keys.add("acme", frozenset({"search"}))
    kept, path = store(tmp_path), tmp_path / "keys.json"
    path.rename(tmp_path / "elsewhere")
    assert caller(kept, text) is not None
    os.mkfifo(path)
    with pytest.raises(KeyFileError, match="is not a file"):
        store(tmp_path)


def test_a_file_that_others_may_change_is_refused(keys: Keys, tmp_path: Path) -> None:
    text, _ = keys.add("acme", frozenset({"search"}))
    path = tmp_path / "keys.json"
    assert path.stat().st_mode & 0o777 in (0o644, 0o600, 0o640)
    kept = store(tmp_path)
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        store(tmp_path)
    assert caller(kept, text) is not None


def test_many_entries_are_bounded() -> None:
    content = {"tenants": {f"tenant-{number}": {} for number in range(10_001)}}
    with pytest.raises(ValueError, match="at most 10000"):
        KeyFile.model_validate(content)


def test_writers_wait_for_each_other(keys: Keys, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: keys.add(f"tenant-{number}", frozenset({"search"})), range(20)))
    content = read_key_file(tmp_path / "keys.json")
    assert len(content.keys) == len(content.tenants) == 20


def test_a_file_behind_a_link_is_read_and_changed(tmp_path: Path) -> None:
    """Kubernetes mounts secrets as links."""
    behind = keys_in(tmp_path / "data")
    key, _ = behind.add("shop", frozenset({"search"}))
    (tmp_path / "keys.json").symlink_to("data/keys.json")
    assert caller(store(tmp_path), key) is not None
    other, _ = keys_in(tmp_path).add("shop", frozenset({"search"}))
    assert caller(store(tmp_path), other) is not None and (tmp_path / "keys.json").is_symlink()
