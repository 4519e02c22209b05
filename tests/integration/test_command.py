"""The command in a process of its own: serving until a signal, searching, and errors on one line."""

import json
import signal
import socket
import subprocess

import pytest
from shops import command, environment, process

from core.releases import ReleaseStore
from tandem.client import SearchClient
from tandem.v1 import search_pb2


@pytest.mark.parametrize(
    ("sign", "encoding"),
    [
        (signal.SIGTERM, {"PYTHONIOENCODING": "ascii"}),
        (signal.SIGINT, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
)
def test_the_command_serves_until_a_signal_and_ends_well_whatever_the_terminal_shows(
    indexed: ReleaseStore, sign: signal.Signals, encoding: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in encoding.items():
        monkeypatch.setenv(name, value)
    with process("serve", "--releases", indexed.root, "--address", "127.0.0.1:0") as server:
        assert server.stdout is not None and server.stderr is not None
        words = server.stdout.readline().split()
        assert words[:4] == ["tandem:", "serving", "release", indexed.current("default")]
        with SearchClient(words[-1], 30) as client:
            client.wait()
            assert len(client.search(search_pb2.SearchRequest(query="lamp", top_k=3)).hits) == 3
        server.send_signal(sign)
        assert server.wait(20) == 0
        assert "Traceback" not in server.stderr.read()


def test_an_address_that_cannot_be_served_is_told_on_one_line(indexed: ReleaseStore) -> None:
    def serve(address: str) -> tuple[int, list[str]]:
        arguments = command("serve", "--releases", indexed.root, "--address", address)
        result = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60)
        return result.returncode, result.stderr.splitlines()

    status, lines = serve("127.0.0.1:99999999")
    assert status == 2 and len(lines) == 1 and lines[0].startswith("tandem: setting address:")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = serve(address)
    assert status == 2
    reported = [line for line in lines if line.startswith("tandem: ")]
    assert reported == [f"tandem: cannot listen on {address}: the port is taken or not allowed; choose another"]
    assert not [line for line in lines if "Traceback" in line]


def test_the_search_command_prints_the_answer_as_json(indexed: ReleaseStore) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with process("serve", "--releases", indexed.root, "--address", address):  # the search waits for it
        arguments = command("search", "lamp", "--address", address, "--json", "--timeout", 20)
        result = json.loads(subprocess.run(arguments, env=environment(), capture_output=True, check=True).stdout)
    assert (result["release_id"], len(result["hits"])) == (indexed.current("default"), 10)
    stages = [score["stage"] for score in result["hits"][0]["stage_scores"]]
    assert stages == ["retrieve", "lexical", "fuse", "rescore", "mix"]
