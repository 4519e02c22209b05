"""Commands that run beside the service, at low priority, and never outlive it."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_STOP_SECONDS = 5.0
_NICE = 10


class Background:
    """Runs one command after another on the caller's thread, until another thread stops it."""

    def __init__(self, log: Path) -> None:
        """`log` gets what the commands write to standard error."""
        self.log = log
        self.stopped = False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: Sequence[str], on_line: Callable[[str], None]) -> int | None:
        """Passes each line that it prints to `on_line`; returns its exit status, or None when it was stopped.

        Its standard input is a pipe that nothing is written to, and closes when this process ends, however it does.
        """
        nice = ["nice", "-n", str(_NICE)] if shutil.which("nice") else []
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as errors:
            with self._lock:
                if self.stopped:
                    return None
                process = self._process = subprocess.Popen(
                    [*nice, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                    text=True, errors="replace", start_new_session=True,
                )  # fmt: skip
            with process:
                assert process.stdout is not None, "it was opened with pipes"
                for line in process.stdout:
                    on_line(line.rstrip())
        return None if self.stopped else process.returncode

    def stop(self) -> None:
        """Stops the running command and its children; no further command starts."""
        with self._lock:
            self.stopped = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                return

    def last_error(self) -> str:
        """The last line of the log, where a command reports why it failed."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
