"""Peers that cannot be installed, crash, hang or say nothing are one line each, and stop no other."""

import os
import venv
from pathlib import Path

import pytest
from tasks import task

from benchmarks.peers.environments import PEERS, PLAIN, TORCH, Peer, PeerFailed, chosen, last_line, make_all
from benchmarks.peers.processes import run, run_all
from core.errors import TandemError

TOLD = '{"answers": {"3": [[1, 0]]}, "peak_mib": 5}'


def script(path: Path, body: str) -> Path:
    """A stand-in for an interpreter; the program's two files are its third and fourth argument."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_a_program_saw_is_told_by_product(tmp_path: Path) -> None:
    python = script(tmp_path / "python", f"test -s $3 && printf '%s' '{TOLD}' > $4")
    failed: dict[str, str] = {}
    seen = run_all({PLAIN: python}, task(tmp_path), ["p0", "p1"], tmp_path, 30, failed)
    assert seen == {PLAIN.name: {"answers": {"3": [["p1", "p0"]]}, "peak_mib": 5}} and not failed


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo first >&2; echo 'ValueError: no such layer' >&2; exit 1", "failed: ValueError: no such layer"),
        ("exit 3", "failed: no output"),
        ("exit 0", "ended without a report"),
        ("printf '{\"answers' > $4", "ended without a report"),
        ("exec sleep 60", "took longer than 1 s"),
    ],
)
def test_one_that_fails_is_a_line_and_stops_no_other(tmp_path: Path, body: str, reason: str) -> None:
    good = script(tmp_path / "good", f"printf '%s' '{TOLD}' > $4")
    failed: dict[str, str] = {}
    pythons = {PEERS[1]: script(tmp_path / "bad", body), PLAIN: good}
    seen = run_all(pythons, task(tmp_path), ["p0", "p1"], tmp_path, 1, failed)
    assert failed == {PEERS[1].name: reason} and list(seen) == [PLAIN.name]


def test_figures_of_an_earlier_run_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / f"{PLAIN.module}.seen.json").write_text(TOLD)
    with pytest.raises(PeerFailed, match="without a report"):
        run(PLAIN, script(tmp_path / "python", "exit 0"), task(tmp_path), tmp_path, 30)


def test_no_hub_is_asked(tmp_path: Path) -> None:
    python = script(tmp_path / "python", f"test \"$HF_HUB_OFFLINE\" = 1 && printf '%s' '{TOLD}' > $4")
    assert run(PLAIN, python, task(tmp_path), tmp_path, 30)["peak_mib"] == 5


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environments whose pip only writes down what it was asked, and fails for `bad`; the file it writes to."""
    log = tmp_path / "pip.log"
    body = f'echo "$@" >> {log}\ncase "$@" in *bad*) echo "ERROR: No matching distribution for bad" >&2; exit 1;; esac'

    def create(place: Path, with_pip: bool) -> None:
        (place / "bin").mkdir(parents=True)
        script(place / "bin" / "python", body)

    monkeypatch.setattr(venv, "create", create)
    return log


def test_an_environment_is_made_once_for_the_same_requirements(tmp_path: Path, pip: Path) -> None:
    peer = Peer("some", "with_some", ("some==1",))
    python = peer.make(tmp_path / "peers")
    assert python == tmp_path / "peers" / "with_some" / "bin" / "python" and os.access(python, os.X_OK)
    asked = pip.read_text()
    assert TORCH in asked.splitlines()[0] and "some==1" in asked.splitlines()[1]
    assert peer.make(tmp_path / "peers") == python and pip.read_text() == asked
    Peer("some", "with_some", ("some==2",)).make(tmp_path / "peers")
    assert "some==2" in pip.read_text()


def test_torch_alone_comes_from_its_own_index(tmp_path: Path, pip: Path) -> None:
    Peer("some", "with_some", ("some==1",)).make(tmp_path / "peers", "https://torch.example")
    first, second = pip.read_text().splitlines()
    assert first.endswith(f"--index-url https://torch.example {TORCH}") and "example" not in second


def test_what_keeps_others_from_loading_is_removed_again(tmp_path: Path, pip: Path) -> None:
    Peer("some", "with_some", ("some==1",), removed=("odd",)).make(tmp_path / "peers")
    assert pip.read_text().splitlines()[2].endswith("uninstall --quiet --yes odd")


def test_one_that_cannot_be_installed_is_a_line_and_is_tried_again(tmp_path: Path, pip: Path) -> None:
    bad, good = Peer("bad one", "with_bad", ("bad==1",)), Peer("good", "with_good", ("good==1",))
    failed: dict[str, str] = {}
    pythons = make_all([bad, good], tmp_path / "peers", None, False, failed)
    assert failed == {"bad one": "could not be installed: ERROR: No matching distribution for bad"}
    assert list(pythons) == [good]
    before = len(pip.read_text().splitlines())
    with pytest.raises(PeerFailed):
        bad.make(tmp_path / "peers")
    assert len(pip.read_text().splitlines()) > before


def test_in_place_the_straightforward_program_needs_no_environment(tmp_path: Path, pip: Path) -> None:
    assert make_all([PLAIN], tmp_path / "peers", None, True, {})[PLAIN].is_file()
    assert not pip.exists()


def test_peers_are_chosen_by_name_in_the_tables_order() -> None:
    assert [peer.name for peer in chosen(["txtai", "infinity"])] == ["infinity", "txtai"]
    names = "sentence-transformers, onnx-int8, openvino-int8, infinity"
    with pytest.raises(TandemError, match=f"vespa: no such peer; there are {names}"):
        chosen(["vespa"])


def test_every_peer_pins_what_it_runs_and_has_a_program() -> None:
    programs = Path(__file__).parents[3] / "benchmarks" / "peers" / "programs"
    for peer in PEERS:
        assert (programs / f"{peer.module}.py").is_file()
        assert all("==" in each for each in peer.requirements)


def test_the_last_line_says_what_went_wrong() -> None:
    assert last_line("Traceback\n  somewhere\nKeyError: 'x'\n\n") == "KeyError: 'x'"
