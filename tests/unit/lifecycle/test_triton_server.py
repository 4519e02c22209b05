"""Installing and starting a server of our own; what it then does is tested against the real one."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from shops import environment

from core.errors import TandemError
from lifecycle import triton_server
from lifecycle.triton_server import TritonNotInstalled, install


def server(folder: Path, script: str) -> Path:
    """A folder whose server is this shell script."""
    program = folder / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_without_a_server_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with (
        pytest.raises(TritonNotInstalled, match="`tandem triton install` puts it there"),
        triton_server.triton_server(tmp_path / "none", tmp_path / "models"),
    ):
        pass


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    folder = server(tmp_path / "server", "echo no luck; exit 3")
    with (
        pytest.raises(TandemError, match="ended with status 3") as error,
        triton_server.triton_server(folder, tmp_path / "models"),
    ):
        pass
    log = tmp_path / "models" / "server.log"
    assert str(log) in str(error.value) and "no luck" in log.read_text()


def test_a_server_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(triton_server, "_START_SECONDS", 0.3)
    monkeypatch.setattr(
        triton_server.subprocess,
        "Popen",
        lambda *given, **options: started.append(popen(*given, **options)) or started[0],
    )
    folder = server(tmp_path / "server", "exec sleep 60")
    with pytest.raises(TandemError, match="did not answer"), triton_server.triton_server(folder, tmp_path / "models"):
        pass
    assert started[0].returncode is not None


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    folder = server(tmp_path / "server", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    code = (
        "import sys; from pathlib import Path; from lifecycle.triton_server import triton_server\n"
        "with triton_server(Path(sys.argv[1]), Path(sys.argv[2])): pass"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "models")]
    with subprocess.Popen(command, env=environment()) as process:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        child = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
        assert child.exists()
        process.kill()
    until(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_its_environment_is_this_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/other")
    given = triton_server._environment(tmp_path)
    assert given["LD_LIBRARY_PATH"].split(":")[1:] == [str(tmp_path / "nvidia_pytriton.libs"), "/other"]
    assert given["PATH"].startswith(str(Path(sys.executable).parent))
    assert str(Path(pytest.__file__).parents[1]) in given["PYTHONPATH"].split(":")


def test_a_wheel_that_cannot_be_had_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stderr="WARNING: slow\nERROR: No matching distribution\nERROR: more\n")
    monkeypatch.setattr(triton_server.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(TandemError) as error:
        install(tmp_path / "server")
    assert str(error.value).endswith("cannot be downloaded: ERROR: No matching distribution")
    assert not (tmp_path / "server").exists()


def test_what_is_installed_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(triton_server.subprocess, "run", run)
    (tmp_path / f"{triton_server.WHEEL}-python{triton_server._python()}").touch()
    assert not install(tmp_path)
