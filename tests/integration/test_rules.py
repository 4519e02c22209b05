"""Rules published while a real service answers: taken up by every process, rolled back, and never half."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shops import process

from core.releases import ReleaseStore
from core.rule_store import RuleStore
from lifecycle.cli.app import main
from tandem.client import SearchClient
from tandem.v1 import search_pb2

RULES = """
[[rules]]
id = "kettles"
when = {{ phrases = ["kettles"] }}
redirect = "{redirect}"

[[rules]]
id = "lamps"
when = {{ words = ["lamp for desks"] }}
rewrite = "green desk lamp"
"""


class Command:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self._monkeypatch.setattr("sys.argv", ["tandem", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    log = logging.getLogger("tandem")
    level = log.level
    yield Command(monkeypatch, capsys)
    log.setLevel(level)


def write(path: Path, redirect: str) -> Path:
    path.write_text(RULES.format(redirect=redirect))
    return path


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def answers(address: str, query: str, number: int) -> list[search_pb2.SearchResponse]:
    """A connection for each, so that several processes answer."""
    result = []
    for _ in range(number):
        with SearchClient(address, 20.0) as client:
            result.append(client.search(search_pb2.SearchRequest(query=query, top_k=3)))
    return result


def test_rules_are_taken_up_rolled_back_and_never_damaged(store: ReleaseStore, tmp_path: Path, run: Command) -> None:
    file, kept = tmp_path / "rules.toml", RuleStore(store, "default")
    options = ("serve", "--releases", store.root, "--address", "127.0.0.1:0", "--processes", 2)
    with process(*options) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split()[-1]

        def redirects() -> set[str]:
            return {answer.redirect for answer in answers(address, "red kettle", 12)}

        first = answers(address, "red kettle", 1)[0]
        assert first.redirect == "" and not first.rules
        assert run("rules", "publish", write(file, "/one"), "--releases", store.root)[0] == 0
        until(lambda: redirects() == {"/one"})
        answer = answers(address, "red kettle", 1)[0]
        assert answer.release_id == first.release_id  # the same release, nothing was loaded or embedded
        assert [(effect.rule_id, effect.action) for effect in answer.rules] == [("kettles", "redirect")]
        rewritten = answers(address, "a desk lamp", 1)[0]
        assert rewritten.searched_query == "green desk lamp" and rewritten.rules[0].detail == "green desk lamp"

        page = tmp_path / "page.html"
        status, output, _ = run("explain", "red kettle", "--address", address, "--html", page, "--words", 1, "--json")
        whole = json.loads(output.partition("\n")[2])
        assert status == 0 and output.startswith(f"wrote {page}")
        assert {word["word"] for word in whole["hits"][0]["words"]} >= {"red", "kettle"}
        assert "/one" in page.read_text() and "kettles: redirect" in page.read_text()

        assert run("rules", "publish", write(file, "/two"), "--releases", store.root)[0] == 0
        until(lambda: redirects() == {"/two"})
        assert run("rules", "rollback", "--releases", store.root)[0] == 0
        until(lambda: redirects() == {"/one"})

        name, _ = kept.publish(kept.read(kept.versions()[1].name))
        path = kept.folder / f"{name}.json"
        path.write_bytes(path.read_bytes()[:-20])
        (kept.folder / "current").write_text("nonsense")
        file.write_text("")
        assert redirects() <= {"/one", "/two"}  # whichever was taken up before the damage
        assert run("rules", "publish", file, "--releases", store.root)[0] == 0
        until(lambda: redirects() == {""})
        server.terminate()
        assert server.wait(30) == 0


def test_the_commands(store: ReleaseStore, tmp_path: Path, run: Command) -> None:
    file = write(tmp_path / "rules.toml", "/one")
    assert run("rules", "check", file)[:2] == (0, f"{file}: 2 rules, sound\n")
    options = ("--query", "kettle", "--query", "desk lamp")
    status, output, error = run("rules", "try", file, *options, "--releases", store.root)
    assert (status, error.count("Traceback")) == (0, 0)
    assert "green desk lamp" in output and "2 of 2 queries change" in output
    queries = tmp_path / "queries.txt"
    queries.write_text("bed sheet\n\nkettle\nbed sheet\n")
    options = ("--queries", queries, "--releases", store.root, "--json")
    status, output, _ = run("rules", "try", file, *options)
    trials: list[dict[str, Any]] = json.loads(output)["queries"]
    assert [(trial["query"], trial["changes"]) for trial in trials] == [("bed sheet", False), ("kettle", True)]
    assert trials[1]["after"]["redirect"] == "/one" and trials[1]["before"]["redirect"] == ""
    assert not RuleStore(store, "default").trail()  # nothing is live

    assert run("rules", "publish", file, "--releases", store.root)[0] == 0
    assert "nothing changed" in run("rules", "publish", file, "--releases", store.root)[1]
    listed = run("rules", "list", "--releases", store.root)
    assert listed[0] == 0 and "→" in listed[1] and "rules-1-" in listed[1]
    trials = json.loads(run("rules", "try", file, *options)[1])["queries"]
    assert not any(trial["changes"] for trial in trials)  # the file is what is in service


def test_warnings_name_what_the_catalog_does_not_hold(store: ReleaseStore, tmp_path: Path, run: Command) -> None:
    file = tmp_path / "rules.json"
    rule = {"id": "r", "when": {"ends": "2020-01-01T00:00:00Z"}, "pin": ["a-1", "a-9999"]}
    file.write_text(json.dumps({"rules": [rule]}))
    status, output, _ = run("rules", "check", file, "--releases", store.root)
    assert status == 0 and "warning: rule r: the catalog has no product 'a-9999'" in output
    assert "warning: rule r ended at 2020-01-01 00:00 UTC" in output and "with 2 warnings" in output


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("check", "none.toml"), "none.toml: no such file"),
        (("check", "FILE", "--catalog", "x"), "--catalog needs --releases"),
        (("try", "FILE", "--releases", "RELEASES"), "give queries to try"),
        (("try", "FILE", "--query", "!!", "--releases", "RELEASES"), "has no letter, digit or symbol"),
        (("try", "FILE", "--query", "x", "--at", "soon", "--releases", "RELEASES"), "--at is 'soon'; give a time"),
        (("try", "FILE", "--queries", "FILE0", "--releases", "RELEASES"), "no such file; give one with a query a line"),
        (("publish", "FILE", "--releases", "RELEASES", "--catalog", "x"), "holds no catalog 'x'"),
        (("rollback", "--releases", "RELEASES"), "no whole rules before those in service"),
        (("rollback", "--releases", "RELEASES", "--to", "r-1"), "see `tandem rules list`"),
    ],
)
def test_every_error_is_one_line(
    indexed: ReleaseStore, tmp_path: Path, run: Command, arguments: tuple[str, ...], fault: str
) -> None:
    file = write(tmp_path / "rules.toml", "/one")
    names = {"FILE": file, "FILE0": tmp_path / "none", "RELEASES": indexed.root}
    status, output, error = run("rules", *(names.get(argument, argument) for argument in arguments))
    assert status == 2 and fault in error and error.count("\n") == 1 and not output
