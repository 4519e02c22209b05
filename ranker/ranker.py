"""The cross-encoder as a folder, and how a query and a product become what it reads."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from tokenizers import Tokenizer

from core.errors import ModelError
from core.formats import RANKER
from engine.folder import FILE_NAME, TOKENIZER_FILE, check_files, files_digest, read_spec, read_tokenizer
from engine.half import half_path
from engine.onnx.wordpiece import tokenizing
from ranker.calibration import Calibration
from ranker.mix import UNMEASURED

SPEC_FILE = "ranker.json"
_PROBE = "a"


class RankerSpec(BaseModel):
    """The content of `ranker.json`.

    The probability of relevance is what `Calibration` makes of logit and cosine, the cosine being that of the towers
    which retrieved the product. A ranker that was trained without towers has no share of it. Where a query's best
    product stays below the cutoff, nothing fits it; without one, that is unknown. `mix` is what its order
    counts beside that of retrieval, where no final score orders; with 0 nothing is rescored. Format 1 had none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = Field(default=2, description="Format of the spec.")
    max_query_tokens: int = Field(default=32, ge=1, description="Tokens after which a query is cut.")
    max_product_tokens: int = Field(default=64, ge=1, description="Tokens after which a product text is cut.")
    model: str = Field(default="model.onnx", pattern=FILE_NAME, description="ONNX file of the cross-encoder.")
    precision: str = Field(description="Precision of the weights.")
    base: str = Field(description="Model that training started from.")
    slope: float = Field(default=1.0, gt=0, description="Factor of the logit in the calibration.")
    similarity: float = Field(
        default=0.0,
        ge=0,
        description="Factor of the bi-encoder's cosine in the calibration; 0 where it was trained without.",
    )
    intercept: float = Field(default=0.0, description="Constant of the calibration.")
    knots: tuple[tuple[float, float], ...] = Field(
        default=(),
        description=(
            "Points of an isotonic calibration: the probability by the logistic curve, and the one that it stands for."
        ),
    )
    cutoff: float | None = Field(
        default=None, ge=0, le=1, description="Probability below which nothing fits a query; none: unknown."
    )
    mix: float = Field(
        default=UNMEASURED,
        ge=0,
        le=1,
        description=(
            "Weight of the cross-encoder's order beside fusion's, where no final score orders; 0: nothing is rescored."
        ),
    )

    @field_validator("knots")
    @classmethod
    def _rising(cls, knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for values in zip(*knots, strict=True):
            if not (np.diff(values) > 0).all() or values[0] < 0 or values[-1] > 1:
                raise ValueError("knots have to rise between 0 and 1: train or export the ranker again")
        return knots

    @property
    def calibration(self) -> Calibration:
        """From logits and cosines to probabilities."""
        return Calibration(self.slope, self.similarity, self.intercept, self.knots)


class PairTemplate:
    """The tokenizer's own way to join two texts: `[CLS] a [SEP] b [SEP]`, `<s> a </s></s> b </s>`, and the like."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Reads the template from a probe pair. Raises ModelError when the tokenizer does not join texts in order."""
        probe = tokenizer.encode(_PROBE, _PROBE)
        sides = probe.sequence_ids
        if [side for side in dict.fromkeys(sides) if side is not None] != [0, 1]:
            raise ModelError("the tokenizer does not join two texts in order; choose another base model")
        first, second = _span(sides, 0), _span(sides, 1)
        ids, segments = np.array(probe.ids, np.int32), np.array(probe.type_ids, np.int32)
        self._head, self._middle, self._tail = ids[: first[0]], ids[first[1] : second[0]], ids[second[1] :]
        self._segments = (segments[: first[0]], segments[first[1] : second[0]], segments[second[1] :])
        self._sides = segments[first[0]], segments[second[0]]

    def join(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Token ids and segment ids of the pair, both of shape (t,), from ids without special tokens."""
        head, middle, tail = self._segments
        kinds = np.repeat(self._sides, (len(first), len(second)))
        return (
            np.concatenate((self._head, first, self._middle, second, self._tail)),
            np.concatenate((head, kinds[: len(first)], middle, kinds[len(first) :], tail)),
        )

    def join_all(
        self, first: NDArray[np.int32], seconds: Sequence[NDArray[np.int32]]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """The first text joined with each of the others. Pairs of one length share their segment ids."""
        head, middle, tail = self._segments
        start = np.concatenate((self._head, first, self._middle))
        sides = np.concatenate((head, np.full(len(first), self._sides[0], np.int32), middle))
        more = np.full(max(map(len, seconds), default=0), self._sides[1], np.int32)
        segments = {length: np.concatenate((sides, more[:length], tail)) for length in set(map(len, seconds))}
        return [(np.concatenate((start, second, self._tail)), segments[len(second)]) for second in seconds]


class Ranker:
    """Tokenises and packs for the cross-encoder, and reads its logits."""

    def __init__(self, folder: Path, spec: RankerSpec) -> None:
        """Use `Ranker.open`."""
        self.folder = folder
        self.spec = spec
        self._tokenizer = read_tokenizer(folder)
        self._template = PairTemplate(self._tokenizer)
        self._products = tokenizing(read_tokenizer(folder), spec.max_product_tokens, special=False)

    @classmethod
    def open(cls, folder: Path) -> "Ranker":
        """Raises ModelError when the folder does not hold a cross-encoder of this format, whole."""
        spec = read_spec(folder, SPEC_FILE, RankerSpec, RANKER)
        check_files([folder / spec.model])
        return cls(folder, spec)

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.spec.model

    @property
    def cutoff(self) -> float | None:
        """The probability below which a query's best product means that nothing fits."""
        return self.spec.cutoff

    @property
    def mix(self) -> float:
        """What its order counts beside that of retrieval, from 0 to 1; see `mixed_scores`."""
        return self.spec.mix

    @cached_property
    def vocabulary_size(self) -> int:
        """One more than the greatest token id."""
        return max(self._tokenizer.get_vocab().values()) + 1

    def tokenize_query(self, text: str) -> NDArray[np.int32]:
        """Token ids of a query without special tokens, shape (t,), t at most `max_query_tokens`."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return np.array(ids[: self.spec.max_query_tokens], np.int32)

    def tokenize_products(self, texts: list[str]) -> list[NDArray[np.int32]]:
        """Token ids of each product text without special tokens, shape (t,), t at most `max_product_tokens`."""
        return self._products(texts)

    def pack(self, query: NDArray[np.int32], product: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """What the model reads: token ids and segment ids of the pair, both of shape (t,)."""
        return self._template.join(query, product)

    def pack_all(
        self, query: NDArray[np.int32], products: Sequence[NDArray[np.int32]]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """The query packed with each product, faster than one by one."""
        return self._template.join_all(query, products)

    def pack_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """The same for pairs of query and product text, each different text being tokenised once."""
        queries = {query: self.tokenize_query(query) for query in dict.fromkeys(query for query, _ in pairs)}
        texts = list(dict.fromkeys(text for _, text in pairs))
        products = dict(zip(texts, self.tokenize_products(texts), strict=True))
        return [self.pack(queries[query], products[text]) for query, text in pairs]

    def scores(self, logits: NDArray[np.float32], similarities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probabilities of relevance of n pairs, from their logits and the towers' cosines, both (n,)."""
        return self.spec.calibration.probabilities(logits, similarities).astype(np.float32)

    def files(self) -> list[Path]:
        """The files that belong to a release."""
        return [*self._needed(), *self.half_files()]

    def half_files(self) -> list[Path]:
        """The fp16 files that only a GPU needs, if they exist."""
        path = half_path(self.model_path)
        return [path] if path.is_file() else []

    @cached_property
    def digest(self) -> str:
        """A SHA-256 over what processors run: the same pair has the same score where it is the same."""
        return files_digest(self._needed())

    def _needed(self) -> list[Path]:
        return [self.folder / name for name in (SPEC_FILE, TOKENIZER_FILE, self.spec.model)]


def _span(sides: list[int | None], side: int) -> tuple[int, int]:
    places = [place for place, value in enumerate(sides) if value == side]
    return places[0], places[-1] + 1
