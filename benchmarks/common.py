"""What benchmarks share: the hardware they ran on, percentiles, a service to ask, and the file each leaves."""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from core.errors import TandemError

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("tandem-retrieval", "onnxruntime", "faiss-cpu", "grpcio", "numpy", "torch", "sentence-transformers")


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


def processor_seconds(pid: int) -> float:
    """What a process and those it started, while they live, have taken of the processor."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for each in children for child in each)


def save(name: str, parameters: dict[str, Any], results: Any) -> Path:
    """Writes one run to `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": {package: version(package) for package in _PACKAGES},
        "parameters": parameters,
        "results": results,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


@contextmanager
def serving(releases: Path, address: str, environment: Mapping[str, str]) -> Iterator[int]:
    """A `tandem serve` of its own with these settings, once it accepts calls; yields its process id.

    Raises TandemError when it does not start within five minutes.
    """
    command = [sys.executable, "-m", "lifecycle.cli", "serve", "--releases", str(releases), "--address", address]
    process = subprocess.Popen(command, env=os.environ | dict(environment), stdout=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=300)
        yield process.pid
    except grpc.FutureTimeoutError:
        raise TandemError(f"the service did not start on {address}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
