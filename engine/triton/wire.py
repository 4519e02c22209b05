"""Requests to a Triton server, and answers read from it with nothing taken on trust."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from engine.onnx.session import SEGMENTS, padded_inputs
from engine.protocol import EngineError, Tokens, Vectors
from engine.soundness import check_directions
from engine.triton.config import BULK, INTERACTIVE, ROWS, VECTOR, K

_NAMES = {np.dtype(np.int64): "INT64", np.dtype(np.int32): "INT32", np.dtype(np.float32): "FP32"}
_MICROS = 1_000_000
_PAD_TO = 8  # where Triton batches equal shapes only, near-equal lengths meet


class WrongAnswer(EngineError):
    """The server answered with something else than the model's outputs."""


def text_tensors(
    inputs: Sequence[str], tokens: Sequence[Tokens], segments: Sequence[Tokens] | None = None
) -> dict[str, NDArray]:
    """The named inputs of n sequences, each of shape (n, t), t a multiple of 8."""
    longest = max(map(len, tokens))
    extra = -longest % _PAD_TO
    feed = padded_inputs(inputs, tokens, segments if SEGMENTS in inputs else None)
    return {name: np.pad(values, ((0, 0), (0, extra))) for name, values in feed.items()}


def search_tensors(vectors: Vectors, k: int) -> dict[str, NDArray]:
    """What asks the index for the k best of n vectors of shape (n, d)."""
    n = len(vectors)
    return {VECTOR: vectors, K: np.full((n, 1), k, np.int32), ROWS: np.full((n, 1), -1, np.int64)}


def compare_tensors(vector: Vectors, rows: NDArray[np.int64]) -> dict[str, NDArray]:
    """What asks the index for the scores of r rows against a vector of shape (d,)."""
    return {VECTOR: vector[None], K: np.zeros((1, 1), np.int32), ROWS: rows[None]}


def infer_request(
    model: str, tensors: Mapping[str, NDArray], seconds: float, interactive: bool
) -> pb.ModelInferRequest:
    """A request that may wait in the model's queue for so many seconds, before those that are not interactive."""
    request = pb.ModelInferRequest(model_name=model)
    request.parameters["timeout"].int64_param = max(1, int(seconds * _MICROS))
    request.parameters["priority"].uint64_param = INTERACTIVE if interactive else BULK
    for name, values in tensors.items():
        request.inputs.add(name=name, datatype=_NAMES[values.dtype], shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
    return request


def only_output(answer: pb.ModelInferResponse, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The one output of a text model, float32 of that shape. Raises WrongAnswer for anything else."""
    if len(answer.outputs) != 1:
        raise WrongAnswer(f"{answer.model_name} answered with {len(answer.outputs)} outputs in place of one")
    return _read(answer, 0, np.dtype(np.float32), shape)


def query_vectors(answer: pb.ModelInferResponse, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The one output of a tower, of which every vector has a direction. Raises WrongAnswer for anything else."""
    vectors = only_output(answer, shape)
    try:
        return check_directions(vectors)
    except EngineError as error:
        raise WrongAnswer(f"{answer.model_name}: {error}") from None


def named_outputs(
    answer: pb.ModelInferResponse, types: Mapping[str, np.dtype], shape: tuple[int, int]
) -> list[NDArray]:
    """The named outputs, each of that shape and of its type. Raises WrongAnswer for anything else."""
    places = {output.name: place for place, output in enumerate(answer.outputs)}
    if missing := sorted(types.keys() - places.keys()):
        raise WrongAnswer(f"{answer.model_name} answered without {', '.join(missing)}")
    return [_read(answer, places[name], dtype, shape) for name, dtype in types.items()]


def _read(answer: pb.ModelInferResponse, place: int, dtype: np.dtype, shape: tuple[int, int]) -> NDArray:
    output = answer.outputs[place]
    where = f"{answer.model_name}: output {output.name}"
    if tuple(output.shape) != shape or output.datatype != _NAMES[dtype]:
        expected = f"{_NAMES[dtype]} {list(shape)}"
        raise WrongAnswer(f"{where} is {output.datatype} {list(output.shape)} in place of {expected}")
    content = answer.raw_output_contents[place] if place < len(answer.raw_output_contents) else b""
    if len(content) != dtype.itemsize * shape[0] * shape[1]:
        raise WrongAnswer(f"{where} has {len(content)} bytes, which is not {list(shape)}")
    values = np.frombuffer(content, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise WrongAnswer(f"{where} has values that are not numbers")
    return values
