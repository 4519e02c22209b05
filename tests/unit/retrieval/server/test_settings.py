"""What each of several serving processes gets."""

import json
import os

import pytest
from pydantic import SecretStr

from core.config import load_settings
from core.errors import TandemError
from retrieval.server.main import _options
from retrieval.server.settings import ServeSettings


def test_requests_in_flight_add_up_and_caches_are_divided() -> None:
    settings = ServeSettings(processes=3, max_in_flight=64, query_cache_bytes=10, score_cache_bytes=0)
    shares = [settings.share(number) for number in range(3)]
    assert [share.max_in_flight for share in shares] == [22, 21, 21]
    assert {(share.query_cache_bytes, share.score_cache_bytes) for share in shares} == {(3, 0)}
    assert {share.processes for share in shares} == {3}
    assert [ServeSettings(processes=3, max_in_flight=2).share(n).max_in_flight for n in range(3)] == [1, 1, 1]


def test_one_process_keeps_everything() -> None:
    settings = ServeSettings(max_in_flight=5)
    assert settings.share(0) == settings


def test_as_much_is_let_in_as_cores_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert ServeSettings().places == 24
    assert [ServeSettings(processes=3).share(number).places for number in range(3)] == [8, 8, 8]
    assert ServeSettings(engine="triton").places == ServeSettings(device="cuda").places == 64
    assert ServeSettings(engine="triton", max_in_flight=7).places == 7


def test_cores_are_divided_unless_lanes_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [ServeSettings(processes=n).lanes_each for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    assert ServeSettings(processes=4, lanes=3).lanes_each == 3


def test_connections_to_several_processes_are_shared_out_sooner() -> None:
    def options(**given: float) -> dict[str, int]:
        return dict(_options(ServeSettings(**given)))  # type: ignore[arg-type]

    age, reuse = "grpc.max_connection_age_ms", "grpc.so_reuseport"
    assert (options()[age], options()[reuse]) == (600_000, 0)
    assert (options(processes=2)[age], options(processes=2)[reuse]) == (60_000, 1)
    assert options(processes=2, max_connection_age=7.5)[age] == options(max_connection_age=7.5)[age] == 7500


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_SERVE_PROCESSES", "4")
    assert load_settings(ServeSettings, None, {}).processes == 4
    monkeypatch.setenv("TANDEM_SERVE_PROCESSES", "0")
    with pytest.raises(TandemError, match=r"setting processes: .*greater than or equal to 1"):
        load_settings(ServeSettings, None, {})


def test_the_floor_is_a_third_of_the_places_unless_it_is_set_and_shared_out_too() -> None:
    assert [ServeSettings(max_in_flight=places).least_places for places in (1, 3, 12, 64)] == [1, 1, 4, 22]
    assert ServeSettings(max_in_flight=12, least_in_flight=6).least_places == 6
    assert ServeSettings(max_in_flight=12, least_in_flight=40).least_places == 12
    shares = [ServeSettings(processes=3, max_in_flight=64, least_in_flight=30).share(n) for n in range(3)]
    assert [share.least_places for share in shares] == [10, 10, 10]
    assert ServeSettings(processes=8, max_in_flight=16, least_in_flight=2).share(0).least_places == 1


def test_a_serving_process_gets_the_secrets_that_no_text_shows() -> None:
    settings = ServeSettings(profile_key=SecretStr("sixteen letters!"), processes=2)
    again = ServeSettings.model_validate(json.loads(json.dumps(settings.share(1).for_process())))
    assert again == settings.share(1) and again.profile_key.get_secret_value() == "sixteen letters!"
    assert "sixteen" not in f"{settings}{settings.model_dump_json()}"


def test_addresses_with_passwords_are_not_shown() -> None:
    url = "redis://shop:secret@store:6379/0"
    settings = ServeSettings(profiles=url, change_log=url, profile_key=SecretStr("sixteen letters!"))
    assert "secret" not in f"{settings} {settings!r}"
