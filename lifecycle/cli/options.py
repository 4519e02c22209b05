"""Options that several commands share, and checks that ranges leave out: inf, and durations."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import TandemError

LONGEST_SECONDS = 86_400.0
RELEASES = Path("releases")
ADDRESS = "127.0.0.1:50051"

Releases = Annotated[Path, typer.Option(help="Folder of the releases.")]
Catalog = Annotated[str | None, typer.Option("--catalog", help="Catalog name; default: the only one there is.")]
Address = Annotated[str, typer.Option(help="Host and port of the service.")]
Feed = Annotated[Path, typer.Option(help="Parquet, JSONL or CSV feed, gzipped or not.")]
Mapping = Annotated[Path | None, typer.Option(help="TOML file that maps the feed's columns to product fields.")]
SIGN_KEY_VARIABLE = "TANDEM_SIGN_KEY"
SignKey = Annotated[
    Path | None,
    typer.Option(
        envvar=SIGN_KEY_VARIABLE, show_envvar=False, help="PEM file of an Ed25519 key to sign the release by."
    ),
]
ChangeLogSetting = Annotated[
    str,
    typer.Option(
        "--change-log",
        envvar="TANDEM_SERVE_CHANGE_LOG",
        show_envvar=False,
        help="Where changes of products are kept, as for `tandem serve`: empty, or redis://HOST:PORT/DATABASE.",
    ),
]
Judgments = Annotated[Path, typer.Option(help="Parquet, CSV or JSONL with query, product_id, grade and split.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow server's URL, folder, or off; default: a folder beside the output.")
]


class ModelKind(StrEnum):
    """The models that can be fine-tuned."""

    ENCODER = "encoder"
    RANKER = "ranker"


def finite(option: typer.CallbackParam, value: float | None) -> float | None:
    """The value of a float option. Raises TandemError for one that is no finite number."""
    if value is not None and not math.isfinite(value):
        raise TandemError(f"{option.opts[0]} is {value}; give a finite number")
    return value


def duration(option: typer.CallbackParam, value: float) -> float:
    """Seconds to wait, from a thousandth to a day. Raises TandemError for others."""
    if not 0.001 <= value <= LONGEST_SECONDS:
        raise TandemError(f"{option.opts[0]} is {value:g}; give 0.001 to {LONGEST_SECONDS:,.0f} seconds")
    return value
