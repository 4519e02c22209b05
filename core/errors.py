"""The errors shown to users: one line that states what is wrong and what to do."""


class TandemError(Exception):
    """Bad input or a state that the user can correct. The command prints its message alone and exits 2."""


class FeedError(TandemError):
    """A catalog feed, its mapping or a judgments file cannot be used."""


class ReleaseError(TandemError):
    """A release is missing, incomplete or does not match its manifest."""


class RulesError(TandemError):
    """Merchandising rules cannot be used."""


class ModelError(TandemError):
    """A model folder cannot be used."""


class MissingPackageError(TandemError):
    """An optional package is not installed. The message names the extra that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        """`purpose` begins the message: "<purpose> needs pip install 'tandem-retrieval[<extra>]'"."""
        super().__init__(f"{purpose} needs pip install 'tandem-retrieval[{extra}]'")
