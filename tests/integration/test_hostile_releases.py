"""Releases whose digests are right and whose content is not: each is refused, in one line and in bounded memory."""

import json
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from shops import ROOT, environment, index, write_rows
from tiny import COLOURS, NAMES, write_base

from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.train.export import export_encoder
from indexer.models import ModelFolders

_DEEP = b'{"a":' * 100_000
_MOST_BYTES = 256 << 20  # of memory that opening may take; a whole one of these takes some 40 MB


def _claims(data: bytes, place: int, number: int) -> bytes:
    return data[:place] + struct.pack("<q", number) + data[place + 8 :]


def _longer_codes(data: bytes) -> bytes:
    """The size of the only large vector of an exact index, which stands before its bytes."""
    store = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    size = struct.pack("<q", store.ntotal * store.sa_code_size())
    return _claims(data, data.rindex(size), 1 << 39)


def _other_metric(data: bytes) -> bytes:
    made = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    other = faiss.IndexFlatL2(made.d)
    other.add(made.reconstruct_n(0, made.ntotal))
    return faiss.serialize_index(other).tobytes()


def _fewer_vectors(data: bytes) -> bytes:
    made = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    made.remove_ids(np.arange(3))
    return faiss.serialize_index(made).tobytes()


def _compressed(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _offsets_beyond(data: bytes) -> bytes:
    """Of the strings in the middle: the first and the last are as they were."""
    ends = pa.ipc.open_file(pa.py_buffer(data)).get_batch(0).column("id").buffers()[1].to_pybytes()[: 4 * 96]
    return data.replace(ends, ends[:64] + struct.pack("<i", 1 << 30) * 8 + ends[96:])


def _no_footer(data: bytes) -> bytes:
    return data[:-10] + struct.pack("<i", 1 << 30) + data[-6:]


def _huge_array(data: bytes) -> bytes:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data[-64:]


def _pickled(_: bytes) -> bytes:
    return pickle.dumps({"a": 1})


def _external(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return model.SerializeToString()


def _external_inside(data: bytes) -> bytes:
    """In the branch of an `If`, where no initializer of the graph is."""
    model = onnx.load_model_from_string(data)
    value = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="tokenizer.json")
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=value)], "b", [], [out])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", TensorProto.BOOL, [], [True]))
    model.graph.node.extend([yes, helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)])
    return model.SerializeToString()


def _no_model(_: bytes) -> bytes:
    return b"\x3b" * 1000  # a group, which ONNX does not write


HOSTILE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "an index of 2^40 vectors": ("index.faiss", lambda data: _claims(data, 8, 1 << 40), "FAISS|vectors"),
    "codes of 2^39 bytes": ("index.faiss", _longer_codes, "not an index that FAISS reads"),
    "an index of other rows": ("index.faiss", _fewer_vectors, "holds 93 vectors of 32 dimensions, not 96 of 32"),
    "an index of another metric": ("index.faiss", _other_metric, "another metric than inner products"),
    "no index": ("index.faiss", lambda _: b"IxXX" + bytes(100), "not an index that FAISS reads"),
    "compressed columns": ("products.arrow", _compressed, "it is compressed"),
    "compressed typed columns": ("columns.arrow", _compressed, "it is compressed"),
    "strings outside of their bytes": ("products.arrow", _offsets_beyond, "products.arrow is not a catalog's columns"),
    "a footer that leads nowhere": ("products.arrow", _no_footer, "its footer leads nowhere"),
    "no columns": ("products.arrow", lambda _: b"", "products.arrow is not a catalog's columns"),
    "an array of 2^40 numbers": ("lexical/title_rows.npy", _huge_array, "lexical"),
    "a pickle": ("lexical/title_rows.npy", _pickled, "lexical"),
    "a pickle among suggestions": ("suggestions/heads.npy", _pickled, "suggestions"),
    "weights outside of the release": ("encoder/model.onnx", _external, "keeps .* in another file"),
    "weights outside, in a branch": ("encoder/model.onnx", _external_inside, "keeps 'far' in another file"),
    "no model": ("encoder/model.onnx", _no_model, "not a model that ONNX Runtime reads"),
    "a deep tokenizer": ("encoder/tokenizer.json", lambda _: _DEEP, "is not a tokenizer"),
    "a deep spec": ("encoder/tower.json", lambda _: _DEEP, "is not a spec"),
    "deep statistics": ("lexical/statistics.json", lambda _: _DEEP, "RecursionError|lexical"),
    "deep synonyms": ("lexical/synonyms.json", lambda _: _DEEP, "not what this version reads"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReleaseStore, Manifest]:
    base = tmp_path_factory.mktemp("hostile")
    export_encoder(write_base(base / "base"), base / "encoder")
    rows = [{"id": f"{name}-{colour}", "title": f"{name} {colour}"} for name in NAMES for colour in COLOURS]
    store = ReleaseStore(base / "releases")
    return store, index(write_rows(base / "feed.jsonl", rows), ModelFolders(base / "encoder", None), store).manifest


def publish_hostile(store: ReleaseStore, whole: Manifest, name: str, data: bytes, number: int, scratch: Path) -> str:
    """A release with other content of one file, and the digests of that."""
    scratch.write_bytes(data)
    entry = store.add(scratch)
    part = "model" if name in whole.model.files else "snapshot"
    files = getattr(whole, part).files | {name: entry}
    changed = getattr(whole, part).model_copy(update={"files": files})
    manifest = whole.model_copy(update={"release_id": f"r-20270101T000000Z-{number:08x}", part: changed})
    return store.publish(manifest).release_id


def test_hostile_releases_are_refused_in_bounded_memory(made: tuple[ReleaseStore, Manifest], tmp_path: Path) -> None:
    store, whole = made
    folder = store.path(whole.catalog, whole.release_id)
    releases = {
        publish_hostile(store, whole, name, change((folder / name).read_bytes()), number, tmp_path / "scratch"): what
        for number, (what, (name, change, _)) in enumerate(HOSTILE.items())
    }
    arguments = [ROOT / "tests" / "open_releases.py", store.root, whole.catalog, whole.release_id, *releases]
    run = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment(), check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads(run.stdout)
    assert results.pop(whole.release_id)["kind"] == ""
    for release, result in results.items():
        what = releases[release]
        assert result["kind"] in ("ReleaseError", "ModelError"), (what, result)
        assert "\n" not in result["text"], (what, result)
        assert result["peak"] < _MOST_BYTES, (what, result)
        assert re.search(HOSTILE[what][2], result["text"]), (what, result)
