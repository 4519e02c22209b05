"""`tandem compress`: a smaller model from a trained one."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from core.config import load_settings, table
from core.errors import TandemError
from lifecycle.cli.options import Config, Feed, Judgments, Mapping, ModelKind, TrackingUri, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_line
from lifecycle.tracking.tracker import TrackingSettings, open_tracker


class CompressSettings(TrackingSettings):
    """The `--config` file: `[tracking]`, and `[student]`, the settings of its distillation."""

    student: dict[str, Any] = Field(default={}, description="Settings of the distillation.")


class Side(StrEnum):
    """Which towers to compress."""

    BOTH = "both"
    QUERY = "query"


def compress(
    model: Annotated[ModelKind, typer.Argument(help="Which model to compress.")],
    teacher: Annotated[Path, typer.Option("--from", help="Folder that `tandem train` wrote.")],
    catalog: Feed,
    judgments: Judgments,
    output: Annotated[Path, typer.Option(help="Folder for the compressed model.")],
    mapping: Mapping = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Transformer layers to keep; default: all.")] = None,
    ffn_share: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the feed-forward neurons to keep.")
    ] = None,
    trim_vocabulary: Annotated[
        bool, typer.Option("--trim-vocabulary", help="Keep only tokens of the catalog and the train queries.")
    ] = False,
    side: Annotated[
        Side | None, typer.Option(help="For the encoder: with query, its item tower stays as it is. Default: both.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="For the ranker: folder of the bi-encoder whose cosine its calibration uses.")
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=0, help="For the ranker: retrieved products of each query that the teacher scores.")
    ] = 20,
    products: Annotated[int, typer.Option(min=0, help="For the encoder: products to train on, at most.")] = 50_000,
    epochs: Annotated[
        float | None,
        typer.Option(callback=finite, min=0, help="Passes over what the teacher scored; 0 only cuts. Default: 1."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same model.")] = None,
    track: TrackingUri = None,
    config: Config = None,
) -> None:
    """Make a smaller model of a trained one: cut layers, neurons or tokens, then train it to answer as before."""
    from lifecycle.training.compression import StudentData, compress_model
    from lifecycle.training.data import Inputs

    if model is ModelKind.ENCODER and encoder:
        raise TandemError("--encoder is for compressing the ranker; the towers to compress are those of --from")
    if model is ModelKind.RANKER and side:
        raise TandemError("--side is for compressing the encoder; a ranker has only one")
    if side is Side.QUERY and trim_vocabulary:
        raise TandemError("the towers share a tokenizer: with --side query leave out --trim-vocabulary")
    settings = load_settings(CompressSettings, config, {"tracking": {"uri": track} if track else None})
    tracker = open_tracker(settings.tracking.uri, output.parent, print_line)
    options: dict[str, Any] = {"layers": layers, "ffn_share": ffn_share, "epochs": epochs, "seed": seed}
    options |= {"trim_vocabulary": trim_vocabulary or None, "side": side.value if side else None}
    knobs = settings.student | {name: value for name, value in options.items() if value is not None}
    inputs, material = Inputs(catalog, mapping, judgments, encoder), StudentData(candidates, products)
    with table("student"):
        row = compress_model(model.value, teacher, inputs, material, output, knobs, Bars(console), tracker)
    print_line(f"{model.value} in {output}: {row.line()}")
