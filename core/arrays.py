"""Arrays in files, mapped into memory."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def map_array(path: Path) -> NDArray[Any]:
    """An npy file as a plain array over its mapped bytes, which is not larger than the file; never pickled objects.

    A view, since each slice of `np.memmap` is dear. Raises OSError, or ValueError for what is no such file.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except (TypeError, OverflowError, MemoryError, SyntaxError, RecursionError) as error:
        raise ValueError(f"{path.name} is no array ({type(error).__name__})") from None
