"""Every store of profiles, by one suite: a SQLite file, and a real Redis where its server is installed."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis_servers import redis_server

from retrieval.profiles.profiles import Profiles, open_profiles
from retrieval.profiles.protocol import ProfileError, ProfileStore
from retrieval.profiles.redis import RedisProfiles
from retrieval.profiles.settings import ProfileSettings
from retrieval.profiles.sqlite import FILE, SqliteProfiles
from retrieval.recommend.user import Action, UserEvent

ANNE, BEN = b"a" * 32, b"b" * 32
DAY = 86_400.0
KEY = "a secret of sixteen"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as (port, _):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProfileStore]:
    made: ProfileStore
    if request.param == "sqlite":
        made = SqliteProfiles(tmp_path / "profiles" / FILE)
    else:
        made = RedisProfiles(request.getfixturevalue("redis_url"))
        made._redis.flushall()  # type: ignore[attr-defined]
    yield made
    made.close()


def event(name: str, time: float, action: Action = Action.view) -> UserEvent:
    return UserEvent(name, time, action)


def test_a_profile_has_its_events_the_latest_first(store: ProfileStore) -> None:
    assert store.read(ANNE, "shop", 0) == []
    store.add(ANNE, "shop", [event("a", 10.25), event("b", 30, Action.purchase)], 0, 10)
    store.add(ANNE, "shop", [event("c", 20, Action.cart), event("a", 10.25)], 0, 10)  # a is there already
    expected = [event("b", 30, Action.purchase), event("c", 20, Action.cart), event("a", 10.25)]
    assert store.read(ANNE, "shop", 0) == expected
    assert store.read(ANNE, "shop", 20) == expected[:2]
    assert store.read(ANNE, "other", 0) == store.read(BEN, "shop", 0) == []


def test_events_of_one_time_differ_by_product_and_action(store: ProfileStore) -> None:
    events = [event("a", 5, Action.view), event("a", 5, Action.purchase), event("b", 5)]
    store.add(ANNE, "shop", events, 0, 10)
    assert store.read(ANNE, "shop", 0) == [event("a", 5, Action.purchase), event("a", 5), event("b", 5)]


def test_a_profile_keeps_its_latest_events_for_the_time_that_is_set(store: ProfileStore) -> None:
    store.add(ANNE, "shop", [event(f"p{i}", i) for i in range(20)], 0, 5)
    assert [one.product_id for one in store.read(ANNE, "shop", 0)] == ["p19", "p18", "p17", "p16", "p15"]
    store.add(ANNE, "shop", [event("new", 30)], 17, 5)
    assert [one.product_id for one in store.read(ANNE, "shop", 0)] == ["new", "p19", "p18", "p17"]


def test_what_is_old_expires_for_shoppers_who_never_come_again(store: ProfileStore) -> None:
    store.add(ANNE, "shop", [event("a", 10), event("b", 20)], 0, 10)
    store.add(BEN, "shop", [event("a", 5)], 0, 10)
    assert store.expire(20) == 2
    assert store.read(ANNE, "shop", 0) == [event("b", 20)] and store.read(BEN, "shop", 0) == []


def test_a_shopper_is_forgotten_in_every_catalog_and_others_are_not(store: ProfileStore) -> None:
    for catalog in ("shop", "outlet"):
        store.add(ANNE, catalog, [event("a", 10)], 0, 10)
        store.add(BEN, catalog, [event("b", 10)], 0, 10)
    assert list(store.forgotten()) == []
    assert store.forget(ANNE, 50) == 2 and store.forget(ANNE, 51) == 0
    assert store.read(ANNE, "shop", 0) == store.read(ANNE, "outlet", 0) == []
    assert store.read(BEN, "shop", 0) == store.read(BEN, "outlet", 0) == [event("b", 10)]
    assert list(store.forgotten()) == [ANNE]


def test_ids_of_any_characters_come_back_as_they_were(store: ProfileStore) -> None:
    names = ["ä\u0000b", '["x"]', " ", "日本", "a" * 1024, "DROP TABLE events;--"]
    store.add(ANNE, "shop", [event(name, i) for i, name in enumerate(names)], 0, 10)
    assert [one.product_id for one in store.read(ANNE, "shop", 0)] == names[::-1]


def test_threads_lose_nothing(store: ProfileStore) -> None:
    def add(number: int) -> None:
        store.add(ANNE, "shop", [event(f"p{number}", number)], 0, 100)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(60)))
    assert len(store.read(ANNE, "shop", 0)) == 60


def test_forgetting_beside_adding_leaves_what_came_after_alone(store: ProfileStore) -> None:
    """Whatever the order in which they end, the store is whole: an event is there as a whole or not at all."""
    done = threading.Event()

    def add() -> None:
        number = 0
        while not done.is_set():
            number += 1
            store.add(ANNE, "shop", [event(f"p{number}", number)], 0, 100)

    with ThreadPoolExecutor(2) as threads:
        adding = [threads.submit(add) for _ in range(2)]
        try:
            for _ in range(20):
                store.forget(ANNE, 1)
        finally:
            done.set()
        for one in adding:
            one.result()
    store.forget(ANNE, 1)
    assert store.read(ANNE, "shop", 0) == []


def test_nothing_of_a_forgotten_shopper_is_left_in_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    first, second = SqliteProfiles(folder / FILE), SqliteProfiles(folder / FILE)  # as two processes
    for number in range(300):  # of many pages, of which some are reused
        first.add(number.to_bytes(32, "little"), "shop", [event(f"other-{number}-{i}", i) for i in range(5)], 0, 10)
    secrets = [f"very-personal-{i}".encode() for i in range(50)]
    second.add(ANNE, "intimates", [event(name.decode(), i) for i, name in enumerate(secrets)], 0, 100)
    first.read(ANNE, "intimates", 0)
    assert b"very-personal-7" in _bytes(folder) and ANNE in _bytes(folder)
    first.forget(ANNE, 1.0)
    left = _bytes(folder)
    assert not [name for name in secrets if name in left] and b"intimates" not in left
    assert left.count(ANNE) == 1  # the list of the forgotten, alone
    assert b"other-7-3" in left
    second.expire(3)
    assert b"other-7-1" not in _bytes(folder) and b"other-7-4" in _bytes(folder)
    for one in (first, second):
        one.close()


def test_nothing_of_a_forgotten_shopper_is_left_in_redis_or_its_files(tmp_path: Path) -> None:
    with redis_server(tmp_path) as (port, _):
        made = RedisProfiles(f"redis://127.0.0.1:{port}/0")
        made.add(ANNE, "intimates", [event("very-personal", 5)], 0, 10)
        made.add(BEN, "shop", [event("other", 5)], 0, 10)
        client = made._redis
        assert b"very-personal" in _bytes(tmp_path)
        made.forget(ANNE, 1.0)
        assert sorted(client.scan_iter()) == sorted(
            [b"tandem:profile:forgotten", *(f"tandem:profile:{{{BEN.hex()}}}{end}".encode() for end in ("", ":shop"))]
        )
        until = time.monotonic() + 30
        while b"very-personal" in _bytes(tmp_path) or b"intimates" in _bytes(tmp_path):
            assert time.monotonic() < until
            time.sleep(0.02)  # Redis writes its files anew in the background
        assert b"other" in _bytes(tmp_path)
        made.close()


def test_a_file_of_a_later_version_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(ProfileError, match="upgrade"):
        SqliteProfiles(path)
    path.write_bytes(b"no database " * 100)
    with pytest.raises(ProfileError, match="not a database"):
        SqliteProfiles(path)
    (tmp_path / "blocked").write_text("")
    with pytest.raises(ProfileError, match="cannot be made"):
        SqliteProfiles(tmp_path / "blocked" / FILE)


async def test_profiles_keep_by_id_for_as_long_as_is_set(tmp_path: Path) -> None:
    now = 100 * DAY
    settings = ProfileSettings("embedded", tmp_path, days=10, most=3)
    profiles = open_profiles(settings)
    assert profiles is not None and not list(tmp_path.iterdir())  # nothing before it is used
    profiles._clock = lambda: now
    await profiles.remember("shop", "anne", [event("old", 89 * DAY), event("a", 95 * DAY), UserEvent("b")])
    assert await profiles.read("shop", "anne") == [event("b", now), event("a", 95 * DAY)]
    assert await profiles.read("shop", "Anne") == []
    now = 105.5 * DAY
    profiles.add("shop", "ben", [event("bens", 95.6 * DAY)])  # which has more than an hour to go
    assert b"bens" in _bytes(tmp_path)
    now = 106 * DAY
    assert await profiles.read("shop", "anne") == [event("b", 100 * DAY)]
    assert b"bens" not in _bytes(tmp_path)  # whoever reads: ben never came again
    assert await profiles.forget("anne") == 1
    forgotten = profiles.forgotten()
    assert "anne" in forgotten and "ben" not in forgotten and len(forgotten) == 1
    assert b"anne" not in _bytes(tmp_path)
    profiles.close()


def test_settings_that_cannot_be_used_are_refused_with_what_to_do(tmp_path: Path) -> None:
    assert open_profiles(ProfileSettings("off", tmp_path)) is None
    with pytest.raises(ProfileError, match=r"redis://HOST") as error:
        open_profiles(ProfileSettings("http://u:password@host", tmp_path))
    assert "password" not in str(error.value)
    with pytest.raises(ProfileError, match="TANDEM_SERVE_PROFILE_KEY"):
        open_profiles(ProfileSettings("redis://127.0.0.1:1/0", tmp_path))
    with pytest.raises(ProfileError, match="no Redis URL"):
        RedisProfiles("nothing")


async def test_a_redis_that_does_not_answer_is_named_without_what_was_sent(tmp_path: Path) -> None:
    profiles = open_profiles(ProfileSettings("redis://127.0.0.1:1/0", tmp_path, key=KEY))
    assert isinstance(profiles, Profiles)
    with pytest.raises(ProfileError, match="ConnectionError") as error:
        await profiles.remember("shop", "anne", [UserEvent("secret-product")])
    assert "secret" not in str(error.value) and "anne" not in str(error.value)


def _bytes(folder: Path) -> bytes:
    """All bytes of all files."""
    found = b""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                found += path.read_bytes()
            except FileNotFoundError:  # Redis renames
                continue
    return found
