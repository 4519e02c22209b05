"""`tandem sample`: the sample shops."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.terminal import print_line


class WorldName(StrEnum):
    """Which sample shop."""

    HOME = "home"
    TRADE = "trade"
    MARKET = "market"


def sample(
    output: Annotated[Path, typer.Option(help="Folder for the catalog, its mapping and the judgments.")],
    products: Annotated[int, typer.Option(min=1000, help="Number of products.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
    world: Annotated[
        WorldName,
        typer.Option(help="A department store, a trade counter (sizes, part numbers), a food market (needs)."),
    ] = WorldName.HOME,
) -> None:
    """Make a sample shop: catalog, mapping and graded judgments."""
    from lifecycle.sample.shop import write_sample

    print_line(write_sample(output, products, seed, world.value).line())
