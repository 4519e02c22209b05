"""What is installed: the base has nothing that only some need, and messages name extras that exist."""

import re
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = {
    "lightgbm",
    "scipy",
    "tritonclient",
    "rjieba",
    "torch",
    "transformers",
    "onnx",
    "scikit-learn",
    "mlflow-skinny",
    "pyjwt",
    "cryptography",
}


@cache
def needed_by(name: str) -> frozenset[str]:
    """The packages that an installed one needs without extras, itself among them."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        lines = []
    needed = [Requirement(line) for line in lines]
    names = {canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})}
    return frozenset({name}).union(*map(needed_by, names))


def installed_with(*extras: str) -> set[str]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return set().union(*(needed_by(canonicalize_name(Requirement(line).name)) for line in lines))


def test_serving_installs_nothing_that_it_may_never_need() -> None:
    installed = installed_with("cpu")
    assert {"faiss-cpu", "onnxruntime", "numpy", "grpcio"} <= installed
    assert installed & OPTIONAL == set()


def test_each_extra_installs_what_it_is_named_for() -> None:
    assert "rjieba" in installed_with("chinese")
    assert {"lightgbm", "scipy"} <= installed_with("explain")
    assert "tritonclient" in installed_with("triton")
    assert {"pyjwt", "cryptography"} <= installed_with("identity")
    assert {"lightgbm", "scipy", "torch"} <= installed_with("train")


def test_messages_and_pages_name_extras_that_there_are() -> None:
    suffixes = {".py", ".md", ".toml"}
    paths = [path for path in ROOT.rglob("*") if path.suffix in suffixes and not set(path.parts) & {".venv", "build"}]
    named = re.compile(r"tandem-retrieval\[([a-z,]+)\]")
    extras = {
        extra for path in paths for result in named.findall(path.read_text("utf-8")) for extra in result.split(",")
    }
    assert {"cpu", "gpu", "train", "track"} <= extras <= set(EXTRAS)
