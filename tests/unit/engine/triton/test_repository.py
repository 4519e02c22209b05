"""What a Triton server is given to read: whole, once, and kept while it is used."""

import errno
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2 as pb

from core.errors import ModelError, ReleaseError
from engine.onnx.session import IDS, MASK, SEGMENTS
from engine.triton import repository as triton_repository
from engine.triton.config import BULK, INTERACTIVE, Layout, inputs_of
from engine.triton.repository import Lease, ReleaseModels, prepare, prepared, remove_others

ROOT = Path(__file__).resolve().parents[4]


def write_model(path: Path, inputs: tuple[str, ...], shape: list[str | int]) -> Path:
    """A model with the inputs and the output shape of a real one; what it computes does not matter here."""
    fed = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in inputs]
    out = helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)
    nodes = [
        helper.make_node("Cast", [IDS], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["answer"], axes=[1], keepdims=int(len(shape) == 2)),
    ]
    graph = helper.make_graph(nodes, "model", fed, [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.fixture
def models(tmp_path: Path) -> ReleaseModels:
    folder = tmp_path / "release"
    folder.mkdir()
    index = faiss.IndexFlatIP(1)
    index.add(np.ones((3, 1), np.float32))
    faiss.write_index(index, str(folder / "index.faiss"))
    return ReleaseModels(
        "my.shop",
        "r-20260102T030405Z-1a2b3c4d",
        write_model(folder / "tower.onnx", (IDS, MASK), ["n", 1]),
        folder / "index.faiss",
        {"dimensions": 1, "settings": {"nprobe": 8}},
        write_model(folder / "ranker.onnx", (IDS, MASK, SEGMENTS), ["n"]),
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository"


def config(repository: Path, name: str) -> pb.ModelConfig:
    return text_format.Parse((repository / name / "config.pbtxt").read_text(), pb.ModelConfig())


def test_each_call_gets_a_model_of_its_own(models: ReleaseModels, repository: Path) -> None:
    written = prepare(models, repository, Layout(encode_instances=2, rescore_instances=3, queue=17))
    assert (
        sorted(written) == sorted(path.name for path in repository.iterdir()) == sorted(map(models.name, models.calls))
    )
    assert models.name("encode") == "tandem.my.shop.r-20260102T030405Z-1a2b3c4d.encode"
    counts = {}
    for call in models.calls:
        reported = config(repository, models.name(call))
        assert reported.name == models.name(call) and reported.backend == "python" and reported.model_warmup
        counts[call] = reported.instance_group[0].count
        assert reported.dynamic_batching.priority_levels == BULK and reported.max_batch_size > 1
        for level in (INTERACTIVE, BULK):
            policy = reported.dynamic_batching.priority_queue_policy[level]
            assert policy.max_queue_size == 17 and policy.allow_timeout_override
            assert policy.timeout_action == pb.ModelQueuePolicy.REJECT and policy.default_timeout_microseconds > 0
        warm = reported.model_warmup[0].inputs
        assert set(warm) == {entry.name for entry in reported.input}
        for entry in warm.values():
            size = (repository / models.name(call) / "warmup" / "ones").stat().st_size
            assert entry.zero_data or size >= np.prod(list(entry.dims)) * (4 if entry.data_type == pb.TYPE_INT32 else 8)
    assert counts == {"encode": 2, "retrieve": 1, "rescore": 3}
    assert inputs_of((repository / models.name("encode") / "config.pbtxt").read_text()) == (IDS, MASK)
    assert config(repository, models.name("retrieve")).parameters["settings"].string_value == '{"nprobe": 8}'


def test_large_files_are_links_and_the_sources_come_along(models: ReleaseModels, repository: Path) -> None:
    prepare(models, repository)
    folder = repository / models.name("rescore") / "1"
    assert models.ranker is not None and (folder / "model.onnx").samefile(models.ranker)
    assert (repository / models.name("retrieve") / "1" / "index.faiss").samefile(models.index)
    # What was copied needs nothing else of this project.
    code = "import engine.onnx.session, engine.vector.index, sys; print(engine.__file__, *sorted(sys.modules))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"]
    where, *modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert where.startswith(str(folder))
    assert not {"pydantic", "tokenizers", "grpc", "torch"} & set(modules)


def test_what_is_there_stays_as_it_is(models: ReleaseModels, repository: Path) -> None:
    prepare(models, repository)
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert prepare(models, repository, Layout(queue=3)) == []
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_a_crash_leaves_no_part_of_a_model(
    models: ReleaseModels, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(triton_repository, "_copy_sources", full)
        with pytest.raises(ReleaseError, match="No space left on device; name a folder Triton reads"):
            prepare(models, repository)
    assert list(repository.iterdir()) == []
    assert len(prepare(models, repository)) == 3


def test_another_process_may_be_faster(
    models: ReleaseModels, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = triton_repository._write_model

    def late(given: ReleaseModels, call: str, folder: Path, layout: Layout) -> None:
        write(given, call, folder, layout)
        if not (repository / given.name(call)).exists():
            write(given, call, _made(repository / given.name(call)), layout)

    monkeypatch.setattr(triton_repository, "_write_model", late)
    prepare(models, repository)
    assert sorted(path.name for path in repository.iterdir()) == sorted(map(models.name, models.calls))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_without_a_cross_encoder_there_is_nothing_to_rescore(models: ReleaseModels, repository: Path) -> None:
    towers = ReleaseModels(models.catalog, models.release, models.query_tower, models.index, models.index_report, None)
    assert len(prepare(towers, repository)) == 2


def test_a_file_that_is_no_model_is_named(models: ReleaseModels, repository: Path) -> None:
    models.query_tower.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"tower\.onnx: is not a model that ONNX Runtime reads"):
        prepare(models, repository)


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_the_official_images_own_backends(models: ReleaseModels, repository: Path, backend: str) -> None:
    prepare(models, repository, Layout(backend=backend, index_device="gpu"))  # type: ignore[arg-type]
    encode, rescore = (config(repository, models.name(call)) for call in ("encode", "rescore"))
    for reported in (encode, rescore):
        assert reported.backend == "onnxruntime" and reported.default_model_filename == "model.onnx"
        assert not any(entry.allow_ragged_batch for entry in reported.input)  # it takes batches of one shape
        assert reported.output[0].name == "answer"
        accelerators = reported.optimization.execution_accelerators.gpu_execution_accelerator
        assert [entry.name for entry in accelerators] == (["tensorrt"] if backend == "tensorrt" else [])
    assert rescore.output[0].HasField("reshape") and not encode.output[0].HasField("reshape")
    index = config(repository, models.name("retrieve"))
    assert index.backend == "python" and index.instance_group[0].kind == pb.ModelInstanceGroup.KIND_GPU
    assert index.instance_group[0].count == 1 and index.parameters["device"].string_value == "gpu"


def test_a_lease_is_shared_or_held_alone(models: ReleaseModels, repository: Path) -> None:
    prepare(models, repository)
    one, other = (Lease(repository, models.name("encode")) for _ in range(2))
    one.share()
    other.share()
    assert not one.hold_exclusively()
    one.close()
    assert other.hold_exclusively()
    other.close()
    with pytest.raises(ReleaseError, match="prepare it again"):
        Lease(repository, "tandem.shop.r-1.encode")


def test_a_killed_process_holds_no_lease(models: ReleaseModels, repository: Path) -> None:
    prepare(models, repository)
    code = (
        "import sys, time; from pathlib import Path; from engine.triton.repository import Lease;"
        "Lease(Path(sys.argv[1]), sys.argv[2]).share(); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(repository), models.name("encode")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        lease = Lease(repository, models.name("encode"))
        assert not lease.hold_exclusively()
        process.kill()
    assert lease.hold_exclusively()
    lease.close()


def test_releases_that_are_gone_are_removed_unless_used(models: ReleaseModels, repository: Path) -> None:
    prepare(models, repository)
    assert prepared(repository, "my.shop") == {models.release} and prepared(repository, "my") == set()
    assert remove_others(repository, "my.shop", {models.release}) == []
    lease = Lease(repository, models.name("encode"))
    lease.share()
    assert remove_others(repository, "my.shop", set()) == []
    lease.close()
    assert remove_others(repository, "my.shop", set()) == [models.release]
    assert list(repository.iterdir()) == []
