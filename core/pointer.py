"""The pointer of a catalog: which release is served, and which were before it.

    r-20261124T040000Z-1a2b3c4d <SHA-256 of its manifest> <sequence>
    r-20261123T040000Z-5e6f7a8b …

The first line is what is served, the next what was before, and so on: one file, so that what is served and the way
back change in one rename. Versions before wrote the name alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.durable import read_file, replace_text
from core.errors import ReleaseError

RELEASE_NAME = re.compile(r"r-[0-9A-Za-z-]{1,120}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SEQUENCE = re.compile(r"[0-9]{1,15}")
_REMEDY = "choose a release with `tandem rollback --to`, or index again"
_MOST_LINES = 1_000
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PointerContent:
    """A release, its manifest's SHA-256 and its sequence number; None and 0 where an earlier version pointed."""

    release: str
    sha256: str | None = None
    sequence: int = 0


def read_pointer(
    path: Path, names: re.Pattern[str] = RELEASE_NAME, remedy: str = _REMEDY
) -> tuple[PointerContent, ...]:
    """What is served, then what was before it; empty where there is no pointer.

    A damaged line of those before is left out. Raises ReleaseError, with the remedy, where it cannot be known what is
    served.
    """
    try:
        lines = read_file(path, _MOST_BYTES).decode().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except UnicodeDecodeError:
        raise _damaged(path, "it is not text", remedy) from None
    except ReleaseError as error:
        raise _damaged(path, str(error), remedy) from None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error), remedy) from None
    entries = [_entry(line, names) for line in lines]
    if not entries or entries[0] is None:
        raise _damaged(path, "it names nothing that is served", remedy)
    return tuple(entry for entry in entries if entry is not None)


def write_pointer(path: Path, pointed: Sequence[PointerContent]) -> None:
    """Replaces the pointer by rename. Every entry has a digest."""
    lines = [f"{entry.release} {entry.sha256} {entry.sequence}\n" for entry in pointed[:_MOST_LINES]]
    replace_text(path, "".join(lines))


def step(trail: Sequence[PointerContent], to: PointerContent) -> list[PointerContent]:
    """The trail once the pointer names `to`: back to where the trail has it, or one step on."""
    places = [place for place, entry in enumerate(trail) if entry.release == to.release]
    return [to, *(trail[places[0] + 1 :] if places else trail)]


def _entry(line: str, names: re.Pattern[str]) -> PointerContent | None:
    match line.split():
        case [release] if names.fullmatch(release):
            return PointerContent(release)
        case [release, sha256, sequence] if (
            names.fullmatch(release) and _DIGEST.fullmatch(sha256) and _SEQUENCE.fullmatch(sequence)
        ):
            return PointerContent(release, sha256, int(sequence))
    return None


def _damaged(path: Path, why: str, remedy: str) -> ReleaseError:
    return ReleaseError(f"{path} is damaged ({why}): {remedy}")
