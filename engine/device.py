"""Where models run: on processors, or on GPUs where there are any. Asks without loading torch as long as it can."""

import ctypes
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, TypeAlias

from core.errors import TandemError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]

# Distributions that install the same folder: whichever came last has written over the other's files.
_CONFLICTING = (
    ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-cuda"),
    ("onnxruntime", "onnxruntime-gpu"),
)


def chosen_device(device: Device) -> Literal["cpu", "cuda"]:
    """Where models run. Raises TandemError where a GPU is requested and cannot be used."""
    if device == "cpu":
        return "cpu"
    problem = _gpu_problem()
    if problem and device == "cuda":
        raise TandemError(f"device cuda: {problem}; or take --device cpu")
    return "cpu" if problem else "cuda"


def check_packages() -> None:
    """Raises TandemError where packages are installed that write over each other, which pip does not prevent."""
    for names in _CONFLICTING:
        installed = [name for name in names if _installed(name)]
        if len(installed) > 1:
            raise TandemError(
                f"{' and '.join(installed)} are both installed and write over each other's files: pip uninstall "
                f"{' '.join(installed)}, then pip install 'tandem-retrieval[cpu]' or 'tandem-retrieval[gpu]', not both"
            )


def _gpu_problem() -> str:
    """What keeps a GPU from being used; empty where nothing does."""
    if not _driver_sees_gpu():
        return "NVIDIA's driver shows no GPU here"
    if find_spec("torch") is None or find_spec("safetensors") is None:
        return "it needs pip install 'tandem-retrieval[gpu]'"
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} was built without CUDA, or for another driver: install one for this machine"
    return ""


def _driver_sees_gpu() -> bool:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
