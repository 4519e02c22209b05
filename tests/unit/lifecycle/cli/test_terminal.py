import subprocess
import sys

_CLOSED = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


def test_a_command_whose_output_is_closed_runs() -> None:
    code = "from lifecycle.cli.terminal import print_json, print_line; print_line('a'); print_json({'a': 1})"
    done = subprocess.run([sys.executable, "-c", _CLOSED, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
