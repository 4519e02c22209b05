"""Training in several processes, as torchrun starts them: the first writes, the others wait for it."""

import os


def count() -> int:
    """The number of processes that train together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """The number of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that writes, reports and records."""
    return os.environ.get("RANK", "0") == "0"


def barrier() -> None:
    """Returns when every process has reached it; at once with a single process. Call it after a trainer was made."""
    if count() > 1:
        import torch.distributed

        torch.distributed.barrier()
