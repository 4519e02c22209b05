"""The errors shown to users: one line that states what is wrong and what to do."""


class TandemError(Exception):
    """Bad input or a state that the user can correct. The command prints its message alone and exits 2."""


class FeedError(TandemError):
    """A catalog feed, its mapping or a judgments file cannot be used."""


class ReleaseError(TandemError):
    """A release is missing, incomplete or does not match its manifest."""


class RulesError(TandemError):
    """Merchandising rules cannot be used."""


class ChangeLogError(TandemError):
    """A change log is damaged, full or cannot be reached."""


class EntriesDropped(ChangeLogError):
    """Entries of a change log are asked for that it no longer keeps. `first` is the first revision that it keeps."""

    def __init__(self, log: str, wanted: int, first: int) -> None:
        """`log` names the log for people, `wanted` is the revision that was asked for."""
        super().__init__(f"{log} keeps entries from revision {first:,} on, and {wanted:,} is asked for")
        self.first = first


class ModelError(TandemError):
    """A model folder cannot be used."""


class MissingPackageError(TandemError):
    """An optional package is not installed. The message names the extra that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        """`purpose` begins the message: "<purpose> needs pip install 'tandem-retrieval[<extra>]'"."""
        super().__init__(f"{purpose} needs pip install 'tandem-retrieval[{extra}]'")
