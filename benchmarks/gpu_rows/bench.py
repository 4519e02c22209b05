"""What rows of GPU measurements share: sizes, timing on a device, and its ceilings."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a BERT: all-MiniLM-L6-v2's, or small ones for trying the code."""

    layers: int = 6
    width: int = 384
    heads: int = 12
    inner: int = 1536
    words: int = 30_522

    def flops(self, tokens: int) -> float:
        """Floating-point operations of one sequence of `tokens` tokens: products with weights, and attention's two."""
        weights = 4 * self.width**2 + 2 * self.width * self.inner
        return 2.0 * self.layers * tokens * (weights + 2 * tokens * self.width)


@dataclass(frozen=True, slots=True)
class Size:
    """How much each row runs."""

    shape: Shape = Shape()
    tokens: int = 64
    pair_batches: tuple[int, ...] = (256, 1_024, 4_096)
    texts: int = 400_000
    text_batch: int = 16_384
    vectors: int = 10_000_000
    queries: int = 256
    chunks: tuple[int, ...] = (1 << 15, 1 << 16, 1 << 18)
    codes: int = 1_000_000
    lists: int = 4_096
    products: int = 1_000_000
    servers: int = 8
    rates: tuple[int, ...] = (250, 500, 1_000, 1_500, 2_000, 2_500)
    load_seconds: float = 8.0
    seconds: float = 3.0
    matrix: int = 8_192
    copied: int = 4 << 30
    train_batch: int = 256


SMALL = Size(
    shape=Shape(2, 32, 2, 64, 600), tokens=12, pair_batches=(8,), texts=300, text_batch=128, vectors=3_000, queries=8,
    chunks=(1_024,), codes=3_000, lists=8, products=300, servers=1, rates=(2,), load_seconds=2.0, seconds=0.1,
    matrix=64, copied=1 << 20, train_batch=8,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how much. `scratch` is a folder for files; `encoder` and `ranker` are models with half-precision
    weights, or None for random weights of the shape."""

    device: str
    size: Size
    scratch: Path
    encoder: Path | None = None
    ranker: Path | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU, and not what stands in for one."""
        return self.device == "cuda"

    def wait(self) -> None:
        """Waits until the device has finished all queued work."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds_each(self, run: Callable[[], Any], warm: int = 3) -> float:
        """The median of runs that each end with the device idle, for `size.seconds` and at least five times."""
        for _ in range(warm):
            run()
        times: list[float] = []
        self.wait()
        begin = time.perf_counter()
        while len(times) < 5 or time.perf_counter() - begin < self.size.seconds:
            start = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - start)
        return float(np.median(times))


@cache
def ceilings(bench: Bench) -> dict[str, float]:
    """Bytes/s of a copy on the device, read and written, and FLOP/s of a product in half precision, both measured."""
    source = torch.ones(bench.size.copied, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copy = bench.seconds_each(lambda: target.copy_(source))
    size = bench.size.matrix
    a, b = (torch.randn(size, size, device=bench.device, dtype=torch.float16) for _ in range(2))
    product = bench.seconds_each(lambda: a @ b)
    return {"bytes_per_s": 2 * len(source) / copy, "flops_per_s": 2 * size**3 / product}


def machine(bench: Bench) -> dict[str, Any]:
    """What the hardware's and the packages' records lack: the GPU and its driver's CUDA."""
    if not bench.on_gpu:
        return {"gpu": None, "torch": torch.__version__}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpus": torch.cuda.device_count(),
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def attempts(tries: Mapping[str, Callable[[], dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each way's result, or why it has none: one that fails stops no other."""
    for name, attempt in tries.items():
        try:
            yield name, attempt()
        except Exception as error:
            yield name, {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
