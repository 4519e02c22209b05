"""The registered models of a tracking store: lists them, and makes one the champion."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import TandemError
from lifecycle.tracking.mlflow_tracker import CHAMPION, open_client
from lifecycle.tracking.store import error_line, model_name, redact_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PREFIX = "tandem-"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model. `best` is the validation score of the exported weights."""

    name: str
    version: str
    aliases: tuple[str, ...]
    best: float | None
    created: datetime
    run_id: str
    digest: str


class Registry:
    """The models that trainings have registered in the MLflow of a URI."""

    def __init__(self, uri: str, connect: "Callable[[str], MlflowClient]" = open_client) -> None:
        self._uri = uri
        self._connect = connect

    def versions(self) -> list[ModelVersion]:
        """All of them by name, oldest first. Raises TandemError where the store does not answer."""
        with self._connection() as client:
            models = [model for model in client.search_registered_models() if model.name.startswith(_PREFIX)]
            rows = [_model_version(client, model, entry) for model in models for entry in _versions(client, model.name)]
        return sorted(rows, key=lambda entry: (entry.name, int(entry.version)))

    def promote(self, catalog: str, kind: str, version: str) -> str:
        """Makes a version the champion in place of the one before; returns the model's name. Raises TandemError."""
        name = model_name(catalog, kind)
        with self._connection() as client:
            known = sorted((str(entry.version) for entry in _versions(client, name)), key=int)
            if version not in known:
                there = ", ".join(known) or "none"
                raise TandemError(f"{redact_uri(self._uri)} has no version {version} of {name}; there is: {there}")
            client.set_registered_model_alias(name, CHAMPION, version)
        return name

    @contextmanager
    def _connection(self) -> Iterator["MlflowClient"]:
        try:
            yield self._connect(self._uri)
        except TandemError:
            raise
        except Exception as error:  # mlflow, requests, SQLAlchemy and alembic each raise their own
            raise TandemError(
                f"the registry at {redact_uri(self._uri)} fails: {error_line(error, self._uri)}"
            ) from None


def _versions(client: "MlflowClient", name: str) -> list[Any]:
    return list(client.search_model_versions(f"name='{name}'"))


def _model_version(client: "MlflowClient", model: Any, entry: Any) -> ModelVersion:
    version = str(entry.version)
    return ModelVersion(
        name=model.name,
        version=version,
        aliases=tuple(sorted(alias for alias, number in model.aliases.items() if str(number) == version)),
        best=client.get_run(entry.run_id).data.metrics.get("best"),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        run_id=entry.run_id,
        digest=entry.tags.get("digest", ""),
    )
