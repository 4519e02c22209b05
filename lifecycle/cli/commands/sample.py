"""`tandem sample`: the sample shop."""

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.terminal import print_line


def sample(
    output: Annotated[Path, typer.Option(help="Folder for the catalog, its mapping and the judgments.")],
    products: Annotated[int, typer.Option(min=100, help="Number of products.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
) -> None:
    """Make the sample shop."""
    from lifecycle.sample.shop import write_sample

    print_line(write_sample(output, products, seed).line())
