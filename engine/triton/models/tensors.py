"""Tensors of Triton's Python backend as numpy arrays, and back.

They cross by DLPack: the backend was built for numpy 1, and misreads the arrays of numpy 2 silently.
"""

import ctypes
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

# The backend marks what it took with a name of its own, at which numpy complains; this is the one it looks for.
_TAKEN = b"used_dltensor"
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


def taken(request: Any, name: str) -> np.ndarray | None:
    """A request's input, not to be written to; None where the request has none of that name."""
    tensor = triton.get_input_tensor_by_name(request, name)
    return None if tensor is None else np.from_dlpack(tensor)


def answer(outputs: dict[str, np.ndarray]) -> Any:
    """A response of these outputs, which are copied: what came by DLPack may not leave by it."""
    return triton.InferenceResponse([_tensor(name, np.array(array, order="C")) for name, array in outputs.items()])


def failure(error: Exception) -> Any:
    """A response with the error."""
    return triton.InferenceResponse(error=triton.TritonError(f"{type(error).__name__}: {error}"))


def dropped() -> Any:
    """A response to a request that no caller waits for."""
    return triton.InferenceResponse(error=triton.TritonError("was cancelled", triton.TritonError.CANCELLED))


def _tensor(name: str, array: np.ndarray) -> Any:
    capsule = array.__dlpack__()
    tensor = triton.Tensor.from_dlpack(name, capsule)
    _rename(capsule, _TAKEN)
    return tensor
