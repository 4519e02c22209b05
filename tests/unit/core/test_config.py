from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.config import load_settings
from core.errors import TandemError


class Inner(BaseModel):
    depth: int = Field(default=1, ge=0)
    breadth: int = 10


class Sample(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    name: str = "default"
    count: int = Field(default=1, ge=1)
    inner: Inner = Inner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.toml"
    path.write_text('name = "file"\ncount = 2\n[inner]\ndepth = 2\nbreadth = 20\n')
    return path


def test_defaults_stand_when_nothing_is_said() -> None:
    settings = load_settings(Sample, None, {"name": None})
    assert (settings.name, settings.count, settings.inner) == ("default", 1, Inner(depth=1, breadth=10))


def test_the_file_wins_over_defaults(file: Path) -> None:
    settings = load_settings(Sample, file, {})
    assert (settings.name, settings.count, settings.inner) == ("file", 2, Inner(depth=2, breadth=20))


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_NAME", "environment")
    settings = load_settings(Sample, file, {})
    assert (settings.name, settings.count) == ("environment", 2)


def test_one_nested_variable_leaves_the_other_nested_settings_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPLE_INNER__DEPTH", "3")
    assert load_settings(Sample, file, {}).inner == Inner(depth=3, breadth=20)


def test_options_win_over_everything_unless_they_are_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_NAME", "environment")
    monkeypatch.setenv("SAMPLE_COUNT", "3")
    settings = load_settings(Sample, file, {"name": "option", "count": None})
    assert (settings.name, settings.count) == ("option", 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("count = 0", "setting count:"),
        ("unknown = 1", "setting unknown:"),
        ("[inner]\ndepth = -1", "setting inner.depth:"),
        ("count = ", "is not TOML"),
        ("count = " + "[" * 3_000, "is nested too deeply for settings"),
        ("count = " + "9" * 6_000, "is not TOML"),
        ("name = '\udcff'", "is not TOML"),
    ],
)
def test_a_setting_at_fault_is_named_on_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(TandemError, match=words) as error:
        load_settings(Sample, path, {})
    assert "\n" not in str(error.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_COUNT", "many")
    with pytest.raises(TandemError, match="setting count:"):
        load_settings(Sample, None, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TandemError, match="no such settings file"):
        load_settings(Sample, tmp_path / "none.toml", {})
    with pytest.raises(TandemError, match="cannot be read"):
        load_settings(Sample, tmp_path, {})
