"""Leaves out the tokens that a shop's texts never use: their vectors are most of a small model's weights."""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from core.errors import ModelError
from engine.folder import TOKENIZER_FILE

if TYPE_CHECKING:
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_CONFIG_FILE = "tokenizer_config.json"
_BATCH = 4096
_KINDS = ("WordPiece", "Unigram")
_WORD_START = "▁"
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # what stands for a byte of an unknown character


def trim_vocabulary(module: "Transformer", texts: Iterable[str]) -> None:
    """Keeps only the vectors of `kept_tokens` in a model's first module, with the matching tokenizer.

    A text whose tokens are all kept is read as before, to the bit: WordPiece takes the longest token that fits and
    Unigram the likeliest tokens, and of fewer tokens those are still the same ones. Others are read in smaller pieces.
    Raises ModelError for a tokenizer of another kind, whose tokens are built of each other.
    """
    tokenizer = module.tokenizer
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = content["model"]["type"]
    if kind not in _KINDS:
        raise ModelError(f"a vocabulary of kind {kind} cannot be trimmed, only {' or '.join(_KINDS)}; keep it whole")
    kept = kept_tokens(tokenizer.backend_tokenizer, texts)
    padding = module.auto_model.get_input_embeddings().padding_idx or 0
    kept = np.union1d(kept, np.arange(padding))  # some models count positions from the id of padding on
    _keep_vectors(module.auto_model, kept)
    module.processor = _reloaded(tokenizer, trimmed(content, kept))


def kept_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> NDArray[np.int64]:
    """Ids, ascending, of the tokens in `texts`, of special ones, and of single characters, so that any text is read."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    model = json.loads(whole.to_str())["model"]
    words = whole.get_vocab()
    prefix = model.get("continuing_subword_prefix") or _WORD_START
    kept = {id for token, id in words.items() if len(token.removeprefix(prefix)) <= 1 or _BYTE.fullmatch(token)}
    kept |= {*whole.get_added_tokens_decoder()}
    kept |= {words[model["unk_token"]]} if model["type"] == "WordPiece" else {model["unk_id"]} - {None}
    rest = iter(texts)
    while some := list(islice(rest, _BATCH)):
        for encoding in whole.encode_batch_fast(some, add_special_tokens=False):
            kept.update(encoding.ids)
    return np.array(sorted(kept), np.int64)


def trimmed(content: Mapping[str, Any], kept: NDArray[np.int64]) -> dict[str, Any]:
    """A tokenizer's JSON with only these tokens, renumbered in their order."""
    new = {int(old): place for place, old in enumerate(kept)}
    model = dict(content["model"])
    if model["type"] == "Unigram":  # pieces and their scores, by their ids
        model["vocab"] = [model["vocab"][id] for id in new]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {word: new[id] for word, id in model["vocab"].items() if id in new}
    result = dict(content) | {"model": model}
    result["added_tokens"] = [entry | {"id": new[entry["id"]]} for entry in content["added_tokens"]]
    result["post_processor"] = _renumbered(content["post_processor"], new)
    if content.get("padding"):
        result["padding"] = content["padding"] | {"pad_id": new[content["padding"]["pad_id"]]}
    return result


def _renumbered(value: Any, new: Mapping[int, int]) -> Any:
    """A post-processor whose ids are `ids` of templates, or the second half of `sep` and `cls`."""
    if isinstance(value, list):
        return [_renumbered(part, new) for part in value]
    if not isinstance(value, dict):
        return value
    result = {name: _renumbered(part, new) for name, part in value.items()}
    for name in {"sep", "cls"} & result.keys():
        result[name] = [value[name][0], new[value[name][1]]]
    if "ids" in result:
        result["ids"] = [new[id] for id in value["ids"]]
    return result


def _keep_vectors(encoder: "PreTrainedModel", kept: NDArray[np.int64]) -> None:
    import torch
    from torch import nn

    old = encoder.get_input_embeddings()
    places = {int(id): place for place, id in enumerate(kept)}
    padding = None if old.padding_idx is None else places[old.padding_idx]
    vectors = old.weight.detach()[torch.from_numpy(kept)].clone()
    encoder.set_input_embeddings(nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=padding))
    encoder.config.vocab_size = len(kept)
    for name, value in encoder.config.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int):
            setattr(encoder.config, name, places.get(value))


def _reloaded(tokenizer: "PreTrainedTokenizerFast", content: dict[str, Any]) -> "PreTrainedTokenizerFast":
    """Reloads the tokenizer through files, so that transformers reads it with all its settings."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tokenizer.save_pretrained(folder)
        config = json.loads((folder / _CONFIG_FILE).read_text())
        config.pop("added_tokens_decoder", None)  # by the old ids; tokenizer.json has the same
        (folder / _CONFIG_FILE).write_text(json.dumps(config))
        (folder / TOKENIZER_FILE).write_text(json.dumps(content, ensure_ascii=False))
        (folder / "vocab.txt").unlink(missing_ok=True)
        return AutoTokenizer.from_pretrained(folder)
