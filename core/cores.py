"""How many cores this process may use."""

import math
import os
from pathlib import Path

_SYSTEM = Path("/")
_UNLIMITED = "max"


def available_cores(system: Path = _SYSTEM) -> int:
    """Cores that the process may run on, and no more than its control groups let it use; at least 1.

    A container's limit is a share of time and no set of cores: of 64 cores one may see all and use two.
    `system` is the root of the file system.
    """
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for quota in map(_quota, _groups(system)) if quota]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def _groups(system: Path) -> list[Path]:
    """The folders of the process's control groups for processor time, and of those above them."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        number, _, rest = line.partition(":")
        kinds, _, group = rest.partition(":")
        if number == "0" or "cpu" in kinds.split(","):
            root = system / "sys/fs/cgroup" / ("" if number == "0" else kinds)
            place = root / group.lstrip("/")
            folders += [place, *(above for above in place.parents if above.is_relative_to(root))]
    return folders


def _quota(group: Path) -> float | None:
    """Cores' worth of time that a group may use; None without a limit."""
    try:
        if (group / "cpu.max").exists():
            time, period = (group / "cpu.max").read_text().split()
        else:
            time, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if time == _UNLIMITED or float(time) <= 0 else float(time) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
