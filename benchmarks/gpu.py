"""All that is to be measured on a machine with a GPU, in one call; what has been measured is saved after each row.

    python -m benchmarks.gpu [--device cuda] [--rows name,name] [--minutes 9] [--output FOLDER]
    python -m benchmarks.gpu --device cpu --small          # every row's code, on any machine, in a minute

A row that fails reports why and stops no other. Rows for which too little time is left are named and not begun. Models
have random weights of all-MiniLM-L6-v2's shape, unless `--encoder` and `--ranker` name folders with half-precision
weights.
GPU.md lists what to bring along and in which order.
"""

import argparse
import importlib
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, save


@dataclass(frozen=True, slots=True)
class Row:
    """A function of a module below `benchmarks.gpu_rows`, and the seconds that it takes at most on one H200."""

    module: str
    seconds: int


# In the order in which they run: what matters most first, the longest last.
ROWS = {
    "ceilings": Row("bench", 15),
    "cross_encoder": Row("models", 90),
    "exact_search": Row("search", 150),
    "item_tower": Row("models", 40),
    "training": Row("models", 40),
    "precisions": Row("models", 40),
    "service": Row("service", 240),
    "approximate_search": Row("search", 90),
}


def main() -> int:
    """Runs the rows and prints one line for each. Exit status 1 where one failed."""
    options = _options()
    from benchmarks.gpu_rows.bench import SMALL, Bench, Size, machine

    size = SMALL if options.small else Size()
    begin = time.monotonic()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(options.device, size, Path(scratch), options.encoder, options.ranker)
        models = "random weights" if options.encoder is None else str(options.encoder.name)
        parameters = {"device": options.device, "models": models, **machine(bench), "size": asdict(size)}
        for name in options.rows:
            left = 60 * options.minutes - (time.monotonic() - begin)
            results[name] = _run(name, bench, left, options.small)
            path = save(options.name, parameters, results, options.output)
            print(f"{name}: {results[name]}", flush=True)
    print(path)
    return int(any("failed" in result for result in results.values()))


def _run(name: str, bench: Any, left: float, small: bool) -> dict[str, Any]:
    row = ROWS[name]
    if left < row.seconds and not small:
        return {"not_begun": f"{left:.0f} s were left, and it takes up to {row.seconds}"}
    start = time.monotonic()
    try:
        module = importlib.import_module(f"benchmarks.gpu_rows.{row.module}")
        result: dict[str, Any] = getattr(module, name)(bench)
    except Exception as error:  # whatever it is, the next row is measured
        traceback.print_exc()
        result = {"failed": f"{type(error).__name__}: {error}"[:500]}
    if bench.on_gpu:
        import torch

        torch.cuda.empty_cache()
    return {**result, "seconds": round(time.monotonic() - start, 1)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes, which measure nothing")
    parser.add_argument("--rows", default=",".join(ROWS), help="of: %(default)s")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no row is begun that may not end")
    parser.add_argument("--encoder", type=Path, help="towers with half-precision weights")
    parser.add_argument("--ranker", type=Path, help="a cross-encoder with half-precision weights")
    parser.add_argument("--scratch", type=Path, help="folder for files, 4 GB; default: the system's")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--name", default="gpu", help="of the results file")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no such rows: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
