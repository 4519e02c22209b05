"""A release's models in a Triton server: prepared, loaded while any process uses them, unloaded by the last one."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from engine.protocol import EngineError
from engine.triton.config import Layout, inputs_of
from engine.triton.repository import ENCODE, RETRIEVE, Lease, ReleaseModels, prepare, prepared

log = logging.getLogger("tandem.triton")

_QUICK_SECONDS = 2.0
_LOAD_SECONDS = 300.0
_UNLOAD_SECONDS = 10.0


class ServerMissing(EngineError):
    """No server listens at the address."""


class Residence:
    """A process's use of a release's models. Its methods wait for the server: call them off the event loop."""

    def __init__(self, address: str, repository: Path, models: ReleaseModels, layout: Layout | None = None) -> None:
        """Prepares the models where they are missing and takes the lease, so that nobody unloads them.

        Raises ReleaseError or ModelError.
        """
        prepare(models, repository, layout)
        self._address = address
        self._repository = repository
        self._models = models
        self._lease = Lease(repository, models.name(ENCODE))
        self._lease.share()

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The inputs of each text model."""
        return {call: inputs_of(self._config(call)) for call in self._models.calls if call != RETRIEVE}

    def load(self) -> None:
        """Loads the models that the server does not have, and unloads those of other releases that nobody uses.

        Raises EngineError when the server does not answer, or cannot load them.
        """
        with _connected(self._address) as stub:
            self._unload_unused(stub)
            names = [self._models.name(call) for call in self._models.calls]
            missing = [
                name
                for name in names
                if not stub.ModelReady(pb.ModelReadyRequest(name=name), timeout=_QUICK_SECONDS).ready
            ]
            loads = [
                stub.RepositoryModelLoad.future(pb.RepositoryModelLoadRequest(model_name=name), timeout=_LOAD_SECONDS)
                for name in missing
            ]
            for load in loads:
                load.result()

    def leave(self) -> None:
        """Releases the models, on a separate thread; models that no process uses any more are unloaded."""
        threading.Thread(target=self._leave, name="leave-triton").start()

    def _leave(self) -> None:
        try:
            if self._lease.hold_exclusively():
                with _connected(self._address) as stub:
                    _unload(stub, [self._models.name(call) for call in self._models.calls])
        except ServerMissing:
            pass  # and so nothing is loaded
        except EngineError as error:
            log.warning("release %s stays loaded: %s", self._models.release, error)
        finally:
            self._lease.close()

    def _unload_unused(self, stub: rpc.GRPCInferenceServiceStub) -> None:
        """Removes what a killed process left behind."""
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=_QUICK_SECONDS)
        loaded = {model.name for model in index.models}
        catalog = self._models.catalog
        for release in prepared(self._repository, catalog) - {self._models.release}:
            prefix = f"{self._models.name('').removesuffix(self._models.release + '.')}{release}."
            names = sorted(name for name in loaded if name.startswith(prefix))
            if not names:
                continue
            lease = Lease(self._repository, prefix + ENCODE)
            try:
                if lease.hold_exclusively():
                    _unload(stub, names)
            finally:
                lease.close()

    def _config(self, call: str) -> str:
        return (self._repository / self._models.name(call) / "config.pbtxt").read_text()


def _unload(stub: rpc.GRPCInferenceServiceStub, names: Sequence[str]) -> None:
    for name in names:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name), timeout=_UNLOAD_SECONDS)


@contextmanager
def _connected(address: str) -> Iterator[rpc.GRPCInferenceServiceStub]:
    """A connection for a few calls, whose failures become EngineError."""
    with grpc.insecure_channel(address) as channel, _as_engine_errors(address):
        stub = rpc.GRPCInferenceServiceStub(channel)
        stub.ServerReady(pb.ServerReadyRequest(), timeout=_QUICK_SECONDS)
        yield stub


@contextlib.contextmanager
def _as_engine_errors(address: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        details = (error.details() or "").strip().splitlines()
        code = error.code().name
        kind = ServerMissing if code == "UNAVAILABLE" else EngineError
        raise kind(f"Triton at {address}: {code}: {details[0] if details else 'without a reason'}") from None
