"""`tandem search-many` against a service with real models."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from shops import command, environment

from core.errors import TandemError
from core.releases import ReleaseStore
from lifecycle.batches import read_searches
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), timeout=60)


async def test_a_file_is_answered_and_a_run_that_was_cut_off_goes_on(indexed: ReleaseStore, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    queries = [json.dumps(f"{color} kettle") for color in ("red", "blue", "green")]
    others = ['{"query": "lamp", "top_k": 2}', "", '{"key": "mine", "search": {"query": ""}}']
    source.write_text("\n".join(queries + others) + "\n")
    settings = ServeSettings(releases=indexed.root, address="127.0.0.1:0", grace_seconds=5)
    async with run_server(settings) as server:
        arguments = ("search-many", source, "--output", output, "--address", server.address, "--top-k", "1")
        whole = await asyncio.to_thread(run, *arguments)
        lines = output.read_text().splitlines(keepends=True)
        output.write_text("".join(lines[:2]) + lines[2][:20])  # as if it was killed
        again = await asyncio.to_thread(run, *arguments)
        lines_again = output.read_text().splitlines()
        done = await asyncio.to_thread(run, *arguments)
        source.write_text("\n".join(['"a"', *queries, '"b"']) + "\n")
        other = await asyncio.to_thread(run, *arguments)
    answers = [json.loads(line) for line in lines]
    assert [answer["key"] for answer in answers] == ["1", "2", "3", "4", "mine"]
    assert [len(answer["response"]["hits"]) for answer in answers[:4]] == [1, 1, 1, 2]
    assert answers[4]["error"]["code"] == 3 and "query: is empty" in answers[4]["error"]["message"]
    assert "5 searches answered; 1 with an error" in whole.stdout
    assert [json.loads(line)["key"] for line in lines_again] == ["1", "2", "3", "4", "mine"]
    assert [json.loads(line)["sequence"] for line in lines_again] == ["1", "2", "3", "4", "5"]
    assert "5 searches answered, 2 of them before; 1 with an error" in again.stdout
    assert "5 searches answered, 5 of them before; 0 with an error" in done.stdout
    assert other.returncode == 2 and other.stderr.startswith(f"tandem: {output}: its last line is of search 'mine'")


@pytest.mark.parametrize("line", ["{", "3", '{"query": 3}', '{"qeury": "x"}', '{"search": []}', '{"top_k": "many"}'])
def test_a_line_at_fault_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "in.jsonl").write_text(f'"lamp"\n{line}\n')
    with pytest.raises(TandemError, match=r"in\.jsonl, line 2: .*; give a query in quotes") as error:
        list(read_searches(tmp_path / "in.jsonl", "", 1))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TandemError, match="cannot be read: No such file"):
        list(read_searches(tmp_path / "none", "", 1))
    (tmp_path / "in.jsonl").write_bytes(b'"caf\xe9"\n')
    with pytest.raises(TandemError, match="is not UTF-8"):
        list(read_searches(tmp_path / "in.jsonl", "", 1))
