"""Why a row is not taken."""


class Rejected(Exception):
    """A row's value is impossible: a reason in snake_case, for counting, and a detail for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail[:300]
