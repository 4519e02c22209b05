"""The chart, rendered by helm, and what of it runs as pods."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/chart"
SHOP = CHART / "examples/shop.yaml"
Manifest = dict[str, Any]

# Sets of values that together use each branch of each template.
VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": ("--set", "insecure=true"),
    "shop": ("--values", str(SHOP)),
    "cpu": ("--set", "insecure=true,scaling.kind=cpu,service.headless=true,metrics.port=0,network.enabled=false"),
    "claims": (
        "--values",
        str(SHOP),
        "--set",
        "releases.claim=ours,triton.claim=models,triton.gpus=1,image.digest=sha256:" + 64 * "a",
    ),
}


def helm(*arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Runs helm, which `deploy/get_helm.py` puts beside this Python; skips the test where there is none."""
    beside = Path(sys.executable).with_name("helm")
    program = str(beside) if beside.is_file() else shutil.which("helm")
    if program is None:
        pytest.skip("helm is not installed; python deploy/get_helm.py FOLDER puts it there")
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


@cache
def _rendered(arguments: tuple[str, ...]) -> str:
    text = helm("template", "tandem", CHART, "--namespace", "shop", *arguments).stdout
    return json.dumps([each for each in yaml.safe_load_all(text) if each])


def render(*arguments: str) -> list[Manifest]:
    """The manifests for these arguments of `helm template`."""
    return json.loads(_rendered(arguments))


def one(manifests: list[Manifest], kind: str, name: str = "tandem") -> Manifest:
    """The only manifest of this kind and name."""
    [found] = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name and pod template of each workload."""
    for each in manifests:
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield each["metadata"]["name"], each["spec"]["jobTemplate"]["spec"]["template"]
