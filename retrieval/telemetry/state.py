"""What a serving process is like at this moment, as gauges."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

State: TypeAlias = dict[str, list[list]]
"""For each name of `GAUGES` its samples: the values of its labels, then its value. It is sent as JSON."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class StateReader:
    """Reads the gauges of a process from what registered."""

    def __init__(self) -> None:
        self._sources: list[Callable[[State], None]] = []

    def add(self, read: Callable[[State], None]) -> None:
        """`read` puts samples into a state, by `put`, in microseconds and without blocking."""
        self._sources.append(read)

    def read(self) -> State:
        """All gauges now."""
        state: State = {}
        for read in self._sources:
            read(state)
        return state


def put(state: State, name: str, value: float, *labels: str) -> None:
    """Adds a sample."""
    state.setdefault(name, []).append([*labels, float(value)])


def read_memory(state: State) -> None:
    """Resident memory of this process, where the system reports it."""
    if _STATM.exists():
        put(state, "tandem_resident_memory_bytes", int(_STATM.read_text().split()[1]) * _PAGE)


def read_disk(folder: Path) -> Callable[[State], None]:
    """Room on the disk of a folder."""

    def read(state: State) -> None:
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            return
        put(state, "tandem_disk_free_bytes", usage.free)
        put(state, "tandem_disk_size_bytes", usage.total)

    return read


_MERGES: Mapping[str, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}


def merge(states: list[State], how: Mapping[str, str]) -> dict[str, dict[tuple[str, ...], float]]:
    """One value for each name and its labels, of those of all processes; `how` has the merge of each name that is
    known, and others are left out."""
    merged: dict[str, dict[tuple[str, ...], float]] = {}
    for state in states:
        for name, samples in state.items():
            if name not in how:
                continue
            values = merged.setdefault(name, {})
            for *labels, value in samples:
                key = tuple(map(str, labels))
                values[key] = _MERGES[how[name]](values[key], value) if key in values else value
    return merged
