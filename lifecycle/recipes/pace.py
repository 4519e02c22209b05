"""How fast this machine learns, and with it how much of a recipe there is time for. Loads torch."""

import json
from collections.abc import Callable
from pathlib import Path

from encoder.train.pace import seconds_per_step
from lifecycle.recipes.recipe import Recipe

PACE_FILE = "pace.json"


def fitted(recipe: Recipe, folder: Path, base: str | None, tell: Callable[[str], None]) -> Recipe:
    """The recipe with as much of its learning as its `minutes` allow on this machine, all of it where that is nothing.

    How fast the machine is, is measured once and kept in `folder`: what goes on later learns as much.
    """
    if recipe.minutes is None or recipe.effort is None:
        return recipe
    step = remembered_pace(folder, base)
    share = recipe.effort.share(recipe.minutes, step)
    if share == 1:
        return recipe
    tell(
        f"all of {recipe.name} would take {recipe.effort.minutes(step):.0f} minutes here: learning {share:.0%} of it, "
        f"to be done in about {recipe.effort.minutes(step, share):.0f} (--minutes 0 learns all)"
    )
    return recipe.shortened(share)


def remembered_pace(folder: Path, base: str | None) -> float:
    """Seconds of a step of this base on this machine, measured unless `folder` tells."""
    path = folder / PACE_FILE
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    name = base or ""
    if name not in known:
        known[name] = seconds_per_step(base)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known) + "\n")
        part.replace(path)
    return known[name]
