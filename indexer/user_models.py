"""What was learned of users' behaviour, as an index job takes it along: a folder whose files a release holds unread."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digest import file_digest, value_digest
from core.errors import ModelError
from core.formats import BEHAVIOUR

SPEC_FILE = "behaviour.json"  # of `retrieval.recommend.behaviour`, which reads the folder
_REMAKE = "run `tandem train users`"


@dataclass(frozen=True, slots=True)
class UserModels:
    """The folder, and the content of its spec."""

    folder: Path
    spec: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "UserModels":
        """Raises ModelError where the folder holds no behaviour of a format that this version reads."""
        try:
            data = (folder / SPEC_FILE).read_bytes()
            spec = json.loads(data)
        except (FileNotFoundError, NotADirectoryError):
            raise ModelError(f"{folder} holds no {SPEC_FILE}; give a folder that `tandem train users` left") from None
        except ValueError as error:
            raise ModelError(f"{folder / SPEC_FILE} is no JSON ({error}); {_REMAKE} again") from None
        if problem := BEHAVIOUR.problem_of(data, _REMAKE):
            raise ModelError(f"{folder}: {problem}")
        if not isinstance(spec, dict) or not isinstance(spec.get("encoder"), str):
            raise ModelError(f"{folder / SPEC_FILE} names no encoder; {_REMAKE} again")
        return cls(folder, spec)

    def check(self, encoder: str) -> None:
        """Raises ModelError where it was learned over the vectors of another bi-encoder than that of this digest."""
        if self.spec["encoder"] != encoder:
            raise ModelError(
                f"{self.folder}: it was learned over the vectors of other towers; {_REMAKE} with these, or index "
                "without it"
            )

    def files(self) -> dict[str, Path]:
        """All files, by their paths in the folder."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        names = ((path.relative_to(self.folder), path) for path in paths)
        return {name.as_posix(): path for name, path in names if not any(part.startswith(".") for part in name.parts)}

    @property
    def digest(self) -> str:
        """The digest of its files."""
        return value_digest({name: file_digest(path) for name, path in self.files().items()})
