"""`tandem train users`: lists for people, from what they bought or looked at."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from core.config import load_settings, table
from core.errors import FeedError, TandemError
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console

Behaviour = Annotated[
    Path | None,
    typer.Option(help="For users: Parquet, CSV or JSONL of purchases or clicks, with user, product and time."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="FIELD=COLUMN",
        help="For users: a column of --behaviour with a name of its own: of user, product, time, action, price, "
        "channel, or of a segment of users, under any other name.",
    ),
]
Forget = Annotated[
    Path | None,
    typer.Option(help="For users: text file of users to leave out, one id of --behaviour a line."),
]
Models = Annotated[
    Path | None, typer.Option(help="For users, with --catalog: folder with the encoder whose vectors are learned over.")
]


class UserOptions(NamedTuple):
    """The options that `tandem train users` has for itself."""

    behaviour: Path | None
    columns: list[str] | None
    forget: Path | None
    models: Path | None


def train_users_of(
    options: UserOptions,
    catalog: Path | None,
    mapping: Path | None,
    releases: Path | None,
    name: str | None,
    output: Path,
    knobs: dict[str, Any],
) -> None:
    """Learns for the products of a feed, or of the release in service. Raises TandemError."""
    from core.releases import ReleaseStore
    from lifecycle.cli.show_users import show_users
    from lifecycle.users.settings import UserTraining
    from lifecycle.users.shop import shop_of_feed, shop_of_release
    from lifecycle.users.train import BehaviourFile, train_users

    if options.behaviour is None:
        raise TandemError("give --behaviour, the file of what users bought or looked at")
    if (catalog is None) == (releases is None):
        raise TandemError("give --releases, to learn for the release in service, or --catalog and --models")
    if (catalog is None) != (options.models is None):
        raise TandemError("--catalog and --models go together; with --releases, the models are those of the release")
    with table("users"):
        settings = UserTraining(**knobs)
    steps = Bars(console)
    forget = _forgetting(options.forget, releases)
    file = BehaviourFile(options.behaviour, tuple(options.columns or ()), forget)
    if releases is not None:
        store = ReleaseStore(releases)
        shop = shop_of_release(store, store.named(name), steps)
    else:
        assert catalog is not None and options.models is not None
        shop = shop_of_feed(
            catalog, mapping, _encoder_in(options.models), output.parent / f".{output.name}-work", steps
        )
    show_users(console, train_users(shop, file, output, settings, time.time(), steps), output)


def _encoder_in(models: Path) -> Path:
    return models / "encoder" if (models / "encoder").is_dir() else models


def _forgetting(path: Path | None, releases: Path | None) -> Callable[[str], bool] | None:
    """Tells who is left out: those of the file, and those that the service beside the releases was told to forget."""
    named = frozenset(_lines(path)) if path else frozenset[str]()
    forgotten = _forgotten_by(releases) if releases else ()
    if not named and not forgotten:
        return None
    return lambda user: user in named or user in forgotten


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}; give a text file of ids") from None
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is no text in UTF-8; give one id a line") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _forgotten_by(releases: Path) -> Any:
    """The forgotten of the profiles that a service of these releases keeps, by its settings in the environment."""
    from retrieval.profiles.profiles import open_profiles
    from retrieval.profiles.settings import EMBEDDED
    from retrieval.server.settings import ServeSettings

    kept = load_settings(ServeSettings, None, {"releases": releases}).profile_settings
    if kept.store == EMBEDDED and not kept.folder.is_dir():
        return ()
    profiles = open_profiles(kept)
    if profiles is None:
        return ()
    try:
        return profiles.forgotten()
    finally:
        profiles.close()
