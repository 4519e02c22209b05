"""The rules of the house: which way imports run, what serving loads, and that stubs are those of the .proto file."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A package may import those of lower floors and itself.
FLOORS = {"core": 0, "text": 1, "evaluation": 2, "catalog": 3, "engine": 4, "training": 5, "encoder": 6, "ranker": 6}
FLOORS |= {"indexer": 7, "retrieval": 8, "lifecycle": 9}
TRAINING = {"torch", "transformers", "sentence_transformers", "datasets", "accelerate"}
# What only some installations have, or only indexing and training use.
OPTIONAL = {"rjieba", "bm25s", "scipy", "tritonclient", "lightgbm", "sklearn", "ir_measures", "onnx", "onnxscript"}
OPTIONAL |= {"joblib", "dill", "mlflow", "matplotlib", "safetensors", "openvino", "pandas", "jwt", "cryptography"}
OPTIONAL |= {"prometheus_client", "opentelemetry", "phonenumbers", "stdnum"}
WITH_A_RELEASE = {"faiss", "onnxruntime"}  # loaded once there is an index or a model to open
PICKLES = {"pickle", "cPickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """The top names that the given nodes import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute in this house"
            names.add((node.module or "").split(".")[0])
    return names


def everywhere(path: Path) -> set[str]:
    return imports(ast.walk(parse(path)))


def modules() -> dict[str, Path]:
    """The file of every module, by its dotted name."""
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for name in FLOORS for path in sources(name)}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def imported_modules(tree: ast.Module, known: Mapping[str, object]) -> set[str]:
    """The modules among `known` that a file imports, inside functions too; those of `if TYPE_CHECKING` apart."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
                yield child
                yield from walk(child)

    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & known.keys()


def import_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle, first and last the same; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def at_import(path: Path) -> set[str]:
    """What the module itself loads: imports outside of functions and of `if TYPE_CHECKING`."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            yield child
            yield from walk(child)

    return imports(walk(parse(path)))


def test_every_package_of_the_house_is_there() -> None:
    for package in FLOORS:
        assert (ROOT / package / "__init__.py").is_file() and len(sources(package)) > 1


@pytest.mark.parametrize("package", FLOORS)
def test_imports_run_one_way(package: str) -> None:
    for path in sources(package):
        for other in everywhere(path) & set(FLOORS):
            below = FLOORS[other] < FLOORS[package]
            assert other == package or below, f"{path.relative_to(ROOT)} imports {other}, which is not below it"


def test_a_circle_of_imports_is_seen_inside_functions_and_not_under_type_checking() -> None:
    known = {"a": 0, "b": 0, "b.c": 0}
    back = ast.parse("def f():\n    from b import c")
    types = ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a")
    assert imported_modules(back, known) == {"b", "b.c"} and imported_modules(types, known) == set()
    assert import_circle({"a": {"b"}, "b": {"b.c"}, "b.c": set()}) == []
    assert set(import_circle({"a": {"b"}, "b": {"b.c"}, "b.c": {"a"}})) == known.keys()


def test_modules_import_each_other_in_no_circle() -> None:
    known = modules()
    assert len(known) > len(FLOORS)
    assert import_circle({name: imported_modules(parse(path), known) for name, path in known.items()}) == []


def test_no_package_imports_tests_or_benchmarks() -> None:
    for package in FLOORS:
        for path in sources(package):
            assert not everywhere(path) & {"tests", "benchmarks", "builders", "doubles"}, path


def test_the_leaf_knows_neither_grpc_nor_models() -> None:
    for path in sources("core"):
        assert not everywhere(path) & {"grpc", "google", "tandem", "onnxruntime", "faiss", *TRAINING}, path


def test_the_leaf_analyses_no_words_and_computes_no_statistics() -> None:
    for path in sources("core"):
        assert not everywhere(path) & {"bm25s", "rjieba", "Stemmer", "ahocorasick", "rapidfuzz", "scipy"}, path


def test_torch_and_its_like_are_loaded_by_training_and_on_gpus_alone() -> None:
    for package in FLOORS:
        for path in sources(package):
            if any(path.is_relative_to(ROOT / folder) for folder in ("encoder/train", "ranker/train", "engine/gpu")):
                continue
            assert not at_import(path) & TRAINING, f"{path.relative_to(ROOT)} loads {at_import(path) & TRAINING}"


def test_only_retrieval_and_clients_touch_the_stubs() -> None:
    for package in set(FLOORS) - {"retrieval", "lifecycle"}:
        for path in sources(package):
            assert "tandem" not in everywhere(path), path


def test_nothing_is_pickled() -> None:
    for package in FLOORS:
        for path in sources(package):
            assert not everywhere(path) & PICKLES, path
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                    wanted = node.arg == "weights_only"
                    assert isinstance(node.value, ast.Constant) and node.value.value is wanted, path


def loaded_by(module: str) -> set[str]:
    """The top names of all modules that a process has loaded once it imported this one."""
    code = f"import sys, {module}; print(*sorted(name.split('.')[0] for name in sys.modules))"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PATH": ""}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return set(result.stdout.split())


def test_serving_loads_no_library_that_it_may_never_need() -> None:
    loaded = loaded_by("retrieval.server.main")
    assert {"retrieval", "engine", "text", "numpy", "grpc"} <= loaded
    assert loaded & {*TRAINING, *OPTIONAL, *WITH_A_RELEASE} == set()


def test_reading_a_shop_in_english_loads_neither_bm25_nor_the_chinese_segmenter() -> None:
    code = (
        "import sys; from text.terms import Analyser; print(Analyser('en').terms('the red mug')); print(*sys.modules)"
    )
    command, environment = [sys.executable, "-c", code], {"PYTHONPATH": str(ROOT), "PATH": ""}
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    terms, loaded = result.stdout.splitlines()
    assert terms == "['the', 'red', 'mug']" and "text.stop_words" in loaded.split()
    assert {"bm25s", "scipy", "rjieba"}.isdisjoint(loaded.split())


def test_the_command_starts_without_training_libraries() -> None:
    assert loaded_by("lifecycle.cli.app") & TRAINING == set()


def test_functions_and_files_stay_readable() -> None:
    for package in FLOORS:
        for path in sources(package):
            assert len(path.read_text("utf-8").splitlines()) <= 450, path
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert (node.end_lineno or 0) - node.lineno < 80, f"{path}: {node.name}"


def test_the_stubs_are_those_of_the_proto_files(tmp_path: Path) -> None:
    flags = [f"--{kind}={tmp_path}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    names = sorted(path.stem for path in (ROOT / "protos/tandem/v1").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *flags, *(f"tandem/v1/{name}.proto" for name in names)]
    subprocess.run(command, check=True, cwd=ROOT / "protos")
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*"))
    endings = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    assert {path.name for path in made} == {name + ending for name in names for ending in endings}
    for path in made:
        assert (ROOT / "protos" / path).read_text() == (tmp_path / path).read_text(), f"{path}: run `make protos`"
