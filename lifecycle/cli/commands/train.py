"""`tandem train`: one model on judgments, or both by a recipe."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from pydantic import Field

from core.config import load_settings, table
from core.errors import TandemError
from lifecycle.cli.commands.train_users import Behaviour, Columns, Forget, Models, UserOptions, train_users_of
from lifecycle.cli.options import Config, Mapping, TrackingUri, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console, print_line
from lifecycle.tracking.tracker import OFF, Tracker, TrackingSettings, open_tracker
from training.known_bases import BaseKind, BaseSources
from training.processes import is_main_process


class TrainSettings(TrackingSettings):
    """The `--config` file: `[tracking]`, `[mining]`, `[bases]`; settings in a table of each model's name."""

    bases: BaseSources = Field(default=BaseSources(), description="Where the models that training starts from are.")

    encoder: dict[str, Any] = Field(default={}, description="Settings of training the bi-encoder.")
    ranker: dict[str, Any] = Field(default={}, description="Settings of training the cross-encoder.")
    final: dict[str, Any] = Field(default={}, description="Settings of training the final score.")
    users: dict[str, Any] = Field(default={}, description="Settings of learning from behaviour.")
    mining: dict[str, Any] = Field(default={}, description="Settings of mining hard negatives, for `--mine`.")


Minutes = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        min=0,
        help="With --recipe: minutes that it may take, or it is shortened; 0: no bound. Default: its own.",
    ),
]

Without = Annotated[
    str | None, typer.Option(help="With --recipe: leave this source out, to measure models on a shop not seen.")
]
WithRanker = Annotated[
    bool,
    typer.Option(
        "--ranker", help="With --recipe general: train a cross-encoder even where it would start from the towers."
    ),
]
StartingModel = Annotated[
    str | None, typer.Option(help="Folder or hub id to start from; default: the recipe's bases, else bundled MiniLM.")
]

Teacher = Annotated[
    Path | None,
    typer.Option(help="Folder of a trained ranker: towers learn its scores; --mine leaves out what it scores as good."),
]
Encoder = Annotated[
    Path | None, typer.Option(help="For the ranker: folder of the bi-encoder whose cosine its calibration uses.")
]
Mine = Annotated[
    bool, typer.Option("--mine", help="Train on hard negatives too, mined from what BM25 and the towers retrieve.")
]
ServedReleases = Annotated[
    Path | None, typer.Option(help="For final and users: folder of the releases; it is trained for the one in service.")
]
CatalogName = Annotated[
    str | None, typer.Option(help="For final and users: catalog name; default: the only one there is.")
]
Shops = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CATALOG[=JUDGMENTS]",
        help="For final, three times or more: a catalog of --releases; the score goes with any towers. Without "
        "judgments, queries are made of the catalog.",
    ),
]


class TrainableModel(StrEnum):
    """The models that can be trained alone."""

    ENCODER = "encoder"
    RANKER = "ranker"
    FINAL = "final"
    USERS = "users"


def train(
    model: Annotated[
        TrainableModel | None, typer.Argument(help="What to train; with --recipe, encoder and ranker.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the trained model, or for both.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="Parquet, JSONL or CSV feed, gzipped or not.")] = None,
    judgments: Annotated[
        Path | None, typer.Option(help="Parquet, CSV or JSONL with query, product_id, grade and split.")
    ] = None,
    mapping: Mapping = None,
    recipe: Annotated[
        str | None, typer.Option(help="A whole training: sample, home_depot or general; both models are its result.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --recipe: folder of its sets. Or give --catalog and --judgments instead.")
    ] = None,
    stages: Annotated[
        Path | None, typer.Option(help="With --recipe: folder of the stages before the last; default: in the output.")
    ] = None,
    minutes: Minutes = None,
    without: Without = None,
    ranker: WithRanker = False,
    base: StartingModel = None,
    epochs: Annotated[float | None, typer.Option(callback=finite, min=0.01, help="Passes over the examples.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed trains the same model.")] = None,
    encoder: Encoder = None,
    mine: Mine = False,
    teacher: Teacher = None,
    releases: ServedReleases = None,
    name: CatalogName = None,
    shop: Shops = None,
    split: Annotated[str, typer.Option(help="For final: split to train on, which trained no model.")] = "valid",
    behaviour: Behaviour = None,
    column: Columns = None,
    forget: Forget = None,
    models: Models = None,
    track: TrackingUri = None,
    config: Config = None,
) -> None:
    """Fine-tune the towers or the cross-encoder on judgments, or both by a recipe, or learn a release's final score, or
    lists for people from their behaviour.

    A run that was interrupted continues.
    """
    if output is None:
        raise TandemError("give --output, the folder for what is trained")
    _check_choice(model, recipe, releases or name or shop)
    settings = load_settings(TrainSettings, config, {"tracking": {"uri": track} if track else None})
    helpers = HelperModels(encoder, mine, teacher)
    if recipe is not None:
        if any([epochs, *helpers, settings.encoder, settings.ranker, settings.mining]) or seed is not None:
            raise TandemError(
                "a recipe has settings of its own: leave out --encoder, --epochs, --seed, --mine, --teacher and tables"
            )
        tracker = open_tracker(settings.tracking.uri, output, print_line)
        bases = settings.bases
        _train_by_recipe(
            recipe, data, catalog, judgments, mapping, output, stages, minutes, without, ranker, base, bases, tracker
        )
        return
    _refuse_of_recipes(data, stages, without, ranker, minutes is not None)
    knobs = _set_options(base=base, epochs=epochs, seed=seed)
    assert model is not None, "one of model and recipe is given"
    users = UserOptions(behaviour, column, forget, models)
    if model is TrainableModel.USERS:
        if any((judgments, shop, base, epochs, *helpers)):
            raise TandemError("lists for people are learned from behaviour: give --behaviour and --output")
        train_users_of(users, catalog, mapping, releases, name, output, settings.users | knobs)
        return
    if any(users):
        raise TandemError("--behaviour, --column, --forget and --models go with `tandem train users`")
    if model is TrainableModel.FINAL:
        if any((catalog, mapping, base, epochs, *helpers)):
            raise TandemError("the final score is learned from a release: give --releases, --judgments and --output")
        train_one = _train_final_of_shops if shop else _train_final
        train_one(releases, name, judgments, shop or [], split, output, settings.final | knobs)
        return
    if catalog is None or judgments is None:
        raise TandemError("give --catalog and --judgments, the files to learn from")
    _train_one(model, catalog, mapping, judgments, helpers, output, settings, knobs)


def _refuse_of_recipes(*given: object) -> None:
    if any(given):
        raise TandemError(
            "--data, --stages, --minutes, --without and --ranker go with --recipe; one model needs --catalog and "
            "--judgments"
        )


def _check_choice(model: TrainableModel | None, recipe: str | None, releases: object) -> None:
    if (model is None) == (recipe is None):
        raise TandemError("name what to train: encoder, ranker, final or users, or --recipe for encoder and ranker")
    if model not in (TrainableModel.FINAL, TrainableModel.USERS) and releases:
        raise TandemError("--releases, --name and --shop go with `tandem train final`, the first two with users too")


class HelperModels(NamedTuple):
    """Other models, and what they retrieve, that a training may learn from."""

    encoder: Path | None
    mine: bool
    teacher: Path | None


def _train_one(
    model: TrainableModel,
    catalog: Path,
    mapping: Path | None,
    judgments: Path,
    helpers: HelperModels,
    output: Path,
    settings: TrainSettings,
    knobs: dict[str, Any],
) -> None:
    from lifecycle.examples.mining import Mining
    from lifecycle.training.data import Inputs
    from lifecycle.training.fine_tuning import train_model

    encoder, mine, teacher = helpers
    _check_helpers(model, encoder, mine, teacher)
    tracker = open_tracker(settings.tracking.uri if is_main_process() else OFF, output.parent, print_line)
    kind: Literal["encoder", "ranker"] = "encoder" if model is TrainableModel.ENCODER else "ranker"
    knobs = getattr(settings, kind) | knobs
    if teacher and model is TrainableModel.ENCODER:
        knobs = {"distil": 1.0} | knobs
    with table("mining"):
        mining = Mining(**settings.mining) if mine else None
    inputs = Inputs(catalog, mapping, judgments, encoder, mining, teacher)
    knobs, origin = _resolve(kind, knobs, settings.bases)
    with table(kind):
        train_model(kind, inputs, output, knobs, Bars(console), tracker, origin)


def _resolve(kind: BaseKind, knobs: dict[str, Any], settings: BaseSources) -> tuple[dict[str, Any], str]:
    """The settings with the folder of their base, and where that was taken from."""
    from training.bases import BaseResolver

    resolver = BaseResolver(settings)
    if knobs.get("base") is None:
        return knobs, resolver.resolve((), kind).origin
    base = resolver.need(str(knobs["base"]), kind)
    for line in base.lines if is_main_process() else ():
        print_line(line)
    return base.settings | knobs | {"base": base.location}, base.origin


def _train_final(
    releases: Path | None,
    name: str | None,
    judgments: Path | None,
    _shops: list[str],
    split: str,
    output: Path,
    knobs: dict[str, Any],
) -> None:
    from core.releases import ReleaseStore
    from lifecycle.cli.show_final import show_final
    from lifecycle.final_score.train import train_final
    from ranker.train.final import FinalTraining

    if releases is None or judgments is None:
        raise TandemError("give --releases and --judgments: the release in service is sent the judged queries")
    store = ReleaseStore(releases)
    with table("final"):
        settings = FinalTraining(**knobs)
    outcome = train_final(store, store.named(name), judgments, split, output, settings, Bars(console))
    show_final(console, outcome, output)


def _train_final_of_shops(
    releases: Path | None,
    name: str | None,
    judgments: Path | None,
    shops: list[str],
    split: str,
    output: Path,
    knobs: dict[str, Any],
) -> None:
    from core.releases import ReleaseStore
    from lifecycle.cli.show_final import show_shops
    from lifecycle.final_score.shops import ShopRelease, train_final_of_shops
    from lifecycle.quality.evaluation import CURRENT, find_release
    from ranker.train.final import FinalTraining

    if releases is None or name or judgments:
        raise TandemError("with --shop give --releases, and the judgments of each as --shop CATALOG=JUDGMENTS")
    store = ReleaseStore(releases)
    chosen: dict[str, ShopRelease] = {}
    for text in shops:
        catalog, _, file = text.partition("=")
        if catalog in chosen:
            raise TandemError(f"--shop {catalog} is given twice; give each catalog once")
        place = find_release(store, store.named(catalog), CURRENT)
        chosen[catalog] = ShopRelease(catalog, place, Path(file) if file else None, split)
    with table("final"):
        settings = FinalTraining(**knobs)
    outcome = train_final_of_shops(list(chosen.values()), output, settings, Bars(console))
    show_shops(console, outcome, output)


def _check_helpers(model: TrainableModel, encoder: Path | None, mine: bool, teacher: Path | None) -> None:
    """Whether the other models that are named can help with this one. Raises TandemError."""
    if model is TrainableModel.ENCODER and encoder:
        raise TandemError("--encoder is for training the ranker; to start the towers from a model, give --base")
    if model is TrainableModel.RANKER and mine and encoder is None:
        raise TandemError("--mine needs the towers whose results the ranker rescores; give them as --encoder")
    if model is TrainableModel.RANKER and teacher and not mine:
        raise TandemError(
            "--teacher decides which of a ranker's mined negatives are relevant after all; give --mine too"
        )


def _train_by_recipe(
    name: str,
    data: Path | None,
    catalog: Path | None,
    judgments: Path | None,
    mapping: Path | None,
    output: Path,
    stages: Path | None,
    minutes: float | None,
    without: str | None,
    ranker: bool,
    base: str | None,
    bases: BaseSources,
    tracker: Tracker,
) -> None:
    from lifecycle.recipes.builtin import find_recipe
    from lifecycle.recipes.run import run_recipe
    from training.bases import BaseResolver

    recipe = find_recipe(name)
    if data is not None and (catalog or judgments or mapping):
        raise TandemError("give --data, or the --catalog and --judgments of one shop, not both")
    if data is None:
        if catalog is None or judgments is None:
            raise TandemError("give --data, the folder of the recipe's sets, or --catalog and --judgments of one shop")
        paths = [str(path.resolve()) for path in (catalog, judgments, mapping) if path]
        recipe = recipe.on(*paths)
    if without is not None:
        recipe = recipe.without(without)
    if ranker:
        recipe = recipe.model_copy(update={"ranker_from": "any"})
    if minutes is not None:
        if recipe.effort is None:
            raise TandemError(f"recipe {name} is a short one, which always learns all; leave out --minutes")
        recipe = recipe.model_copy(update={"minutes": minutes or None})
    if not is_main_process():
        raise TandemError("a recipe runs in one process; torchrun is for training one model")
    folders = run_recipe(
        recipe, data or Path(), output, Bars(console), tracker, base, stages, print_line, BaseResolver(bases)
    )
    print_line(f"trained by {name}: {' and '.join(map(str, folders))}")


def _set_options(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
