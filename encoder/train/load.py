"""Loads the model that towers start from, with the prefixes, the pooling and the lengths that it was trained for."""

from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding

from core.errors import ModelError
from training.bases import located
from training.card import prepare_card
from training.export import base_location, base_name, longest_input, quiet_libraries
from training.known_bases import Base, find_base
from training.known_bases import Pooling as PoolingKind

Side = Literal["query", "item"]

# The names that models give to the text before a query, and before what is searched.
_QUERY_PROMPTS = ("query", "search_query", "retrieval.query", "Retrieval-query")
_ITEM_PROMPTS = ("document", "passage", "search_document", "retrieval.passage", "Retrieval-document", "corpus")
_MODULES = "modules.json"
_USUAL = 512  # tokens of a model that says nothing of its length


def load_encoder(base: str | None, pooling: PoolingKind | None = None) -> SentenceTransformer:
    """A sentence-transformers folder, a plain transformers folder or a hub id, in fp32; None is the bundled one.

    Its prompts are named `query` and `document`: its own, else those that the card of a known base says, as is the
    pooling of a plain folder, unless given. Raises ModelError when there is no such model, it has no tokenizer in the
    `tokenizers` format, or leaves the prompt out of its pooling.
    """
    base = located(base, "encoder")
    location = base_location(base)
    known = find_base(base_name(base), "encoder")
    with quiet_libraries():
        try:
            model = _load(location, pooling or (known.pooling if known else None)).float()
        except Exception as error:  # the hub, transformers and torch each raise their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{location}: cannot be loaded as an encoder: {reason}") from None
    if not is_static(model):
        if not hasattr(model.tokenizer, "backend_tokenizer"):
            raise ModelError(f"{location}: has no tokenizer.json; choose a base model with a fast tokenizer")
        limit_length(model, min(filter(None, (model.max_seq_length, known and known.max_tokens)), default=_USUAL))
    _name_prompts(model, known)
    if any(model.prompts.values()) and any(
        isinstance(module, Pooling) and not module.include_prompt for module in model.modules()
    ):
        raise ModelError(f"{location}: leaves the prompt out of its pooling; choose a base that includes it")
    prepare_card(model, base)
    return model


def has_two_models(model: SentenceTransformer) -> bool:
    """Whether queries and products have a model each."""
    return any(isinstance(module, Router) for module in model.children())


def side_modules(model: SentenceTransformer, side: Side = "item") -> list[Any]:
    """What a text of that side goes through, in order."""
    modules: list[Any] = []
    for module in model.children():
        inside = isinstance(module, Router) and has_two_models(model)
        modules += module.sub_modules["query" if side == "query" else "document"] if inside else [module]
    return modules


def is_static(model: SentenceTransformer) -> bool:
    """Whether it has a vector for each token and no layers."""
    return isinstance(side_modules(model)[0], StaticEmbedding)


def set_prompts(model: SentenceTransformer, query: str | None, item: str | None) -> None:
    """Sets the prefixes that are not None; checkpoints keep them."""
    given = {"query": query, "document": item}
    model.prompts = {**model.prompts, **{name: text for name, text in given.items() if text is not None}}


def limit_length(model: SentenceTransformer, tokens: int) -> None:
    """Cuts texts after so many tokens, or after as many as the model has positions for. A static one reads all."""
    if not is_static(model):
        model.max_seq_length = min(tokens, longest_input(model))


def prefix_tokens(model: SentenceTransformer, prefix: str) -> int:
    """The tokens that a prefix adds to a text."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    return len(tokenizer.encode(prefix, add_special_tokens=False).ids) if prefix else 0


def _load(location: str, kind: PoolingKind | None) -> SentenceTransformer:
    # Saved in half precision, a model would train and be exported in it.
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    folder = Path(location)
    if kind and folder.is_dir() and not (folder / _MODULES).is_file():
        layers = Transformer(location, model_kwargs=options)
        pooling = Pooling(layers.get_embedding_dimension(), pooling_mode=kind)
        return SentenceTransformer(modules=[layers, pooling], device="cpu")
    return SentenceTransformer(location, device="cpu", model_kwargs=options)


def _name_prompts(model: SentenceTransformer, known: Base | None) -> None:
    """Leaves the prompts of the two sides alone; a default prompt is that of both where neither has its own."""
    own = {name: text for name, text in (model.prompts or {}).items() if text}
    query, item = (next((own[name] for name in names if name in own), "") for names in (_QUERY_PROMPTS, _ITEM_PROMPTS))
    if not query and not item:
        both = own.get(model.default_prompt_name or "", "")
        query, item = (known.query_prefix, known.item_prefix) if known and not both else (both, both)
    model.prompts, model.default_prompt_name = {"query": query, "document": item}, None
