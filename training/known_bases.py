"""Public models that a training may start from, and what each one's card says of its use."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BaseKind = Literal["encoder", "ranker"]
Pooling = Literal["mean", "cls"]

_SEARCH = "Represent this sentence for searching relevant passages: "


class Base(BaseModel):
    """A public model. Its own files, where they have prompts and pooling, are followed before this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Hub id, or a folder.")
    kind: BaseKind = Field(description="What it can be: an encoder (both towers) or a ranker.")
    revision: str | None = Field(
        default=None, description="Commit of the hub's repository; none: the newest, which is recorded."
    )
    license: str | None = Field(default=None, description="Licence of the weights, as its card names it.")
    query_prefix: str = Field(default="", description="Text that is put before a query.")
    item_prefix: str = Field(default="", description="Text that is put before a product text.")
    pooling: Pooling | None = Field(
        default=None, description="How tokens make a vector, where the folder has no modules.json; none: their mean."
    )
    max_tokens: int = Field(
        default=512, ge=8, description="Tokens that it was trained to read; its positions may end sooner."
    )


class BaseSources(BaseModel):
    """Where bases are looked for, and bases beside the known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folder: Path | None = Field(
        default=None, description="Folder that has models below their hub ids, or below the last part of these."
    )
    seconds: float = Field(
        default=5.0, gt=0, le=600, description="Seconds to wait for the first answer of the hub, HF_ENDPOINT."
    )
    models: tuple[Base, ...] = Field(
        default=(), description="Bases beside the known ones, or in their place; each is a table as below."
    )


def _encoder(name: str, revision: str | None, license: str, pooling: Pooling | None, **more: str | int) -> Base:
    return Base.model_validate(
        {"name": name, "kind": "encoder", "revision": revision, "license": license, "pooling": pooling, **more}
    )


def _ranker(name: str, revision: str | None, license: str, max_tokens: int = 512) -> Base:
    return Base(name=name, kind="ranker", revision=revision, license=license, max_tokens=max_tokens)


# Revisions are those that public sources pin; without one, the commit that the hub answers is recorded.
KNOWN_BASES: tuple[Base, ...] = (
    _encoder(
        "BAAI/bge-small-en-v1.5", "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a", "mit", "cls", query_prefix=_SEARCH
    ),
    _encoder(
        "intfloat/e5-small-v2", "ffb93f3bd4047442299a41ebb6fa998a38507c52", "mit", "mean",
        query_prefix="query: ", item_prefix="passage: ",
    ),
    _encoder(
        "intfloat/multilingual-e5-small", "614241f622f53c4eeff9890bdc4f31cfecc418b3", "mit", "mean",
        query_prefix="query: ", item_prefix="passage: ",
    ),
    _encoder("ibm-granite/granite-embedding-small-english-r2", None, "apache-2.0", "cls", max_tokens=8192),
    _encoder(
        "sentence-transformers/all-mpnet-base-v2", "e8c3b32edf5434bc2275fc9bab85f82640a19130", "apache-2.0", "mean",
        max_tokens=384,
    ),
    _encoder(
        "sentence-transformers/static-retrieval-mrl-en-v1", "f60985c706f192d45d218078e49e5a8b6f15283a", "apache-2.0",
        None, max_tokens=8192,
    ),
    _ranker("cross-encoder/ms-marco-MiniLM-L6-v2", "c5ee24cb16019beea0893ab7796b1df96625c6b8", "apache-2.0"),
    _ranker("cross-encoder/ettin-reranker-17m-v1", "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6", "apache-2.0", 7999),
    _ranker("cross-encoder/ettin-reranker-32m-v1", "b33e5ceb5110773ea9cf5e00c9bedc83a8c2afdd", "apache-2.0", 7999),
    _ranker("BAAI/bge-reranker-base", "2cfc18c9415c912f9d8155881c133215df768a70", "mit"),
    _ranker("mixedbread-ai/mxbai-rerank-xsmall-v1", None, "apache-2.0"),
)  # fmt: skip


def find_base(name: str, kind: BaseKind, bases: Iterable[Base] = KNOWN_BASES) -> Base | None:
    """The base of that hub id, with or without `@revision`, or of a folder whose name is its last part."""
    plain = name.partition("@")[0]
    for base in bases:
        if base.kind == kind and plain in (base.name, Path(base.name).name):
            return base
    return None
