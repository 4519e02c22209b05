"""Commands beside the service, as processes of their own: small shells stand for training."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lifecycle.background import Background


@pytest.fixture
def background(tmp_path: Path) -> Background:
    return Background(tmp_path / "logs" / "training.log")


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_lines_are_handed_on_as_they_come_and_the_status_is_told(background: Background) -> None:
    lines: list[str] = []
    assert background.run(shell("echo one; echo two; exit 3"), lines.append) == 3
    assert lines == ["one", "two"]
    assert background.run(shell("exit 0"), lines.append) == 0


def test_it_runs_at_low_priority(background: Background) -> None:
    lines: list[str] = []
    background.run([sys.executable, "-c", "import os; print(os.nice(0))"], lines.append)
    assert int(lines[0]) == min(os.nice(0) + 10, 19)


def test_the_last_line_of_the_last_commands_errors_is_kept(background: Background) -> None:
    assert background.last_error() == ""
    background.run(shell("echo first >&2"), print)
    background.run(shell("echo why >&2; echo >&2; exit 1"), print)
    assert background.last_error() == "why"


def test_stopping_ends_the_command_with_all_that_it_started(background: Background) -> None:
    lines: list[str] = []
    begun = threading.Event()
    result: list[int | None] = []

    def tell(line: str) -> None:
        lines.append(line)
        begun.set()

    thread = threading.Thread(target=lambda: result.append(background.run(shell("sleep 600 & echo $!; wait"), tell)))
    thread.start()
    assert begun.wait(30)
    background.stop()
    thread.join(30)
    assert result == [None]
    with pytest.raises(ProcessLookupError):  # zombies of others' children are reaped by init at once or soon
        wait_until_gone(int(lines[0]))


def wait_until_gone(pid: int) -> None:
    """Raises ProcessLookupError once there is no such process, or only what is left of an ended one."""
    for _ in range(30_000):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            raise ProcessLookupError
        threading.Event().wait(0.001)


def test_one_that_does_not_listen_is_killed(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifecycle.background._STOP_SECONDS", 0.2)
    begun = threading.Event()
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    result: list[int | None] = []
    command = [sys.executable, "-c", deaf]
    thread = threading.Thread(target=lambda: result.append(background.run(command, lambda _: begun.set())))
    thread.start()
    assert begun.wait(30)
    background.stop()
    thread.join(30)
    assert result == [None]


def test_nothing_begins_once_it_was_stopped(background: Background, tmp_path: Path) -> None:
    background.stop()
    assert background.run(shell(f"touch {tmp_path / 'begun'}"), print) is None
    assert not (tmp_path / "begun").exists()


def test_its_input_closes_with_the_process_that_runs_it(tmp_path: Path) -> None:
    """As a killed service leaves it: the child reads the end of its input."""
    child = f"cat; touch {tmp_path / 'ended'}"
    code = (
        "import os, pathlib; from lifecycle.background import Background\n"
        f"Background(pathlib.Path({str(tmp_path / 'log')!r})).run(['sh', '-c', 'echo up; {child}'], "
        "lambda line: os.kill(os.getpid(), 9))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    for _ in range(30_000):
        if (tmp_path / "ended").exists():
            return
        threading.Event().wait(0.001)
    raise AssertionError("the child still waits")
