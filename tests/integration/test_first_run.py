"""`tandem run` on a small shop: it serves, trains beside it, and swaps; stopped, failed, and run again.

Training itself is a script that publishes a release with another model set, or waits, or fails.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shops import COLORS, THINGS, environment, write_feed

from core.releases import ReleaseStore
from indexer.models import ModelFolders
from tandem.client import SearchClient
from tandem.v1 import search_pb2

# Untuned towers are those of the tests, and training the script that is given.
RUN = """
import sys
from pathlib import Path
from rich.console import Console
from indexer.models import ModelFolders
from lifecycle import run
from lifecycle.tour import Training
from retrieval.server.settings import ServeSettings

releases, feed, judgments, encoder, script = map(Path, sys.argv[1:])
resolve = run.resolve_models
run.resolve_models = lambda *given: resolve(*given) if given[2].catalogs() else ModelFolders(encoder, None)
command = [sys.executable, str(script), *sys.argv[1:]]
run._training = lambda shop, store, prepare: Training([command], store.root / "trained")
settings = ServeSettings(releases=releases, address="127.0.0.1:0", poll_seconds=0.05)
run.run_shop(settings, feed, None, judgments, Console(width=100), Path("no server"))
print("torch loaded:", "torch" in sys.modules)
"""

IMPROVE = """
import os, sys, threading
from pathlib import Path
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from indexer.cleaning.mapping import FeedMapping
from lifecycle.improvement import IMPROVED_FILE, Improvement, write_json

releases, feed, judgments, encoder, script = map(Path, sys.argv[1:])
store, mode = ReleaseStore(releases), script.with_suffix(".mode").read_text()
print("begun", os.getpid(), mode, flush=True)
if mode == "waits":
    threading.Event().wait()
if mode == "fails":
    sys.exit("tandem: no split valid")
replaced = store.current("default")
models = ModelFolders(encoder, script.with_name("ranker"))
made = index_feed(feed, FeedMapping(), models, IndexOptions(), store, Silent())
improvement = Improvement.compare("default", "test", replaced, {"a": 0.2, "b": 0.4}, {"a": 0.6, "b": 0.5})
improvement = improvement.model_copy(update={"release": made.manifest.release_id})
(store.root / "trained").mkdir(exist_ok=True)
write_json(store.root / "trained" / IMPROVED_FILE, improvement.model_dump(mode="json"))
"""


class Running:
    """The command, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, text: str) -> str:
        """The first line from here on that holds the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if text in line:
                return line.rstrip()
        raise AssertionError(f"ended before {text!r}:\n" + "\n".join(self.lines))

    def stop(self) -> list[str]:
        """The rest of what it prints once it is told to end; it must end well."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        rest = [line.rstrip() for line in self.process.stdout]
        assert self.process.wait(60) == 0
        return rest


@pytest.fixture
def start(models: ModelFolders, tmp_path: Path) -> Callable[[str], "contextmanager[Running]"]:
    """Runs the command on thirty products with twelve test queries; training then does what the mode says."""
    feed = write_feed(tmp_path / "feed.jsonl", "a-")
    asked = [
        f"{color} {thing},a-{5 * place + i},2,test"
        for place, thing in enumerate(THINGS)
        for i, color in enumerate(COLORS)
    ]
    poor = [line.replace(",2,", ",0,").replace("a-", "a-1") for line in asked[:1]]
    judgments = tmp_path / "judged.csv"
    judgments.write_text("\n".join(["query,product_id,grade,split", *asked[:12], *poor]) + "\n")
    assert models.ranker is not None
    (tmp_path / "ranker").symlink_to(models.ranker)
    script = tmp_path / "improve.py"
    script.write_text(IMPROVE)
    (tmp_path / "run.py").write_text(RUN)
    given = [tmp_path / "releases", feed, judgments, models.encoder, script]

    @contextmanager
    def started(mode: str) -> Iterator[Running]:
        script.with_suffix(".mode").write_text(mode)
        command = [sys.executable, str(tmp_path / "run.py"), *map(str, given)]
        pipes = {"stdout": subprocess.PIPE, "stderr": (tmp_path / "errors").open("w")}
        with subprocess.Popen(command, text=True, env=environment(), **pipes) as process:
            try:
                yield Running(process)
            finally:
                process.kill()

    return started


def test_it_serves_first_and_swaps_to_what_was_trained(
    start: Callable[[str], "contextmanager[Running]"], tmp_path: Path
) -> None:
    with start("publishes") as run:
        first = run.until("tandem: serving release").split()[3]
        run.until("begun")
        published = run.until("published as").split()
        again = run.until("tandem: serving release").split()
        assert published[2:] == [f"{again[3]},", "in", "place", "of", first] and again[3] != first
        with SearchClient(again[-1], 10) as client:
            assert client.search(search_pb2.SearchRequest(query="lamp", top_k=1)).release_id == again[3]
        assert [line.split()[0] for line in run.lines if "before" in line and "now" in line] == ["#"] * 5
        assert "gain +0.250" in " ".join(" ".join(run.lines).split())
        assert run.stop()[-2:] == ["tandem: drained, good-bye", "torch loaded: False"]
    with start("fails") as run:  # all is done: nothing is trained
        assert run.until("published as").split()[2] == f"{again[3]},"
        run.stop()
        assert not any("begun" in line for line in run.lines)
    assert ReleaseStore(tmp_path / "releases").current("default") == again[3]


def test_stopped_while_it_trains_it_ends_well_and_goes_on_the_next_time(
    start: Callable[[str], "contextmanager[Running]"],
) -> None:
    with start("waits") as run:
        serving = run.until("tandem: serving release").split()[3]
        child = int(run.until("begun").split()[1])
        assert run.stop()[-2:] == ["tandem: drained, good-bye", "torch loaded: False"]
        assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()
    with start("publishes") as run:
        assert run.until("tandem: serving release").split()[3] == serving
        run.until("published as")
        assert any(line.startswith("nothing changed: release") for line in run.lines)  # the first was not made anew
        run.stop()


def test_a_training_that_fails_ends_nothing(start: Callable[[str], "contextmanager[Running]"], tmp_path: Path) -> None:
    with start("fails") as run:
        address = run.until("tandem: serving release").split()[-1]
        run.until("begun")
        while "training failed" not in (tmp_path / "errors").read_text():
            assert run.process.poll() is None
        with SearchClient(address, 10) as client:
            assert client.search(search_pb2.SearchRequest(query="lamp", top_k=1)).hits
        run.stop()
    [line] = [line for line in (tmp_path / "errors").read_text().splitlines() if "training failed" in line]
    assert line.startswith("tandem: training failed, ") and line.endswith("no split valid; the service goes on")
