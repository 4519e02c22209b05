"""A model's weights in half precision, beside its int8 ONNX file: what a GPU runs in its place.

    model.onnx                what processors run
    model.half.safetensors    float16 weights, and in the file's header a spec that describes them

ONNX Runtime has no kernel on a GPU for products with a scale a row, and its package for GPUs cannot stand beside the
one for processors. The file names the ONNX file it belongs to, so a model trained again never runs on old weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.digest import file_digest
from core.errors import ModelError

if TYPE_CHECKING:
    import torch

_HEADER = "tandem"
_SUFFIX = ".half.safetensors"

Head = Literal["mean", "cls", "pooler", "match"]


class HalfSpec(BaseModel):
    """The header. `head` makes unit vectors of tokens (mean, cls) or a logit of a pair (pooler, match)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model_digest: str = Field(alias="of", pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the ONNX file")
    heads: int = Field(ge=1)
    epsilon: float = Field(gt=0)
    head: Head
    dimensions: int = Field(ge=1, description="of a vector; a model cut to fewer gives the first ones")
    separator: int | None = Field(
        default=None, description="ends the query of a pair where segment ids do not separate it"
    )
    scale: float = Field(default=1.0, description="of a match head")


def half_path(model: Path) -> Path:
    """The half-precision weights that belong to an ONNX file; they need not be there."""
    return model.with_name(model.stem + _SUFFIX)


def has_half(model: Path) -> bool:
    """Whether there are such weights, and they are this model's."""
    try:
        return _read_spec(model).model_digest == file_digest(model)
    except ModelError:
        return False


def write_half(model: Path, tensors: "Mapping[str, torch.Tensor]", **fields: Any) -> None:
    """Writes an ONNX file's weights beside it; `fields` are fields of `HalfSpec`."""
    from safetensors.torch import save_file

    spec = HalfSpec(of=file_digest(model), **fields)
    target = half_path(model)
    scratch = target.with_suffix(".part")
    halves = {name: tensor.detach().half().contiguous().clone() for name, tensor in tensors.items()}
    save_file(halves, str(scratch), {_HEADER: spec.model_dump_json(by_alias=True)})
    scratch.replace(target)


def read_half(model: Path) -> "tuple[HalfSpec, dict[str, torch.Tensor]]":
    """Raises ModelError where there are none, or they belong to another model."""
    from safetensors.torch import load_file

    spec = _read_spec(model)
    if spec.model_digest != file_digest(model):
        raise ModelError(
            f"{half_path(model)}: belongs to another {model.name}; index the catalog again with --precision fp16"
        )
    return spec, load_file(str(half_path(model)))


def bert_tensors(model: "torch.nn.Module") -> "dict[str, torch.Tensor]":
    """The weights of a transformers BERT by the names that `engine.gpu.packed` reads. Raises ModelError for others."""
    config: Any = model.config
    activation = getattr(config, "hidden_act", "another activation")
    if config.model_type != "bert" or activation != "gelu":
        raise ModelError(
            f"only BERT models with gelu run on a GPU, not {config.model_type} with {activation}; "
            "serve it with --device cpu"
        )
    state = model.state_dict()
    tensors = {
        "words": state["embeddings.word_embeddings.weight"],
        "positions": state["embeddings.position_embeddings.weight"],
        "segments": state["embeddings.token_type_embeddings.weight"],
        **_pair(state, "embeddings.LayerNorm", "embedded"),
    }
    for layer in range(config.num_hidden_layers):
        tensors |= _layer(state, f"encoder.layer.{layer}", str(layer))
    return tensors


def _layer(state: "Mapping[str, torch.Tensor]", source: str, target: str) -> "dict[str, torch.Tensor]":
    import torch

    sides = [f"{source}.attention.self.{name}" for name in ("query", "key", "value")]
    return {
        f"{target}.qkv.{kind}": torch.cat([state[f"{side}.{kind}"] for side in sides]) for kind in ("weight", "bias")
    } | {
        **_pair(state, f"{source}.attention.output.dense", f"{target}.out"),
        **_pair(state, f"{source}.attention.output.LayerNorm", f"{target}.attended"),
        **_pair(state, f"{source}.intermediate.dense", f"{target}.up"),
        **_pair(state, f"{source}.output.dense", f"{target}.down"),
        **_pair(state, f"{source}.output.LayerNorm", f"{target}.done"),
    }


def _pair(state: "Mapping[str, torch.Tensor]", source: str, target: str) -> "dict[str, torch.Tensor]":
    return {f"{target}.{kind}": state[f"{source}.{kind}"] for kind in ("weight", "bias")}


def _read_spec(model: Path) -> HalfSpec:
    path = half_path(model)
    if not path.is_file():
        raise ModelError(
            f"{model.parent}: has no {path.name}, which a GPU runs; index the catalog with --precision fp16"
        )
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            return HalfSpec.model_validate_json((file.metadata() or {}).get(_HEADER, ""))
    except (OSError, SafetensorError, ValidationError):
        raise ModelError(f"{path}: holds no half-precision weights; index with --precision fp16 again") from None
