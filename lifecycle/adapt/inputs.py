"""What to adapt: a shop's files and the models to start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from core.digest import value_digest
from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder
from engine.lexical.index import FORMAT
from lifecycle.adapt.record import ENCODER, FINAL, RANKER
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import ShopFiles
from lifecycle.feeds import read_mapping
from ranker.final import FinalScore
from ranker.ranker import Ranker
from training.export import CHECKPOINT, base_name

_REVISION = 2  # of what is done with the same inputs


@dataclass(frozen=True, slots=True)
class AdaptInputs:
    """What to adapt: a shop's files, the folder of models to start from (None: the bundled towers), further voters."""

    shop: ShopFiles
    start: Path | None = None
    voters: Sequence[Path] = ()

    def stamp(self, settings: AdaptSettings) -> str:
        """A digest of all that the result depends on. Raises FeedError or ModelError."""
        towers = [BiEncoder.open(folder).digest for folder in (*self._encoder, *self.voters)]
        further = [_folder_state(self.start / name) for name in (RANKER, FINAL)] if self.start else []
        digests = self.shop.digests(read_mapping(self.shop.mapping))
        made_by = [FORMAT, _REVISION, version("tandem-retrieval")]
        return value_digest([digests, towers, further, settings.model_dump(), *made_by])

    @property
    def ranker(self) -> Path | None:
        """The folder of the start's cross-encoder, where it has one."""
        return self.start / RANKER if self.start and (self.start / RANKER).is_dir() else None

    def check(self) -> None:
        """Raises FeedError or ModelError for files and models that cannot be used."""
        self.shop.check()
        if self.ranker:
            Ranker.open(self.ranker)
        if self.start and (self.start / FINAL).is_dir():
            FinalScore.open(self.start / FINAL)

    def base(self) -> str | None:
        """The weights to train on: the checkpoint of the start, or None for the bundled ones. Raises ModelError."""
        return _base(self.start)

    @property
    def _encoder(self) -> list[Path]:
        return [self.start / ENCODER] if self.start else []


def _base(start: Path | None) -> str | None:
    if start is None:
        return None
    if not (start / ENCODER / SPEC_FILE).is_file():
        raise ModelError(f"{start}: holds no {ENCODER}/{SPEC_FILE}; give the folder that a recipe left as --from")
    if (start / ENCODER / CHECKPOINT).is_dir():
        return str(start / ENCODER / CHECKPOINT)
    if BiEncoder.open(start / ENCODER).spec.base == base_name(None):
        return None  # exported as they are
    raise ModelError(f"{start / ENCODER}: has no {CHECKPOINT} to train on; give a folder that `tandem train` left")


def _folder_state(folder: Path) -> list[list[object]]:
    """What tells whether the files of a folder are the same."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
