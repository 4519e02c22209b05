"""How much of a test runs: a short form in `make test`, the full form in `make torture`.

TANDEM_TORTURE=100 runs the full forms, 50 half as much of each (`make torture SCALE=50`); TANDEM_TORTURE_SEED chooses
other random moments and inputs. pytest prints the seed at its start.
"""

import os

SCALE = int(os.environ.get("TANDEM_TORTURE", "0"))
SEED = int(os.environ.get("TANDEM_TORTURE_SEED", "23"))


def amount(short: int, full: int) -> int:
    """How often to do it: `short` times in `make test`, `full` times in `make torture`."""
    return max(1, round(full * SCALE / 100)) if SCALE else short
