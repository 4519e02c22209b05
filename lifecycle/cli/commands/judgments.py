"""`tandem judgments`: judgments to train on, from the events of shoppers."""

from pathlib import Path
from typing import Annotated

import typer

from core.config import load_settings
from core.errors import FeedError, TandemError
from lifecycle.cli.options import Config
from lifecycle.cli.terminal import print_line


def judgments(
    events: Annotated[
        Path,
        typer.Option(
            help="Parquet, CSV or JSONL, a row for each product shown: query, product_id, position, clicked; "
            "if known, added, purchased, session."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Parquet file for query, product_id, grade and split.")],
    config: Config = None,
) -> None:
    """Make judgments from shoppers' clicks, cart adds and purchases, corrected for position bias."""
    import pyarrow.parquet as pq

    from lifecycle.examples.behaviour import BehaviourSettings, make_judgments
    from lifecycle.examples.events import read_events

    if output.suffix != ".parquet":
        raise TandemError(f"{output}: judgments are written as Parquet; give a file that ends in .parquet")
    settings = load_settings(BehaviourSettings, config, {}).behaviour
    log = read_events(events)
    try:
        graded = make_judgments(log, settings)
    except FeedError as error:
        raise FeedError(f"{events}: {error}") from None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(graded.table, output, compression="zstd")
    except OSError as error:
        raise TandemError(f"{output}: cannot be written: {error.strerror or error}") from None
    print_line(f"{output}: {graded.line()}")
