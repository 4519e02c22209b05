"""The Dockerfiles: linted, whole, unprivileged; and the files that pin what they install."""

import re
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from retrieval.server.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILES = [ROOT / "deploy/Dockerfile", ROOT / "deploy/triton.Dockerfile"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINNED = re.compile(r"^(\S+)==(\S+?)(?: ;.*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)


def pin_module() -> Any:
    spec = spec_from_file_location("pin", ROOT / "deploy/pin.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PIN = pin_module()
each_image = pytest.mark.parametrize("image", [*PIN.IMAGES, *PIN.OTHERS])


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Of each stage its instructions, with those of the stage that it begins from."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    result: dict[str, list[tuple[str, str]]] = {}
    name = "before"
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            name = name or "last"
            result[name] = list(result.get(base, []))
        result.setdefault(name, []).append((word, " ".join(rest.split())))
    return result


def last(stage: list[tuple[str, str]], word: str) -> str:
    return [rest for each, rest in stage if each == word][-1]


def pinned(image: str) -> dict[str, str]:
    """The version of each package that an image installs."""
    text = (ROOT / f"deploy/requirements/{image}.txt").read_text()
    return {canonicalize_name(name): version for name, version, _ in PINNED.findall(text)}


@each_dockerfile
def test_the_linter_has_no_complaint(path: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.is_file():
        pytest.skip("hadolint is not installed; the extra `test` has it")
    result = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_build_copies_each_package_and_what_their_building_reads() -> None:
    copied = {word for each, rest in stages(DOCKERFILES[0])["build"] if each == "COPY" for word in rest.split()[:-1]}
    packages = {name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"protos", "pyproject.toml", PROJECT["project"]["readme"], "LICENSE"} <= copied
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not copied & set(ignored)


@pytest.mark.parametrize(
    ("path", "stage"), [(DOCKERFILES[0], "serve"), (DOCKERFILES[0], "jobs"), (DOCKERFILES[1], "last")]
)
def test_images_run_as_nobody_in_particular(path: Path, stage: str) -> None:
    instructions = stages(path)[stage]
    assert int(last(instructions, "USER")) >= 10_000
    assert last(instructions, "ENTRYPOINT") in ('["tandem"]', '["tritonserver"]')
    after = instructions[instructions.index(("USER", last(instructions, "USER"))) :]
    assert not [rest for word, rest in after if word in ("RUN", "ADD")]


def test_the_serving_image_is_the_last_and_its_command_is_accepted() -> None:
    parsed = stages(DOCKERFILES[0])
    assert list(parsed)[-1] == "serve"
    words = re.findall(r'"([^"]+)"', last(parsed["serve"], "CMD"))
    assert words[0] == "serve"
    options = {name.removeprefix("--"): value for name, value in zip(words[1::2], words[2::2], strict=True)}
    address = ServeSettings(**options).address  # type: ignore[arg-type]
    assert address.endswith(f":{last(parsed['serve'], 'EXPOSE')}")


@each_dockerfile
def test_bases_have_a_version_and_packages_digests(path: Path) -> None:
    text = path.read_text()
    [base] = re.findall(r"^ARG BASE=(\S+)$", text, flags=re.M)
    assert re.search(r":\d[\w.-]+$", base)
    assert {rest.split(" AS ")[0] for rest in re.findall(r"^FROM (.+)$", text, flags=re.M)} <= {
        "${BASE}",
        *stages(path),
    }
    runs = [rest for stage in stages(path).values() for word, rest in stage if word == "RUN"]
    steps = [step for run in runs for step in run.split("&&")]
    for step in filter(re.compile(r"\bpip\b.* install ").search, steps):
        assert "--require-hashes" in step or "--no-index /wheels/*.whl" in step or step.endswith(" torch "), step


@each_image
def test_every_package_is_pinned_by_digest_as_the_tests_have_it(image: str) -> None:
    text = (ROOT / f"deploy/requirements/{image}.txt").read_text()
    assert "".join(part.group() for part in PINNED.finditer(text)) == text.removeprefix(PIN.HEADER)
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    lines = (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    tested = {canonicalize_name(name): version for name, _, version in lines}
    assert {name: version for name, version in pinned(image).items() if tested.get(name, version) != version} == {}


@each_image
def test_pins_hold_all_that_the_project_asks_for(image: str) -> None:
    """After a change of pyproject.toml: `make pin`."""
    versions = pinned(image)
    for line in PIN.wanted(image):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name != "torch":
            assert requirement.specifier.contains(versions[name]), line


def test_the_serving_image_has_no_training() -> None:
    assert not pinned("serve").keys() & {"torch", "transformers", "sentence-transformers", "datasets", "mlflow-skinny"}
    assert pinned("jobs").keys() >= {"transformers", "sentence-transformers", "datasets"}


def test_libraries_that_wheels_leave_to_the_system_are_installed() -> None:
    runs = " ".join(
        rest for stage in ("serve", "jobs") for word, rest in stages(DOCKERFILES[0])[stage] if word == "RUN"
    )
    assert "lightgbm" in pinned("serve") and "libgomp1" in runs
