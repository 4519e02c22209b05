"""Our fp32 checkpoints as folders that every peer can open, however old the libraries it pins.

The weights are the same files. Their configuration is written as sentence-transformers has done for years, with
our maximum lengths, so that a peer needs no setting.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from ranker.ranker import Ranker

_CLASSES = ("Transformer", "Pooling", "Normalize")
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def open_encoder(encoder: Path, target: Path) -> Path:
    """The towers of a folder that `tandem train encoder` left, as one SentenceTransformer.

    Raises ModelError where the towers differ or read prefixes: a peer has one model for both sides.
    """
    spec, checkpoint = BiEncoder.open(encoder).spec, _checkpoint(encoder)
    types = [module["type"].rpartition(".")[2] for module in _read(checkpoint / "modules.json")]
    if tuple(types) != _CLASSES or spec.query_prefix or spec.item_prefix:
        raise ModelError(f"{encoder}: peers read one tower of mean pooling, without prefixes, for both sides")
    pooling = _read(checkpoint / "1_Pooling" / "config.json")
    if pooling.get("pooling_mode") != "mean":
        raise ModelError(f"{encoder}: peers read towers of mean pooling; these pool otherwise")
    _copy(checkpoint, target, spec.max_item_tokens)
    places = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{name}"}
        for place, (path, name) in enumerate(zip(places, _CLASSES, strict=True))
    ]
    _write(target / "modules.json", modules)
    _write(target / "sentence_bert_config.json", {"max_seq_length": spec.max_item_tokens, "do_lower_case": False})
    _write(
        target / "1_Pooling" / "config.json",
        {"word_embedding_dimension": spec.dimensions, "pooling_mode_mean_tokens": True},
    )
    _write(target / "2_Normalize" / "config.json", {})
    return target


def open_ranker(ranker: Path, target: Path) -> Path:
    """The cross-encoder of a folder that `tandem train ranker` left, as a Hugging Face folder; pairs are cut where our
    own would be: at the query's and the product's longest together."""
    packing = Ranker.open(ranker)
    _copy(_checkpoint(ranker), target, packing.spec.max_query_tokens + packing.spec.max_product_tokens + 3)
    return target


def _checkpoint(folder: Path) -> Path:
    checkpoint = folder / "checkpoint"
    if not (checkpoint / "model.safetensors").is_file():
        raise ModelError(f"{folder}: has no checkpoint with fp32 weights; name a folder that `tandem train` left")
    return checkpoint


def _copy(checkpoint: Path, target: Path, tokens: int) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in _FILES:
        try:
            os.link(checkpoint / name, target / name)
        except OSError:  # another file system
            shutil.copyfile(checkpoint / name, target / name)
    config = _read(checkpoint / "tokenizer_config.json")
    _write(target / "tokenizer_config.json", config | {"model_max_length": tokens})


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise ModelError(f"{path}: cannot be read; train or export the model again") from None


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2))
