"""The models of an index job: their folders, and the models opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digest import file_digest, value_digest
from encoder.bi_encoder import BiEncoder
from indexer.user_models import UserModels
from ranker.final import FinalScore
from ranker.ranker import Ranker


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """The folders of a model set, and what is known of how each was made."""

    encoder: Path
    ranker: Path | None
    lineage: dict[str, Any] | None = None
    final: Path | None = None
    users: Path | None = None


@dataclass(frozen=True, slots=True)
class OpenModels:
    """The models of a model set that belong together."""

    encoder: BiEncoder
    ranker: Ranker | None
    final: FinalScore | None
    lineage: dict[str, Any] | None
    users: UserModels | None = None

    def digests(self) -> dict[str, str]:
        """A digest of each model, and of the half-precision weights where there are any."""
        digests = {"encoder": self.encoder.digest, "ranker": self.ranker.digest if self.ranker else ""}
        if self.final:
            digests["final"] = self.final.digest
        if self.users:
            digests["users"] = self.users.digest
        halves = [*self.encoder.half_files(), *(self.ranker.half_files() if self.ranker else [])]
        if halves:
            digests["half"] = value_digest([file_digest(path) for path in halves])
        return digests

    def files(self) -> dict[str, Path]:
        """All files by their paths in a release."""
        models = {"encoder": self.encoder, "ranker": self.ranker, "final": self.final}
        files = {f"{name}/{path.name}": path for name, model in models.items() if model for path in model.files()}
        users = self.users.files() if self.users else {}
        return files | {f"users/{name}": path for name, path in users.items()}


def open_models(folders: ModelFolders) -> OpenModels:
    """Opens the models. Raises ModelError for a damaged one, or where final score or users belong to other models."""
    encoder = BiEncoder.open(folders.encoder)
    ranker = Ranker.open(folders.ranker) if folders.ranker else None
    final = FinalScore.open(folders.final) if folders.final else None
    if final is not None:
        final.check(encoder.digest, ranker.digest if ranker else "")
    users = UserModels.open(folders.users) if folders.users else None
    if users is not None:
        users.check(encoder.digest)
    return OpenModels(encoder, ranker, final, folders.lineage, users)
