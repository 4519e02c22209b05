"""Whatever goes wrong is one line that says what to do, and exit status 2."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import publish
from shops import ROOT, environment

from core.errors import FeedError
from core.releases import ReleaseStore
from lifecycle.cli import app as cli
from lifecycle.cli.failures import TRACEBACK, describe_failure


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FeedError("x: is\nno feed"), "x: is no feed"),
        (PermissionError(errno.EACCES, "Permission denied", "R/.lock"), "R/.lock: Permission denied; run it as a user"),
        (OSError(errno.EROFS, "Read-only file system", "R/x"), "R/x: Read-only file system; name a place that"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space and run again"),
        (OSError(errno.EFBIG, "File too large", "a"), "a: File too large; allow larger files (ulimit -f)"),
        (OSError(errno.EXDEV, "Invalid link", "a", None, "b"), "a and b: Invalid link; check the path"),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"\xff"), "\udcff: File name too long; check the path"),
        (OSError(errno.ELOOP, "Too many links", "a"), "a: Too many links; check the path"),
        (OSError("3 requested and 0 written"), f"3 requested and 0 written; {TRACEBACK}=1 shows where"),
        (OSError(), f"OSError; {TRACEBACK}=1 shows where"),
        (ModuleNotFoundError(name="faiss.x"), "this command needs faiss: pip install 'tandem-retrieval[cpu]'"),
        (
            ModuleNotFoundError(name="tritonclient"),
            "this command needs tritonclient: pip install 'tandem-retrieval[triton]'",
        ),
        (ModuleNotFoundError(name="torch"), "this command needs torch: pip install 'tandem-retrieval[train]'"),
        (MemoryError(), "there is not enough memory; free some"),
        (RuntimeError("odd\nand more"), f"unexpected RuntimeError: odd and more; {TRACEBACK}=1 shows where"),
        (KeyError("k"), f"unexpected KeyError: 'k'; {TRACEBACK}=1 shows where"),
    ],
)
def test_a_failure_is_one_line(error: Exception, line: str) -> None:
    reported = describe_failure(error)
    assert reported.startswith(line) and "\n" not in reported


def test_a_long_failure_is_cut() -> None:
    assert len(describe_failure(ValueError("x" * 10_000))) == 2_000


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O", "f"), RuntimeError("odd"), RecursionError("deep")])
def test_the_command_ends_with_a_line_and_shows_where_if_asked(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    for asked in (False, True):
        if asked:
            monkeypatch.setenv(TRACEBACK, "1")
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr().err
        assert end.value.code == 2
        assert (output.count("\n") == 1, "Traceback" in output) == (not asked, asked)


def test_a_signal_that_ends_the_process_shows_where_it_was() -> None:
    code = (
        "import os, signal\n"
        "from lifecycle.cli.failures import watch_for_crashes\n"
        "def read_what_is_gone():\n"
        "    os.kill(os.getpid(), signal.SIGBUS)\n"
        "watch_for_crashes()\n"
        "read_what_is_gone()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in done.stderr and "in read_what_is_gone" in done.stderr


# The owner without the right to override permissions, whether or not it is root.
_AS_ANYBODY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(
    bool(_AS_ANYBODY) and shutil.which("setpriv") is None, reason="root needs setpriv to give up rights"
)
@pytest.mark.parametrize("command", ["index", "rollback", "rollback --to", "releases --keep 1"])
def test_who_may_not_write_gets_a_line(tmp_path: Path, command: str) -> None:
    store = ReleaseStore(tmp_path / "releases")
    first, second = (
        publish(store, tmp_path / "scratch", {"products.arrow": bytes([n])}, n).release_id for n in range(2)
    )
    feed = tmp_path / "feed.jsonl"
    feed.write_text('{"id": "1", "title": "red mug"}\n')
    name, *options = command.split()
    options += [first] if options == ["--to"] else []
    options += (
        ["--catalog", str(feed), "--name", "shop", "--encoder", str(encoder(tmp_path))] if name == "index" else []
    )
    folders = [path for path in (store.root, *store.root.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    arguments = [*_AS_ANYBODY, sys.executable, "-m", "lifecycle.cli", name, *options, "--releases", str(store.root)]
    done = subprocess.run(arguments, env=environment(), cwd=ROOT, capture_output=True, text=True)
    for folder in folders:
        folder.chmod(0o755)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "Permission denied" in done.stderr and str(store.root) in done.stderr
    assert store.current("shop") == second


def encoder(folder: Path) -> Path:
    """A folder that is taken for towers by its name; nothing is read of it before the store is locked."""
    (folder / "tower.json").write_text("{}")
    return folder
