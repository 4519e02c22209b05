"""Why a row or a value is rejected."""


class InvalidValue(Exception):
    """A value that a product cannot have: a reason in snake_case, for counting, and a detail for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail[:300]
