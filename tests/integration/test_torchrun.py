"""Training in two processes, as torchrun starts them: one result, whole, and as good as that of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gathering
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny
import together
from shops import environment

from encoder.bi_encoder import BiEncoder
from lifecycle.tracking.lineage import RUN_FILE
from ranker.ranker import Ranker

_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *_TORCHRUN, *map(str, arguments)]
    more = {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment() | more, timeout=280)


def killed_at_a_checkpoint(scratch: Path, *arguments: object) -> None:
    """Runs the same, and kills all of its processes at once when the first checkpoint is whole."""
    command = [sys.executable, *_TORCHRUN, *map(str, arguments)]
    more = {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment() | more, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as job:
        until = time.monotonic() + 200
        try:
            while not any(map(is_whole, scratch.glob("checkpoint-*"))):
                assert job.poll() is None and time.monotonic() < until
                time.sleep(0.01)
        finally:
            os.killpg(job.pid, signal.SIGKILL)


def is_whole(checkpoint: Path) -> bool:
    """Both processes have written theirs, so that the next run goes on from it (`training/checkpoints.py`)."""
    return (checkpoint / "trainer_state.json").is_file() and len(list(checkpoint.glob("rng_state*"))) == 2


def report_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return result


@pytest.mark.parametrize("kind", ["encoder", pytest.param("ranker", marks=pytest.mark.long)])
def test_two_processes_leave_one_whole_result(kind: str, tmp_path: Path) -> None:
    write = tiny.write_base if kind == "encoder" else tiny.write_ranker_base
    base, output, epochs = write(tmp_path / "base"), tmp_path / "models" / kind, 0.1
    shop, config = tiny.write_shop(tmp_path), tmp_path / "train.toml"
    config.write_text(f"[{kind}]\npatience = 100")  # to the end, whether or not a step is better on this machine
    given = ("--base", base, "--output", output, "--epochs", epochs, "--config", config)
    ran = torchrun("-m", "lifecycle.cli", "train", kind, *shop, *given)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("done in") == 2 and "not tracked" not in ran.stderr
    tower = BiEncoder.open(output) if kind == "encoder" else Ranker.open(output)
    run = json.loads((output / RUN_FILE).read_text())
    assert run["run"]["version"] == "1" and tower.digest
    report = report_of(output)
    assert report["loss"] and len(report["validation"]) > 1
    steps = report["validation"][-1]["step"]
    assert steps == round(report["data"]["examples"] / 64 * epochs)
    assert not (output / "scratch").exists()


@pytest.mark.long
def test_two_processes_that_were_killed_go_on_to_the_same_result(tmp_path: Path) -> None:
    base, shop = tiny.write_ranker_base(tmp_path / "base"), tiny.write_shop(tmp_path)
    config = tmp_path / "train.toml"
    config.write_text("[ranker]\nbatch_size = 8\nevaluations = 3\npatience = 3")
    given = ("-m", "lifecycle.cli", "train", "ranker", *shop, "--base", base, "--config", config, "--track", "off")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    killed_at_a_checkpoint(cut / "scratch", *given, "--output", cut)
    assert any(map(is_whole, (cut / "scratch").glob("checkpoint-*"))) and not (cut / "report.json").exists()
    for output in (whole, cut):
        ran = torchrun(*given, "--output", output)
        assert ran.returncode == 0, ran.stderr
    assert Ranker.open(cut).digest == Ranker.open(whole).digest
    assert report_of(cut)["validation"] == report_of(whole)["validation"]


def test_a_divided_batch_learns_what_the_whole_one_does(tmp_path: Path) -> None:
    ran = torchrun(Path(gathering.__file__), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}


@pytest.mark.long
def test_every_option_trains_in_two_processes(tmp_path: Path) -> None:
    small = {
        "max_steps": 2,
        "batch_size": 4,
        "evaluations": 1,
        "threads": 1,
        "base": tiny.write_base(tmp_path / "base"),
    }
    given = [
        {"graded": 0.5, "shared": False, "matryoshka": [8], "dimensions": 8},
        {"graded": 0.5, "distil": 1.0, "mini_batch": 3, "matryoshka": [8], "lora": 2, "shared": False},
        {"loss": "graded", "freeze_embeddings": True},
        {"shared": False, "dropout": 0.0, "learning_rate": 5e-3},
        {"shared": False, "dropout": 0.0, "learning_rate": 5e-3, "mini_batch": 3},
    ]
    (tmp_path / "given.json").write_text(json.dumps([small | settings for settings in given]))
    ran = torchrun(Path(together.__file__), tmp_path / "given.json", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    for place, settings in enumerate(given):
        tower = BiEncoder.open(tmp_path / "out" / str(place))
        assert tower.spec.dimensions == settings.get("dimensions", tiny.DIMENSIONS)
        assert len(tower.files()) == (3 if settings.get("shared", True) else 4)
    whole, cached = ([entry["loss"] for entry in report_of(tmp_path / "out" / name)["loss"]] for name in "34")
    # Where processors compute in bf16, products are right to eight bits.
    assert len(whole) > 1 and whole == pytest.approx(cached, rel=1e-2)


def test_processes_without_a_whole_batch_each_are_told(tmp_path: Path) -> None:
    base, shop = tiny.write_base(tmp_path / "base"), tiny.write_shop(tmp_path)
    table = pq.read_table(shop[3])
    pq.write_table(table.filter(pc.match_substring_regex(table["query"], "(zorb|quil) red")), shop[3])
    ran = torchrun("-m", "lifecycle.cli", "train", "ranker", *shop, "--base", base, "--output", tmp_path / "out")
    assert ran.returncode != 0
    assert "tandem: 51 examples are no batch of 32 for each of 2 processes" in ran.stderr
