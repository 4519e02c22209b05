"""Which engine a release gets, and what becomes of it while there is no Triton server."""

import socket
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from core.errors import MissingPackageError
from engine.fake import FakeEngine
from engine.fallback import FallbackEngine
from engine.local_search import LocalSearchEngine
from engine.protocol import EngineError
from engine.triton import residence as triton_residence
from engine.triton.engine import TritonEngine
from retrieval.release import engines
from retrieval.release.engines import engine_maker, repository_of
from retrieval.release.loaded import embedded_engine
from retrieval.server.settings import ServeSettings


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Residence:
    """Does not load; remembers whether it was left."""

    made: ClassVar["list[Residence]"] = []

    def __init__(self, *given: object) -> None:
        self.given = given
        self.left = False
        self.inputs: dict[str, tuple[str, ...]] = {}
        self.error: Exception | None = EngineError("nobody there")
        Residence.made.append(self)

    def load(self) -> None:
        if self.error is not None:
            raise self.error

    def leave(self) -> None:
        self.left = True


@pytest.fixture
def residences(monkeypatch: pytest.MonkeyPatch) -> list[Residence]:
    Residence.made = []
    monkeypatch.setattr(triton_residence, "Residence", Residence)
    return Residence.made


def parts() -> tuple[Any, ...]:
    """A release's folder, manifest, towers and no ranker, as far as they are looked at."""
    index = {"dimensions": 4, "settings": {}}
    snapshot = SimpleNamespace(index=index, products=9)
    manifest = SimpleNamespace(catalog="shop", release_id="r-1", snapshot=snapshot)
    return Path("release"), manifest, SimpleNamespace(model_path=lambda side: Path(side)), None


def test_models_run_in_process_unless_told_otherwise() -> None:
    made = engine_maker(ServeSettings(device="cpu", processes=2, lanes=3))
    assert isinstance(made, partial) and made.func is embedded_engine and made.keywords["lanes"] == 3


def test_the_repository_lies_among_the_releases_unless_told_otherwise(tmp_path: Path) -> None:
    assert repository_of(ServeSettings(releases=tmp_path)) == tmp_path / "triton"
    assert repository_of(ServeSettings(triton_repository=tmp_path)) == tmp_path


def test_words_cannot_open_a_release_without_triton(residences: list[Residence]) -> None:
    with pytest.raises(EngineError, match="nobody there"):
        engine_maker(ServeSettings(engine="triton"))(*parts())
    assert [residence.left for residence in residences] == [True]


def test_without_triton_s_client_serving_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engine.triton")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(MissingPackageError, match=r"^Triton needs pip install 'tandem-retrieval\[triton\]'$"):
        engine_maker(ServeSettings(engine="triton"))


def test_models_in_process_can(residences: list[Residence], monkeypatch: pytest.MonkeyPatch) -> None:
    second = FakeEngine(9)
    monkeypatch.setattr(engines, "embedded_engine", lambda *_, **__: second)
    engine = engine_maker(ServeSettings(engine="triton", fallback="embedded"))(*parts())
    assert isinstance(engine, LocalSearchEngine) and isinstance(engine.remote, FallbackEngine)
    assert not residences[0].left
    engine.close()
    assert residences[0].left and second.closed


def test_what_fails_later_gives_the_lease_up(residences: list[Residence], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(engines, "embedded_engine", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        engine_maker(ServeSettings(engine="triton", fallback="embedded"))(*parts())
    assert residences[0].left


def test_a_release_that_triton_has_is_run_there(residences: list[Residence], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Residence, "load", lambda self: None)
    engine = engine_maker(ServeSettings(engine="triton"))(*parts())
    assert isinstance(engine, LocalSearchEngine) and isinstance(engine.remote, TritonEngine)
    engine.close()
    assert residences[0].left


def test_nobody_listening_is_one_line(nobody: str) -> None:
    with pytest.raises(EngineError) as error, triton_residence._connected(nobody):
        pass
    assert str(error.value).startswith(f"Triton at {nobody}: UNAVAILABLE: ") and "\n" not in str(error.value)
