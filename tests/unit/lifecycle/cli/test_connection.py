"""The key that a command shows."""

from pathlib import Path

import pytest

from core.errors import TandemError
from lifecycle.cli.connection import read_api_key


def test_a_key_is_of_the_file_or_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_API_KEY", raising=False)
    assert read_api_key(None) == ""
    monkeypatch.setenv("TANDEM_API_KEY", " tdm_environment\n")
    assert read_api_key(None) == "tdm_environment"
    (tmp_path / "key").write_text("tdm_file\n")
    assert read_api_key(tmp_path / "key") == "tdm_file"


@pytest.mark.parametrize("data", [b"", b"  \n", b"two words", b"tdm_\x00", b"\xff\xfe", b"tdm_a\ntdm_b"])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(TandemError, match="key") as error:
        read_api_key(tmp_path / "key")
    assert "two words" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(TandemError, match="cannot be read"):
        read_api_key(tmp_path / "other")
