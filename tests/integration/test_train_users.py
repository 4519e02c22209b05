"""`tandem train users` over a tiny shop with planted habits, and what a release and a service make of it."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shops import command, environment, index, write_feed

from core.errors import FeedError, ModelError, TandemError
from core.releases import ReleaseStore
from indexer.models import ModelFolders
from lifecycle.cli.commands.train_users import UserOptions, train_users_of
from lifecycle.models import models_in, resolve_models
from ranker.recommendation import RecommendationScore
from retrieval.profiles.profiles import open_profiles
from retrieval.recommend.behaviour import Behaviour
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.client import AsyncSearchClient, RecommendRequest

DAYS, USERS, PRODUCTS = 7, 150, 30
SMALL = {"steps": 40, "width": 16, "layers": 1, "heads": 2, "batch_size": 32, "least": 20, "rounds": 30, "threads": 1}


def write_behaviour(path: Path) -> Path:
    """Whoever buys product i buys i + 1 two days later, and often i again; product 7 is everybody's."""
    random = np.random.default_rng(0)
    lines = ["customer_id,article_id,t_dat,price"]
    for user in range(USERS):
        product = int(random.integers(PRODUCTS))
        for day in range(int(random.integers(2)), DAYS, 2):
            basket = {product, 7} if random.random() < 0.3 else {product}
            if random.random() < 0.4:
                basket.add((product - 1) % PRODUCTS)
            lines += [f"shopper-{user},a-{one},2026-01-0{day + 1},{one}.5" for one in sorted(basket)]
            product = (product + 1) % PRODUCTS
    path.write_text("\n".join([*lines, "shopper-0,unheard-of,2026-01-01,1", "", "x"]) + "\n")
    return path


def train(*arguments: object) -> "subprocess.CompletedProcess[str]":
    whole = command("train", "users", *map(str, arguments))
    return subprocess.run(whole, capture_output=True, text=True, env=environment(), timeout=300)


@pytest.fixture(scope="module")
def trained(indexed: ReleaseStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that was written, and what was printed."""
    folder = tmp_path_factory.mktemp("users")
    settings = folder / "settings.toml"
    settings.write_text("\n".join(["[users]", *(f"{name} = {value}" for name, value in SMALL.items())]))
    behaviour = write_behaviour(folder / "behaviour.csv")
    done = train(
        "--behaviour", behaviour, "--releases", indexed.root, "--output", folder / "users", "--config", settings
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "users", done.stdout


def test_what_was_planted_is_learned(trained: tuple[Path, str]) -> None:
    behaviour = Behaviour.open(trained[0])
    assert len(behaviour) == PRODUCTS and behaviour.spec.report["behaviour"]["unknown"] == 1
    [place] = behaviour.places(["a-12"])
    later = behaviour.related("followed", np.array([place]), np.ones(1, np.float32))
    assert "a-13" in behaviour.ids(later.places[:2])
    assert behaviour.ids(behaviour.popular().places[:1]) == ["a-7"]
    assert behaviour.price[place] == 12.5
    report = behaviour.spec.report["held out"]["MAP@12"]
    assert report["learned order"]["with a history"] > 2 * report["popularity"]["with a history"]


def test_the_command_prints_what_it_read_and_measured_and_no_user(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    assert "1 rows of 1 products that the catalog lacks left out" in printed and "MAP@12" in printed
    assert "learned order" in printed and f"`tandem index --users {folder}`" in printed.replace("\n", " ").replace(
        "  ", " "
    )
    for path in folder.rglob("*"):
        assert path.is_dir() or b"shopper-" not in path.read_bytes()


async def test_a_release_holds_and_serves_it(trained: tuple[Path, str], store: ReleaseStore, tmp_path: Path) -> None:
    folder, _ = trained
    models = replace(resolve_models(None, None, store, "default"), users=folder)
    manifest = index(write_feed(tmp_path / "b.jsonl", "a-", changed=1), models, store).manifest
    assert manifest.model.users is not None and "users/final/trees.onnx" in manifest.files
    assert RecommendationScore.open(folder / "final").spec.prices == "catalog"
    async with (
        run_server(ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5)) as server,
        AsyncSearchClient(server.address, timeout=20) as client,
    ):
        request = RecommendRequest(user={"products": [{"product_id": "a-12", "action": "USER_ACTION_PURCHASE"}]})  # type: ignore[arg-type]
        answer = await client.recommend(request)
    assert {"final"} <= {score.stage for score in answer.hits[0].stage_scores}
    assert "a-13" in [hit.product_id for hit in answer.hits[:5]]
    # The next job keeps it, as it does the other models.
    assert resolve_models(None, None, store, "default").users is not None


def test_behaviour_of_other_towers_is_refused(trained: tuple[Path, str], store: ReleaseStore, tmp_path: Path) -> None:
    folder, _ = trained
    spec = (folder / "behaviour.json").read_text()
    other = tmp_path / "models" / "users"
    other.mkdir(parents=True)
    (other / "behaviour.json").write_text(spec.replace(Behaviour.open(folder).spec.encoder, "another"))
    encoder = resolve_models(None, None, store, "default").encoder
    with pytest.raises(ModelError, match="learned over the vectors of other towers; run `tandem train users`"):
        index(write_feed(tmp_path / "b.jsonl", "a-", 1), ModelFolders(encoder, None, users=other), store)
    (tmp_path / "models" / "encoder").symlink_to(encoder)
    assert models_in(tmp_path / "models").users == other


def test_users_to_forget_are_left_out_of_the_next_training(
    trained: tuple[Path, str], store: ReleaseStore, tmp_path: Path
) -> None:
    profiles = open_profiles(ServeSettings(releases=store.root).profile_settings)
    assert profiles is not None
    profiles._forget("shopper-3")
    profiles.close()
    forget = tmp_path / "forget.txt"
    forget.write_text("shopper-1\nshopper-2\n")
    behaviour = write_behaviour(tmp_path / "behaviour.csv")
    gone = sum(
        line.startswith(("shopper-1,", "shopper-2,", "shopper-3,")) for line in behaviour.read_text().splitlines()
    )
    output = tmp_path / "users"
    options = UserOptions(behaviour, None, forget, None)
    train_users_of(options, None, None, store.root, None, output, SMALL | {"tower": False})
    assert Behaviour.open(output).spec.report["behaviour"]["forgotten"] == gone > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"behaviour": None}, "give --behaviour, the file of what users bought or looked at"),
        ({"behaviour": Path("nowhere.csv")}, "nowhere.csv: no such file"),
        ({"columns": ["user=z"]}, "no column z"),
        ({"forget": Path("nowhere")}, "nowhere: cannot be read"),
        ({"models": Path("models")}, "--catalog and --models go together"),
    ],
)
def test_mistakes_are_told_in_one_line(
    indexed: ReleaseStore, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    options = UserOptions(write_behaviour(tmp_path / "b.csv"), None, None, None)._replace(**change)
    with pytest.raises(TandemError, match=re.escape(message)) as error:
        train_users_of(options, None, None, indexed.root, None, tmp_path / "out", SMALL)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_the_command_ends_with_the_mistake_alone(tmp_path: Path) -> None:
    done = train("--behaviour", write_behaviour(tmp_path / "b.csv"), "--output", tmp_path / "out")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "tandem: give --releases, to learn for the release in service, or --catalog and --models\n"


def test_a_day_alone_is_too_little(indexed: ReleaseStore, tmp_path: Path) -> None:
    lines = ["user,product,time", *(f"u{number},a-{number},2026-01-01" for number in range(30))]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    with pytest.raises(FeedError, match=r"the behaviour spans 0\.0 days: it has to begin before"):
        train_users_of(
            UserOptions(tmp_path / "b.csv", None, None, None), None, None, indexed.root, None, tmp_path / "out", SMALL
        )
    assert not (tmp_path / "out").exists()
