"""What benchmarks share: the hardware they ran on, percentiles, a service to ask, and the file each leaves."""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from core.errors import TandemError

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    *("tandem-retrieval", "onnxruntime", "faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "grpcio", "numpy"),
    *("cachetools", "locust", "torch", "triton", "tokenizers", "transformers", "sentence-transformers"),
)


def hardware() -> dict[str, Any]:
    """The processor's model, its cores for this process, and memory in GiB."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "vnni": "avx512_vnni" in flags or "avx_vnni" in flags,
        "python": platform.python_version(),
    }


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    values = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
    return {name: round(float(value), 2) for name, value in zip(("p50_ms", "p95_ms", "p99_ms"), values, strict=True)}


def versions() -> dict[str, str]:
    """Versions of the packages that figures depend on, as far as they are installed."""
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def save(name: str, parameters: dict[str, Any], results: Any, folder: Path = RESULTS) -> Path:
    """Writes one run to `<name>.json` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "parameters": parameters,
        "results": results,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that a process and those it started, while they live, have taken so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for each in children for child in each)


def free_address() -> str:
    """An address of this machine on which nothing listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def fixed_places(number: int) -> dict[str, str]:
    """Settings of a service that lets so many requests in however long they take, and gives up no quality for them:
    what is measured is all that it can do."""
    return {f"TANDEM_SERVE_{name}_IN_FLIGHT": str(4 * number) for name in ("MAX", "LEAST")}


# For a service whose models are measured: the same few queries come again and again.
NO_CACHES = {f"TANDEM_SERVE_{name}_CACHE_BYTES": "0" for name in ("QUERY", "CANDIDATE", "SCORE")}


@contextmanager
def serving(releases: Path, address: str, environment: Mapping[str, str], log: Path | None = None) -> Iterator[int]:
    """A `tandem serve` of its own with these settings, once it accepts calls; yields its process id. What it logs goes
    to the file, if one is given, and is complete after the block.

    Raises TandemError when it does not start within five minutes.
    """
    command = [sys.executable, "-m", "lifecycle.cli", "serve", "--releases", str(releases), "--address", address]
    with log.open("wb") if log else nullcontext() as log_file:
        settings = os.environ | dict(environment)
        process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=log_file)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=300)
        yield process.pid
    except grpc.FutureTimeoutError:
        raise TandemError(f"the service did not start on {address}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
