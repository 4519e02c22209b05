"""Which keys stand beside which, on the commonest keyboard for Latin letters."""

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _beside() -> dict[str, str]:
    near: dict[str, str] = {}
    for row, keys in enumerate(ROWS):
        for column, key in enumerate(keys):
            sides = keys[max(0, column - 1) : column] + keys[column + 1 : column + 2]
            above = ROWS[row - 1][column : column + 2] if row else ""
            below = ROWS[row + 1][max(0, column - 1) : column + 1] if row + 1 < len(ROWS) else ""
            near[key] = sides + above + below
    return near


BESIDE = _beside()
"""The keys around each letter's, in lower case; other letters are not there."""
