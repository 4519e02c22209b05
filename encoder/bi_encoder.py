"""The two towers of a bi-encoder as a folder: a spec, a tokenizer, and one or two ONNX files."""

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core.formats import ENCODER
from engine.folder import FILE_NAME, TOKENIZER_FILE, check_files, files_digest, read_spec, read_tokenizer
from engine.half import half_path
from engine.onnx.wordpiece import Tokenize, tokenizing

SPEC_FILE = "tower.json"


class BiEncoderSpec(BaseModel):
    """The content of `tower.json`. Towers that share their weights name the same file twice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="Format of the spec.")
    dimensions: int = Field(ge=1, description="Dimensions of a vector.")
    max_query_tokens: int = Field(
        default=32, ge=3, description="Tokens after which a query is cut, special tokens included."
    )
    max_item_tokens: int = Field(
        default=96, ge=3, description="Tokens after which a product text is cut, special tokens included."
    )
    query_prefix: str = Field(default="", description="Text that is put before a query.")
    item_prefix: str = Field(default="", description="Text that is put before a product text.")
    query_model: str = Field(default="model.onnx", pattern=FILE_NAME, description="ONNX file of the query tower.")
    item_model: str = Field(
        default="model.onnx",
        pattern=FILE_NAME,
        description="ONNX file of the item tower; the same file where the towers share their weights.",
    )
    precision: str = Field(description="Precision of the weights.")
    base: str = Field(description="Model that training started from.")


class BiEncoder:
    """Tokenises queries and products as the towers read them, and locates their models."""

    def __init__(self, folder: Path, spec: BiEncoderSpec) -> None:
        """Use `BiEncoder.open`."""
        self.folder = folder
        self.spec = spec
        self._tokenizer = read_tokenizer(folder)
        self._queries = tokenizing(read_tokenizer(folder), spec.max_query_tokens, special=True)
        self._items = tokenizing(read_tokenizer(folder), spec.max_item_tokens, special=True)

    @classmethod
    def open(cls, folder: Path) -> "BiEncoder":
        """Raises ModelError when the folder does not hold towers of this format, whole."""
        spec = read_spec(folder, SPEC_FILE, BiEncoderSpec, ENCODER)
        check_files([folder / spec.query_model, folder / spec.item_model])
        return cls(folder, spec)

    def tokenize_queries(self, texts: list[str]) -> list[NDArray[np.int32]]:
        """Token ids of each query, shape (t,), special tokens included, t at most `max_query_tokens`."""
        return _encode(self._queries, self.spec.query_prefix, texts)

    def tokenize_items(self, texts: list[str]) -> list[NDArray[np.int32]]:
        """Token ids of each product text, shape (t,), special tokens included, t at most `max_item_tokens`."""
        return _encode(self._items, self.spec.item_prefix, texts)

    def is_word(self, text: str) -> bool:
        """Whether the tokenizer keeps it whole, as it does most words of the language and few misspelt ones.

        Tokenizers of bytes have other tokens for a word at the beginning of a text and after a space.
        """
        return any(len(self._tokenizer.encode(form, add_special_tokens=False)) == 1 for form in (text, f" {text}"))

    def model_path(self, side: Literal["query", "item"]) -> Path:
        """The ONNX file of one tower."""
        return self.folder / (self.spec.query_model if side == "query" else self.spec.item_model)

    def files(self) -> list[Path]:
        """The files that belong to a release."""
        return [*self._needed(), *self.half_files()]

    def half_files(self) -> list[Path]:
        """The fp16 files that only a GPU needs, if they exist."""
        models = dict.fromkeys([self.model_path("query"), self.model_path("item")])
        return [path for path in map(half_path, models) if path.is_file()]

    @cached_property
    def digest(self) -> str:
        """A SHA-256 over what processors run: embeddings of the same text are the same where it is the same."""
        return files_digest(self._needed())

    def _needed(self) -> list[Path]:
        models = dict.fromkeys([self.spec.query_model, self.spec.item_model])
        return [self.folder / name for name in (SPEC_FILE, TOKENIZER_FILE, *models)]


def _encode(tokenize: Tokenize, prefix: str, texts: list[str]) -> list[NDArray[np.int32]]:
    return tokenize([prefix + text for text in texts] if prefix else texts)
