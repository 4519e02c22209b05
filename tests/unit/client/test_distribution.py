"""`tandem-client` stands alone: it imports grpc, protobuf and the standard library alone."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
CLIENT = ROOT / "protos"
ALLOWED = {"grpc", "google", "tandem"}


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]


def sources() -> list[Path]:
    return sorted((CLIENT / "tandem").rglob("*.py"))


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_it_imports_nothing_beyond_grpc_protobuf_and_the_standard_library() -> None:
    assert len(sources()) > 6
    for path in sources():
        others = {name for name in imported(path) if name.split(".")[0] not in sys.stdlib_module_names}
        assert {name.split(".")[0] for name in others} <= ALLOWED, path
        assert all(name.startswith("google.protobuf") for name in others if name.startswith("google")), path


def test_the_packages_are_all_that_there_are_and_so_are_the_requirements() -> None:
    built = tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert set(built) == {".".join(path.parent.relative_to(CLIENT).parts) for path in sources()}
    assert {Requirement(line).name for line in project(CLIENT)["dependencies"]} == {"grpcio", "protobuf"}


def test_the_application_needs_the_client_of_its_own_version_and_does_not_ship_it() -> None:
    version = project(CLIENT)["version"]
    assert project(ROOT)["version"] == version
    assert f"tandem-client=={version}" in project(ROOT)["dependencies"]
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert not any(pattern.startswith("tandem") for pattern in setuptools["packages"]["find"]["include"])
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_runs_where_nothing_else_of_the_project_is(tmp_path: Path) -> None:
    shutil.copytree(CLIENT / "tandem", tmp_path / "tandem", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys, tandem.client; print(tandem.client.__file__, *sys.modules)"
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    file, *modules = result.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    house = {"core", "text", "engine", "retrieval", "lifecycle", "numpy", "pydantic", "google.rpc", "grpc_status"}
    assert house.isdisjoint(modules)
