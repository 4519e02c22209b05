"""Which weights of a model are trained, and low-rank adapters beside them. Loads torch and peft when called."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError

if TYPE_CHECKING:
    import torch
    from peft import LoraModel
    from transformers import PreTrainedModel, Trainer

_WEIGHTS = "weights.safetensors"


def set_dropout(model: "torch.nn.Module", share: float) -> None:
    """Everywhere in the model."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def freeze_embeddings(model: "torch.nn.Module") -> None:
    """Freezes the token embeddings."""
    for encoder in _encoders(model):
        encoder.get_input_embeddings().requires_grad_(False)


def freeze_unused(trainer: "Trainer") -> None:
    """Weights that no output hangs on, a pooler's say, need no gradient: processes would wait for it together.

    torch can look for them at every step, but misses the outputs of a cross-encoder and of towers with two models.
    """
    batch = next(iter(trainer.get_train_dataloader()), None)
    if batch is None:
        raise ModelError("no batch can be filled with different texts; give a smaller batch_size")
    trainer.compute_loss(trainer.model.train(), batch).backward()
    for weight in trainer.model.parameters():
        weight.requires_grad_(weight.grad is not None)
    trainer.model.zero_grad()


def add_adapters(trainer: "Trainer", rank: int, alpha: float, dropout: float) -> "list[LoraModel]":
    """Puts an adapter beside each linear layer of the trainer's model, and leaves only these and a head to be trained.

    W x becomes W x + alpha / rank · B A x, with A of shape (rank, inputs) and B, at first zero, of shape (outputs,
    rank) (Hu et al. 2021, arXiv 2106.09685). Raises ModelError without peft or linear layers.
    """
    if find_spec("peft") is None:
        raise ModelError("adapters (lora) need peft: pip install 'tandem-retrieval[train]'")
    import torch
    from peft import LoraConfig, LoraModel

    adapters = []
    if not (encoders := _encoders(trainer.model)):
        raise ModelError(
            "the base is a table of vectors without layers to put adapters (lora) beside; train it without"
        )
    for encoder in encoders:
        layers = [name for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear)]
        if not layers:
            raise ModelError("the base model has no linear layers to put adapters (lora) beside; train it without")
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=layers)
        adapters.append(LoraModel(encoder, config, "default"))
    _keep_all_weights(trainer)
    return adapters


def merge_adapters(adapters: "Sequence[LoraModel]") -> None:
    """Merges each adapter into its layer's weights."""
    for adapter in adapters:
        adapter.merge_and_unload()


def _encoders(model: "torch.nn.Module") -> "list[PreTrainedModel]":
    """The transformers in a model, without their heads."""
    from transformers import PreTrainedModel

    encoders = [module.base_model for module in model.modules() if isinstance(module, PreTrainedModel)]
    return list({id(encoder): encoder for encoder in encoders}.values())


def _keep_all_weights(trainer: "Trainer") -> None:
    """Checkpoints hold the model's plain weights: with adapters the library would look for the base's."""
    from safetensors.torch import load_model, save_model

    def save(folder: str, state_dict: Any = None) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_model(trainer.model, str(Path(folder) / _WEIGHTS))

    def load(folder: str) -> None:
        load_model(trainer.model, str(Path(folder) / _WEIGHTS))

    trainer._save, trainer._load_from_checkpoint = save, load
