"""Where a training's base comes from: a folder, the Hugging Face cache, a hub or its mirror, else the packaged model.

A missing network costs seconds and no error: the next preference is taken, and at last the packaged one.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from core.errors import ModelError
from core.strings import quoted
from training.export import base_name
from training.known_bases import KNOWN_BASES, Base, BaseKind, BaseSources, find_base

Origin = Literal["folder", "cache", "hub", "package"]

# What is fetched of a repository: no weights but safetensors, which run no code when they are read.
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_LEFT_OUT = ("onnx/*", "openvino/*", "*/onnx/*")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "*.model")
_POLL_SECONDS = 0.05
_STALLS = 6.0  # a download may stand still as many times as long as the first answer may take

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ResolvedBase:
    """What a training starts from. `location` is a folder, None of the packaged model; `passed` says why not others."""

    kind: BaseKind
    location: str | None
    origin: Origin
    known: Base | None = None
    passed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name, with the revision where it has one, as specs and lineages keep it."""
        return base_name(self.location)

    @property
    def settings(self) -> dict[str, Any]:
        """The training settings that it sets; prefixes and pooling only of a base that a user described."""
        found: dict[str, Any] = {"base": self.location} if self.location else {}
        if self.kind == "encoder" and self.known and self.known not in KNOWN_BASES:
            found |= {"query_prefix": self.known.query_prefix, "item_prefix": self.known.item_prefix}
            found |= {"pooling": self.known.pooling}
        return found

    @property
    def lines(self) -> list[str]:
        """For people: what was passed over and why, and what was taken, at which revision, from where."""
        license = f", licence {self.known.license}" if self.known and self.known.license else ""
        return [*self.passed, f"the {self.kind} starts from {self.name} (from the {self.origin}{license})"]


class BaseResolver:
    """Resolves names to folders. Once the hub has not answered, no further request is sent to it."""

    def __init__(
        self, settings: BaseSources | None = None, cache: Path | None = None, endpoint: str | None = None
    ) -> None:
        """`cache` and `endpoint` are, unless given, those of the Hugging Face library's environment."""
        from huggingface_hub import constants

        self._settings = settings or BaseSources()
        self._cache_folder = cache or Path(constants.HF_HUB_CACHE)
        self._endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._offline = any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE)
        self._down = False

    def resolve(self, preferences: Sequence[str], kind: BaseKind) -> ResolvedBase:
        """The first of the preferences that can be had, else the packaged model.

        A preference is a folder or a hub id, with `@revision` or without.
        """
        passed: list[str] = []
        for name in preferences:
            try:
                location, origin = self._find(name, kind)
                return ResolvedBase(kind, str(location), origin, self._known(name, kind), tuple(passed))
            except _Unavailable as why:
                passed.append(f"{_shown(name)}: {why}")
        return ResolvedBase(kind, None, "package", passed=tuple(passed))

    def need(self, name: str, kind: BaseKind) -> ResolvedBase:
        """The base of that name. Raises ModelError where it cannot be had."""
        resolved = self.resolve((name,), kind)
        if resolved.location is None:
            raise ModelError(f"{resolved.passed[0]}; give a folder, or a hub id that can be reached")
        return resolved

    def _known(self, name: str, kind: BaseKind) -> Base | None:
        return find_base(name, kind, (*self._settings.models, *KNOWN_BASES))

    def _find(self, name: str, kind: BaseKind) -> tuple[Path, Origin]:
        if _is_folder(name):
            return Path(name), "folder"
        if not _is_hub_id(name):
            raise _Unavailable("is no folder, and no hub id")
        plain, _, wanted_revision = name.partition("@")
        for folder in (plain, Path(plain).name) if self._settings.folder else ():
            assert self._settings.folder is not None, "else no folder is looked through"
            if _is_whole(self._settings.folder / folder):
                return self._settings.folder / folder, "folder"
        known = self._known(plain, kind)
        revision = wanted_revision or (known.revision if known else None)
        cached = self._cached(plain, revision)
        return (cached, "cache") if cached else (self._fetched(plain, revision), "hub")

    def _cached(self, name: str, revision: str | None) -> Path | None:
        """The snapshot in the cache: of the commit, or of what a branch or tag was when it was fetched."""
        repository = self._cache_folder / _folder(name)
        named = repository / "refs" / (revision or "main")
        commit = named.read_text().strip() if named.is_file() else revision
        folder = repository / "snapshots" / commit if commit else None
        return folder if folder and _is_whole(folder) else None

    def _fetched(self, name: str, revision: str | None) -> Path:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        endpoint = self._endpoint
        if self._offline:
            raise _Unavailable("is not in the Hugging Face cache, and the hub is off (HF_HUB_OFFLINE)")
        if self._down:
            raise _Unavailable(f"is not in the Hugging Face cache, and {endpoint} does not answer")
        seconds = self._settings.seconds
        options: dict[str, Any] = {"cache_dir": self._cache_folder, "etag_timeout": seconds, "endpoint": endpoint}
        try:
            info = _watched(
                lambda: HfApi(endpoint=endpoint).model_info(name, revision=revision, timeout=seconds), seconds
            )
            if not any(entry.rfilename.endswith(".safetensors") for entry in info.siblings or ()):
                raise _Unavailable("has no weights in safetensors on the hub")
            folder = _watched(
                lambda: snapshot_download(
                    name, revision=revision, allow_patterns=list(_FILES), ignore_patterns=list(_LEFT_OUT), **options
                ),
                seconds * _STALLS,
                lambda: _size(self._cache_folder / _folder(name)),
            )
        except _Unavailable:
            raise
        except HfHubHTTPError as error:
            raise _Unavailable(f"{endpoint} does not have it: {_first_line(error)}") from None
        except Exception as error:  # of sockets, of TLS, of the disk: each library has its own
            self._down = True
            raise _Unavailable(f"is not in the Hugging Face cache, and {endpoint}: {_first_line(error)}") from None
        if not _is_whole(Path(folder)):
            raise _Unavailable("the hub has no whole model of that name: a tokenizer, a config and weights")
        return Path(folder)


def located(base: str | None, kind: BaseKind) -> str | None:
    """A base as a folder, fetched where it is a hub id; None is the packaged model. Raises ModelError."""
    return base if base is None or Path(base).exists() else BaseResolver().need(base, kind).location


_LONGEST_ID = 96  # characters, on the hub
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class _Unavailable(Exception):
    """Why a base cannot be had, without its name."""


def _is_folder(name: str) -> bool:
    """The empty name is not the folder in which the command runs."""
    try:
        return bool(name.strip()) and Path(name).is_dir()
    except OSError:  # the name is too long for one
        return False


def _shown(name: str) -> str:
    """As a line shows it: as it is, unless it is empty or longer than any hub id."""
    return name if name.strip() and len(name) <= _LONGEST_ID else quoted(name)


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name.partition("@")[0])
    except HFValidationError:
        return False
    return True


def _is_whole(folder: Path) -> bool:
    """Whether it has a config, a tokenizer and weights, somewhere: a download may have been cut off."""
    parts = (("config.json", "modules.json"), _TOKENIZERS, ("*.safetensors",))
    return (
        folder.is_dir()
        and all(any(path.is_file() for pattern in patterns for path in folder.rglob(pattern)) for patterns in parts)
        and all(_has_shards(index) for index in folder.rglob("*.safetensors.index.json"))
    )


def _has_shards(index: Path) -> bool:
    try:
        shards: set[str] = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((index.parent / shard).is_file() for shard in shards)


def _folder(name: str) -> str:
    """The folder of a model in the cache."""
    return f"models--{name.replace('/', '--')}"


def _watched(call: Callable[[], _Result], seconds: float, progress: Callable[[], int] = lambda: 0) -> _Result:
    """What a call returns, on a thread that is left alone once `progress` has not changed for so many seconds.

    A name that does not resolve keeps a socket longer than any timeout of it. Raises what the call raises.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="bases", daemon=True)
    thread.start()
    seen, since = progress(), time.monotonic()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > seconds and thread.is_alive():
            raise TimeoutError(f"no answer within {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
