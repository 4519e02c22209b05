"""The page that Prometheus scrapes: counts of all processes, from the memory they share, and their gauges.

Each serving process counts in files of a folder, by prometheus_client's way for several processes, on a file system in
memory where there is one. The counts of a process that ended are added to those of all that did, so that they never
fall and the folder does not grow.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core.errors import TandemError
from retrieval.telemetry.names import GAUGES
from retrieval.telemetry.state import State, merge

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which a process learns where to count; before prometheus_client is imported."""
_MEMORY = Path("/dev/shm")
_PREFIX = "tandem-metrics-"
_KINDS = ("counter", "histogram", "summary")
_ENDED = "ended"


class SharedCounts(Collector):
    """The counts of all processes, those that ended among them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        with self._lock:
            # A process that has made a file just now, or was killed then, has written nothing yet.
            files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
            return MultiProcessCollector.merge(files)

    def absorb(self, pid: int) -> None:
        """Adds the counts of a process that has ended to those of all that have."""
        with self._lock:
            for kind in _KINDS:
                file = self._folder / f"{kind}_{pid}.db"
                if not file.exists():
                    continue
                if not file.stat().st_size:
                    file.unlink()
                    continue
                ended = MmapedDict(str(self._folder / f"{kind}_{_ENDED}.db"))
                try:
                    for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):
                        before, _ = ended.read_value(key)
                        ended.write_value(key, before + value, 0.0)
                finally:
                    ended.close()
                file.unlink()


class ProcessGauges(Collector):
    """The gauges of the processes that live, as each reported them last."""

    def __init__(self, states: Callable[[], list[State]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        merged = merge(self._states(), {gauge.name: gauge.merge for gauge in GAUGES})
        for gauge in GAUGES:
            if values := merged.get(gauge.name):
                family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
                for labels, value in sorted(values.items()):
                    family.add_metric(labels, value)
                yield family


class Supervision(Collector):
    """How many processes there are, and how often one was started again."""

    def __init__(self, serving: Callable[[], int], expected: int, restarts: Callable[[], int]) -> None:
        self._serving, self._expected, self._restarts = serving, expected, restarts

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        yield GaugeMetricFamily("tandem_processes", "Serving processes that accept calls.", self._serving())
        yield GaugeMetricFamily("tandem_processes_expected", "Serving processes that ought to.", self._expected)
        restarted = "Serving processes that ended and were started again."
        yield CounterMetricFamily("tandem_process_restarts", restarted, self._restarts())
        build = GaugeMetricFamily("tandem_build_info", "1, with the version.", labels=["version"])
        build.add_metric([version("tandem-retrieval")], 1)
        yield build


@contextlib.contextmanager
def serve_metrics(address: str, collectors: Iterable[Collector]) -> Iterator[str]:
    """Answers scrapes on HOST:PORT, on threads of its own, while the block runs; yields the page's URL.

    Raises TandemError where the address cannot be listened on.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        reason = error.strerror or error
        raise TandemError(f"metrics cannot be served on {address}: {reason}; set another metrics_address") from None
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def counts_folder() -> Iterator[Path]:
    """A folder for the counts of several processes, in memory where there is such a file system, gone in the end.

    What supervisors left that were killed is removed.
    """
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
    except OSError as error:
        raise TandemError(f"no folder for metrics can be made in {parent}: {error.strerror}; set TMPDIR") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
