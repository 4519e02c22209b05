"""Runs one ONNX model of a tower or a cross-encoder on this machine's cores."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.strings import quoted
from engine.onnx.tables import embedding_tables, external_tensor

if TYPE_CHECKING:
    import onnxruntime  # loaded with the first model: most commands open none

IDS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"

# Its kernel is scalar: ten times slower than the two additions and the LayerNormalization it stands for.
_SLOW_FUSIONS = ["SkipLayerNormFusion"]
_ERRORS_ONLY = 3

# Tokens of a batch: its activations stay in the core's own cache; larger ones are no faster.
TOKEN_BUDGET = 768
# Sequences share a batch when the shortest is at least this share of the longest.
_LEAST_SHARE = 0.9


class OnnxModel:
    """A session that any number of threads may call at once; each call runs on its caller's thread."""

    def __init__(self, path: Path, threads: int = 1, mapped: bool = False) -> None:
        """With `mapped`, embedding tables are mapped from the file, which must then stay as it is.

        Raises ModelError for a file that is not a text model with one output.
        """
        from onnxruntime import OrtValue

        # Kept here, since the session only refers to them.
        self._tables = {
            name: OrtValue.ortvalue_from_numpy(table)
            for name, table in (embedding_tables(path) if mapped and path.is_file() else {}).items()
        }
        self._session = session(path, threads, self._tables)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        outputs = self._session.get_outputs()
        if not {IDS, MASK} <= self._inputs <= {IDS, MASK, SEGMENTS} or len(outputs) != 1:
            raise ModelError(f"{path}: takes {', '.join(sorted(self._inputs))}; export the model with `tandem` again")
        self._output = outputs[0].name

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        """Runs n sequences of token ids, each of shape (t,), special tokens included, padded to the longest.

        Returns float32 of shape (n, d) from a tower, (n,) from a cross-encoder. `segments` are the tokens' segment
        ids, as long as the tokens; a model without them ignores them.
        """
        return self._session.run([self._output], padded_inputs(self._inputs, tokens, segments))[0]


def session(
    path: Path, threads: int = 1, initializers: Mapping[str, "onnxruntime.OrtValue"] = MappingProxyType({})
) -> "onnxruntime.InferenceSession":
    """A session on so many threads, its caller's among them. `initializers` replace those of the file.

    Raises ModelError for a file that ONNX Runtime does not read.
    """
    from onnxruntime import InferenceSession

    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    options = _options(threads)
    for name, value in initializers.items():
        options.add_initializer(name, value)
    try:
        if (tensor := external_tensor(path)) is not None:
            raise ModelError(
                f"{path}: keeps {quoted(tensor)} in another file; export the model with all weights in its file"
            )
        return InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOW_FUSIONS
        )
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime raises a dozen kinds, none of them public
        raise ModelError(
            f"{path}: is not a model that ONNX Runtime reads: {(str(error).splitlines() or [''])[0]}"
        ) from None


def padded_inputs(
    names: Collection[str], tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
) -> dict[str, NDArray[np.int64]]:
    """What a model with inputs of these names is fed, each of shape (n, longest); see `OnnxModel.run`."""
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
    feed = {IDS: _padded(tokens, mask), MASK: mask.astype(np.int64)}
    if SEGMENTS in names:
        feed[SEGMENTS] = np.zeros(mask.shape, np.int64) if segments is None else _padded(segments, mask)
    return feed


def length_batches(lengths: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[NDArray[np.int64]]:
    """Places grouped by near-equal length, longest first, each group within the budget once padded."""
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        stop = start + 1
        room = start + max(1, token_budget // max(1, longest))
        while stop < min(room, len(order)) and lengths[order[stop]] >= _LEAST_SHARE * longest:
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def _padded(values: Sequence[NDArray[np.int32]], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Zeros where the mask is: what stands there is masked out of attention and pooling."""
    result = np.zeros(mask.shape, np.int64)
    if len(values):
        result[mask] = np.concatenate(values)
    return result


def _options(threads: int) -> "onnxruntime.SessionOptions":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False  # it plans memory for each new shape, and shapes never end here
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever the file is called
    return options
