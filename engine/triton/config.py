"""Triton's configuration of a release's models: their inputs, batches, queues, instances and warm-up."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from engine.onnx.session import IDS, MASK, SEGMENTS

Backend: TypeAlias = Literal["python", "onnxruntime", "tensorrt"]
Device: TypeAlias = Literal["cpu", "gpu"]

# Rows of one batch. Requests that the engine sends are no larger.
ENCODE_ROWS = 32
RETRIEVE_ROWS = 32
RESCORE_ROWS = 32

INTERACTIVE, BULK = 1, 2  # priorities: calls with a deadline go before those without
LONGEST_WAIT_SECONDS = 60  # a request may ask for less time in the queue, never for more
_MICROS = 1_000_000
WARM_TOKENS = 8

OUTPUT = "output"
VECTOR, K, ROWS, NEIGHBOURS, SCORES = "vector", "k", "rows", "found", "scores"
_INT64, _INT32, _FP32 = pb.DataType.TYPE_INT64, pb.DataType.TYPE_INT32, pb.DataType.TYPE_FP32


@dataclass(frozen=True, slots=True)
class Layout:
    """How Triton runs the models of a release.

    `backend` runs the text models; the index is always run by the Python backend, on `index_device`. Each instance is
    one worker of a model; `queue` bounds the requests that wait for each model.
    """

    backend: Backend = "python"
    index_device: Device = "cpu"
    encode_instances: int = 1
    rescore_instances: int = 2
    queue: int = 256


@dataclass(frozen=True, slots=True)
class TextModel:
    """What a configuration needs of an ONNX model. `logits` is whether its output has shape (n,)."""

    inputs: tuple[str, ...]
    output: str
    dimensions: int
    logits: bool


def text_config(name: str, model: TextModel, layout: Layout) -> str:
    """The `config.pbtxt` of a tower or a cross-encoder."""
    instances = layout.rescore_instances if model.logits else layout.encode_instances
    config = pb.ModelConfig(name=name, max_batch_size=RESCORE_ROWS if model.logits else ENCODE_ROWS)
    python = layout.backend == "python"
    # Triton's own ONNX Runtime takes batches of one shape only.
    config.input.extend(
        _input(entry, _INT64, [-1], ragged=python) for entry in (IDS, MASK, SEGMENTS)[: len(model.inputs)]
    )
    output = config.output.add(name=OUTPUT if python else model.output, data_type=_FP32, dims=[model.dimensions])
    if python:
        config.backend = "python"
    else:
        config.backend, config.platform = "onnxruntime", "onnxruntime_onnx"
        config.default_model_filename = "model.onnx"
        if model.logits:
            output.reshape.SetInParent()  # no dimension but the batch's
    if layout.backend == "tensorrt":
        _add_tensorrt(config)
    gpu = layout.backend == "tensorrt"
    kind = pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(count=instances, kind=kind)
    _add_queue(config, layout)
    warm = config.model_warmup.add(name="eight tokens", batch_size=1)
    for entry in config.input:
        source = {"zero_data": True} if entry.name == SEGMENTS else {"input_data_file": "ones"}
        warm.inputs[entry.name].CopyFrom(pb.ModelWarmup.Input(data_type=_INT64, dims=[WARM_TOKENS], **source))
    return text_format.MessageToString(config)


def index_config(name: str, dimensions: int, settings: str, layout: Layout) -> str:
    """The `config.pbtxt` of the index. `settings` are its search-time settings as JSON."""
    config = pb.ModelConfig(name=name, backend="python", max_batch_size=RETRIEVE_ROWS)
    config.input.extend(
        [_input(VECTOR, _FP32, [dimensions]), _input(K, _INT32, [1]), _input(ROWS, _INT64, [-1], ragged=True)]
    )
    config.output.add(name=NEIGHBOURS, data_type=_INT64, dims=[-1])
    config.output.add(name=SCORES, data_type=_FP32, dims=[-1])
    gpu = layout.index_device == "gpu"
    kind = pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(count=1, kind=kind, gpus=[0] if gpu else [])
    config.parameters["settings"].string_value = settings
    config.parameters["device"].string_value = layout.index_device
    _add_queue(config, layout)
    warm = config.model_warmup.add(name="one row", batch_size=1)
    for entry, dims in ((VECTOR, [dimensions]), (K, [1]), (ROWS, [1])):
        kind_of = {VECTOR: _FP32, K: _INT32, ROWS: _INT64}[entry]
        source = {"input_data_file": "ones"} if entry == K else {"zero_data": True}
        warm.inputs[entry].CopyFrom(pb.ModelWarmup.Input(data_type=kind_of, dims=dims, **source))
    return text_format.MessageToString(config)


def inputs_of(config: str) -> tuple[str, ...]:
    """The names of the inputs in a `config.pbtxt`."""
    return tuple(entry.name for entry in text_format.Parse(config, pb.ModelConfig()).input)


def _input(name: str, data_type: int, dims: list[int], ragged: bool = False) -> pb.ModelInput:
    return pb.ModelInput(name=name, data_type=data_type, dims=dims, allow_ragged_batch=ragged)


def _add_queue(config: pb.ModelConfig, layout: Layout) -> None:
    """Batches waiting requests at once, interactive ones first; refuses when too many wait, or too long."""
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = 0
    batching.priority_levels = BULK
    batching.default_priority_level = BULK
    for level in (INTERACTIVE, BULK):
        policy = batching.priority_queue_policy[level]
        policy.timeout_action = pb.ModelQueuePolicy.REJECT
        policy.default_timeout_microseconds = LONGEST_WAIT_SECONDS * _MICROS
        policy.allow_timeout_override = True
        policy.max_queue_size = layout.queue


def _add_tensorrt(config: pb.ModelConfig) -> None:
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters["precision_mode"] = "FP16"
    accelerator.parameters["max_workspace_size_bytes"] = str(1 << 30)
    accelerator.parameters["trt_engine_cache_enable"] = "true"
    accelerator.parameters["trt_engine_cache_path"] = "/tmp/tandem-tensorrt"
