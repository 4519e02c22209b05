"""Reports every failure of the command in one line."""

import errno
import faulthandler
import os
import sys
import traceback

from core.errors import TandemError

TRACEBACK = "TANDEM_TRACEBACK"
_LONGEST = 2_000

_REMEDIES = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space, or ask for more, and run again",
    errno.EFBIG: "allow larger files (ulimit -f) and run again",
    errno.EACCES: "run it as a user who may, or name another place",
    errno.EPERM: "run it as a user who may, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.EMFILE: "allow more open files (ulimit -n) and run again",
    errno.ENFILE: "close what holds files open and run again",
    errno.ENOMEM: "free some memory and run again",
    errno.EIO: "look after the disk, then run again",
    errno.ESTALE: "mount the file system anew and run again",
}
# The extras that install what a command may miss; all other libraries are of `train`.
_EXTRAS = {
    "cryptography": "identity",
    "faiss": "cpu",
    "jwt": "identity",
    "lightgbm": "train",
    "matplotlib": "track",
    "mlflow": "track",
    "rjieba": "chinese",
    "tritonclient": "triton",
}
_CHECK = "check the path and run again"


def watch_for_crashes() -> None:
    """Makes fatal signals print a traceback, such as SIGBUS, where a mapped file was cut short."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def describe_failure(error: BaseException) -> str:
    """One line of what went wrong and what to do."""
    if isinstance(error, TandemError):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError):  # the base is installed without what is optional
        library = (error.name or "a library").partition(".")[0]
        text = f"this command needs {library}: pip install 'tandem-retrieval[{_EXTRAS.get(library, 'train')}]'"
    elif isinstance(error, OSError):
        text = _describe_os_error(error)
    elif isinstance(error, MemoryError):
        text = "there is not enough memory; free some, or run it on a larger machine"
    else:
        text = f"unexpected {type(error).__name__}: {error}; {TRACEBACK}=1 shows where"
    line = " ".join(text.splitlines())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def report_failure(error: BaseException) -> None:
    """Prints it to standard error, with the traceback where the environment asks for it."""
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    print(f"tandem: {describe_failure(error)}", file=sys.stderr)


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    remedy = _REMEDIES.get(error.errno or 0, _CHECK if names else f"{TRACEBACK}=1 shows where")
    return f"{' and '.join(names)}{': ' if names else ''}{reason}; {remedy}"
