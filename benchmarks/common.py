"""What every benchmark shares: the hardware it ran on, percentiles, and the file it leaves."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

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
