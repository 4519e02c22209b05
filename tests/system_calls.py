"""Runs work in a child process and stops it at every system call that changes files: to look, to refuse it, to kill.

By ptrace, so that calls of C libraries count as well. Linux on x86-64 alone; `unavailable` states why it cannot run.
"""

import ctypes
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _CALL_INFO = 0, 6, 24, 0x4200, 0x420E
_STOPS_ARE_MARKED, _ENDS_WITH_US = 1, 1 << 20
_RESULT, _COUNT, _NUMBER = 10 * 8, 12 * 8, 15 * 8  # places of registers: rax, rdx, orig_rax
_ENTRY, _EXIT = 1, 2
_CREATES = os.O_CREAT | os.O_TRUNC
_BYTES_WRITTEN = {1: "write", 18: "pwrite64"}  # their third argument is how many
_CALLS = _BYTES_WRITTEN | {
    2: "open", 20: "writev", 40: "sendfile", 74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate",
    82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 86: "link", 87: "unlink", 88: "symlink", 90: "chmod",
    91: "fchmod", 257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 265: "linkat", 268: "fchmodat",
    277: "sync_file_range", 285: "fallocate", 296: "pwritev", 316: "renameat2", 326: "copy_file_range",
}  # fmt: skip
SYNCS = ("fsync", "fdatasync")
TAKES_SPACE = (
    *_BYTES_WRITTEN.values(), "writev", "pwritev", "sendfile", "copy_file_range", "fallocate", "open", "openat",
    "creat", "mkdir", "mkdirat", "link", "linkat", "rename", "renameat", "renameat2", *SYNCS,
)  # fmt: skip


class Act(Enum):
    """What becomes of a call."""

    let = "let"
    kill = "kill"  # before it is carried out
    tear = "tear"  # a write is carried out in half, then the process is killed; other calls are carried out
    refuse = "refuse"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is about to be carried out, the `number`th of the work, from 1.

    `handle`, `bytes` and `offset` are its first, third and fourth argument, for calls that take such.
    """

    number: int
    name: str
    pid: int
    handle: int
    bytes: int
    offset: int

    @property
    def file(self) -> Path:
        """What the handle is of, for calls that take one."""
        return Path(f"/proc/{self.pid}/fd/{self.handle}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work ended: killed, or by itself, with an error or none."""

    killed: bool
    error: str
    lines: list[str]
    calls: int


Decide = Callable[[Call], tuple[Act, int]]
"""Called before each call; returns what becomes of it, and by which errno it is refused."""


def let_all(_: Call) -> tuple[Act, int]:
    """Carries out every call."""
    return Act.let, 0


def run_traced(
    work: Callable[[Callable[[str], None]], None],
    decide: Decide = let_all,
    after: Callable[[Call, int], None] = lambda *_: None,
) -> Outcome:
    """Runs `work` in a child, which may report lines by its argument; `after` sees each call with its result.

    The child is a fork: its threads, its caches and what it does not write are lost.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _be_traced(work, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        killed, calls = _follow(pid, writing, decide, after)
        lines = pipe.read().splitlines()
    error = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "")
    return Outcome(killed, error, [line for line in lines if not line.startswith("error: ")], calls)


def unavailable() -> str:
    """Why no process can be traced here; empty where it can be."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "system calls are traced on Linux on x86-64 alone"
    try:
        seen: list[str] = []
        run_traced(lambda _: os.close(os.open(os.devnull, os.O_WRONLY | os.O_TRUNC)), lambda call: _note(seen, call))
    except OSError as error:
        return f"no process can be traced here: {error}"
    return "" if seen else "no process can be traced here"


def _note(seen: list[str], call: Call) -> tuple[Act, int]:
    seen.append(call.name)
    return Act.let, 0


def _be_traced(work: Callable[[Callable[[str], None]], None], pipe: int) -> None:
    status = 1
    try:
        _ptrace(_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work(lambda line: _send(pipe, line))
        status = 0
    except Exception as error:
        _send(pipe, f"error: {type(error).__name__}: {' '.join(str(error).split())}")
        if os.environ.get("TANDEM_TRACEBACKS"):
            traceback.print_exc()
    finally:
        os._exit(status)


def _send(pipe: int, line: str) -> None:
    os.write(pipe, f"{line}\n".encode())


def _follow(pid: int, pipe: int, decide: Decide, after: Callable[[Call, int], None]) -> tuple[bool, int]:
    """Whether the process was killed, and how many calls it made."""
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise OSError(f"the traced process ended with {status}")
    _ptrace(_SETOPTIONS, pid, 0, _STOPS_ARE_MARKED | _ENDS_WITH_US)
    number, under_way, act, errno, passed_on = 0, None, Act.let, 0, 0
    while True:
        _ptrace(_SYSCALL, pid, 0, passed_on)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return os.WIFSIGNALED(status), number
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            passed_on = os.WSTOPSIG(status)
            continue
        passed_on = 0
        kind, values = _call_info(pid)
        if kind == _ENTRY:
            under_way = _relevant(pid, pipe, number + 1, *values)
            if under_way is None:
                continue
            number += 1
            act, errno = decide(under_way)
            _prepare(under_way, act)
        elif kind == _EXIT and under_way is not None:
            if act is Act.refuse:
                _ptrace(_POKEUSER, pid, _RESULT, -errno)
            after(under_way, -errno if act is Act.refuse else values[0])
            under_way = None
        if act is Act.kill or (act is Act.tear and kind == _EXIT):
            os.kill(pid, signal.SIGKILL)
            while os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
                pass
            return True, number


def _prepare(call: Call, act: Act) -> None:
    """Changes what the kernel is about to do."""
    if act is Act.refuse:
        _ptrace(_POKEUSER, call.pid, _NUMBER, -1)  # no such call
    elif act is Act.tear and call.name in _BYTES_WRITTEN.values():
        _ptrace(_POKEUSER, call.pid, _COUNT, call.bytes // 2)


def _relevant(pid: int, pipe: int, number: int, kind: int, *arguments: int) -> Call | None:
    name = _CALLS.get(kind)
    if name is None or (name == "write" and arguments[0] in (1, 2, pipe)):
        return None
    if name in ("open", "openat") and not arguments[1 if name == "open" else 2] & _CREATES:
        return None
    return Call(number, name, pid, arguments[0], arguments[2], arguments[3])


def _call_info(pid: int) -> tuple[int, tuple[int, ...]]:
    """What kind of stop it is; at entry the call's number and arguments, at exit its result."""
    buffer = ctypes.create_string_buffer(128)
    _ptrace(_CALL_INFO, pid, len(buffer), ctypes.addressof(buffer))
    kind = buffer.raw[0]
    return kind, struct.unpack_from("<7Q" if kind == _ENTRY else "<q", buffer.raw, 24)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
