"""Bases by name: which of several is taken, from where, at which revision; and what a missing network costs."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import ModelError
from training import bases as module
from training.bases import BaseResolver
from training.export import base_name
from training.known_bases import KNOWN_BASES, Base, BaseSources, find_base

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b'{"pooling_mode": "cls"}',
    "model.safetensors": b"weights" * 100,
    "onnx/model.onnx": b"left out",
    "pytorch_model.bin": b"a pickle",
}


class Hub(ThreadingHTTPServer):
    """Answers as a hub does for one model, `team/tiny`; `requests` are the paths that were asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.requests = files, list[str]()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        resolved = f"/team/tiny/resolve/{COMMIT}/"
        if path in ("/api/models/team/tiny", *(f"/api/models/team/tiny/revision/{name}" for name in ("main", COMMIT))):
            siblings = [{"rfilename": name} for name in self.server.files]
            self._send(json.dumps({"id": "team/tiny", "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
        elif path.startswith(f"/api/models/team/tiny/tree/{COMMIT}"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.server.files.items()
            ]
            self._send(json.dumps(entries).encode())
        elif path.startswith(resolved) and (data := self.server.files.get(path.removeprefix(resolved))):
            self._send(data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such model"}, 404)

    def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub(dict(FILES))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def resolver(tmp_path: Path, endpoint: str, **settings: object) -> BaseResolver:
    return BaseResolver(BaseSources.model_validate(settings), tmp_path / "cache", endpoint)


def write_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_hub_gives_it_once_and_then_the_cache_does(hub: Hub, tmp_path: Path) -> None:
    first = resolver(tmp_path, hub.url).resolve(["team/other", "team/tiny"], "encoder")
    assert first.location is not None and (first.origin, first.name) == ("hub", f"team/tiny@{COMMIT}")
    names = {path.relative_to(first.location).as_posix() for path in Path(first.location).rglob("*") if path.is_file()}
    assert names == FILES.keys() - {"onnx/model.onnx", "pytorch_model.bin"}
    assert (Path(first.location) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    [why] = first.passed
    assert why.startswith("team/other: ") and "does not have it" in why
    assert first.lines[-1] == f"the encoder starts from team/tiny@{COMMIT} (from the hub)"
    requests = len(hub.requests)
    again = resolver(tmp_path, hub.url).resolve(["team/tiny"], "encoder")
    assert (again.origin, again.location) == ("cache", first.location) and len(hub.requests) == requests
    pinned = resolver(tmp_path, closed_port()).resolve([f"team/tiny@{COMMIT}"], "ranker")
    assert (pinned.origin, pinned.location) == ("cache", first.location)


def test_the_endpoint_of_the_environment_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    assert BaseResolver(cache=tmp_path).need("team/tiny", "encoder").origin == "hub"


def test_a_download_that_was_cut_off_is_finished(hub: Hub, tmp_path: Path) -> None:
    found = resolver(tmp_path, hub.url).need("team/tiny", "encoder")
    (Path(found.location or "") / "model.safetensors").unlink()
    assert resolver(tmp_path, hub.url).need("team/tiny", "encoder").origin == "hub"
    assert (Path(found.location or "") / "model.safetensors").is_file()


def test_a_model_without_one_of_its_shards_is_not_whole(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models" / "tiny")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    search = resolver(tmp_path, closed_port(), folder=tmp_path / "models")
    assert search.resolve(["team/tiny"], "encoder").origin == "package"
    (folder / "model-2.safetensors").touch()
    assert search.resolve(["team/tiny"], "encoder").origin == "folder"


def test_weights_that_run_code_are_not_taken(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    found = resolver(tmp_path, hub.url).resolve(["team/tiny"], "encoder")
    assert found.origin == "package" and "safetensors" in found.passed[0]


def test_without_a_network_the_packaged_model_is_taken(tmp_path: Path) -> None:
    found = resolver(tmp_path, closed_port()).resolve(["team/tiny", "team/other"], "encoder")
    assert (found.origin, found.location, found.name) == ("package", None, "all-MiniLM-L6-v2")
    assert "refused" in found.passed[0].lower() and found.passed[1].endswith("does not answer")
    with pytest.raises(ModelError, match=r"^team/tiny: .*; give a folder, or a hub id that can be reached$"):
        resolver(tmp_path, closed_port()).need("team/tiny", "encoder")


def test_a_hub_that_never_answers_is_asked_once_and_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = resolver(tmp_path, url, seconds=0.3).resolve(["a/b", "c/d", "e/f"], "ranker")
        assert found.origin == "package" and len(found.passed) == 3
        assert time.monotonic() - began < 30  # not the minutes of three names with five tries each


def test_a_call_that_hangs_is_left_alone_and_one_that_goes_on_is_not() -> None:
    hanging = threading.Event()
    with pytest.raises(TimeoutError):
        module._watched(hanging.wait, 0.1)
    hanging.set()
    ticks = iter(range(10_000))
    slow = threading.Event()
    threading.Timer(0.5, slow.set).start()
    assert module._watched(slow.wait, 0.2, lambda: next(ticks))
    with pytest.raises(ValueError, match="itself"):
        module._watched(lambda: int("itself"), 1.0)


def test_offline_nothing_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = resolver(tmp_path, hub.url).resolve(["team/tiny"], "encoder")
    assert found.origin == "package" and "HF_HUB_OFFLINE" in found.passed[0] and not hub.requests


@pytest.mark.parametrize("below", ["team/tiny", "tiny"])
def test_a_folder_has_models_by_their_ids(below: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models" / below)
    found = resolver(tmp_path, closed_port(), folder=tmp_path / "models").resolve(["team/tiny"], "encoder")
    assert (found.origin, found.location, found.name) == ("folder", str(folder), "tiny")


def test_a_folder_of_its_own_comes_first_and_anything_else_is_no_hub_id(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    found = resolver(tmp_path, closed_port()).resolve(["../a/b/c", str(folder)], "ranker")
    assert (found.origin, found.location) == ("folder", str(folder))
    assert found.passed == ("../a/b/c: is no folder, and no hub id",)


@pytest.mark.parametrize("name", ["", " ", "x" * 200, "x" * 5_000])
def test_a_name_that_can_be_none_is_quoted_in_short(name: str, tmp_path: Path) -> None:
    """The empty name is not the folder in which the command runs."""
    with pytest.raises(ModelError) as raised:
        resolver(tmp_path, closed_port()).need(name, "encoder")
    shown = repr(name if len(name) < 40 else "x" * 39 + "…")
    assert str(raised.value).startswith(f"{shown}: is no folder, and no hub id; give a folder")


def test_a_base_that_a_user_describes_sets_prefixes(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models" / "mine")
    own = Base(name="me/mine", kind="encoder", query_prefix="q: ", pooling="cls", license="mit")
    found = resolver(tmp_path, closed_port(), folder=tmp_path / "models", models=[own]).resolve(["me/mine"], "encoder")
    assert found.settings == {"base": str(folder), "query_prefix": "q: ", "item_prefix": "", "pooling": "cls"}
    assert found.lines == ["the encoder starts from mine (from the folder, licence mit)"]
    known = resolver(tmp_path, closed_port(), folder=tmp_path / "models")
    assert known.resolve(["me/mine"], "encoder").settings == {"base": str(folder)}


def test_names_keep_hub_ids_revisions_and_the_bases_of_trainings(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--BAAI--bge-small-en-v1.5" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    assert base_name(str(snapshot)) == f"BAAI/bge-small-en-v1.5@{COMMIT}"
    known = find_base(base_name(str(snapshot)), "encoder")
    assert known is not None and known.pooling == "cls" and known.query_prefix.endswith("passages: ")
    (tmp_path / "encoder" / "checkpoint").mkdir(parents=True)
    (tmp_path / "encoder" / "tower.json").write_text('{"base": "team/tiny@1"}')
    for folder in ("encoder", "encoder/checkpoint"):
        assert base_name(str(tmp_path / folder)) == "team/tiny@1"


def test_known_bases_are_told_apart_by_kind_and_pinned_whole() -> None:
    assert len({(base.name, base.kind) for base in KNOWN_BASES}) == len(KNOWN_BASES)
    assert all(base.revision is None or len(bytes.fromhex(base.revision)) == 20 for base in KNOWN_BASES)
    assert find_base("BAAI/bge-small-en-v1.5", "ranker") is None
    assert find_base("e5-small-v2", "encoder") == find_base("intfloat/e5-small-v2@main", "encoder")
