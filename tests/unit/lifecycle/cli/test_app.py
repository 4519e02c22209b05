"""The command as its user meets it: what it prints, and its exit status."""

import asyncio
import io
import json
import logging
import math
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from builders import publish
from comparisons import comparison
from doubles import make_release
from google.protobuf import text_format
from pydantic import ValidationError

from core.manifest import Manifest
from core.plan import Plan
from core.progress import Steps
from core.releases import ReleaseStore
from encoder.train.settings import EncoderTraining
from indexer.build import IndexSettings
from lifecycle.cli.app import main
from lifecycle.examples.behaviour import Behaviour, BehaviourSettings
from lifecycle.examples.mining import Mining
from lifecycle.quality import evaluation
from lifecycle.quality.comparison import Comparison
from lifecycle.quality.evaluation import EvaluationRequest, ReleaseLocation
from lifecycle.quality.gate import GateSettings
from lifecycle.quality.slices import Slices
from lifecycle.recipes.recipe import Recipe
from ranker.train.final import FinalTraining
from ranker.train.settings import RankerTraining
from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2
from training.compress import Distillation
from training.settings import TrainingSettings


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


class Command:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self._monkeypatch.setattr(sys, "argv", ["tandem", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = self._capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    def error(self, *arguments: object) -> str:
        """The one line of a user's error."""
        status, _, reported = self(*arguments)
        assert status == 2 and reported.startswith("tandem: ") and reported.count("\n") == 1, reported
        return reported.removeprefix("tandem: ").strip()


@pytest.fixture
def tandem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    log = logging.getLogger("tandem")
    level = log.level
    yield Command(monkeypatch, capsys)
    log.setLevel(level)


def fill(store: ReleaseStore, folder: Path, count: int = 3, catalog: str = "shop") -> list[Manifest]:
    contents = [{"products.arrow": bytes([number])} for number in range(count)]
    return [publish(store, folder / "scratch", files, n, catalog=catalog) for n, files in enumerate(contents)]


def test_help_names_every_command(tandem: Command) -> None:
    status, reported, _ = tandem("--help")
    assert status == 0
    for name in (
        "index",
        "releases",
        "rollback",
        "serve",
        "search",
        "sample",
        "train",
        "evaluate",
        "gate",
        "run",
        "lineage",
        "models",
        "triton",
    ):
        assert name in reported


def test_releases_are_listed(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    made = fill(store, tmp_path)
    status, reported, _ = tandem("releases", "--releases", store.root)
    assert status == 0
    assert all(manifest.release_id in reported for manifest in made)


def test_old_releases_are_removed_when_asked(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    made = fill(store, tmp_path)
    status, reported, _ = tandem("releases", "--releases", store.root, "--keep", "1")
    assert status == 0 and "removed 2 releases" in reported
    assert store.manifests("shop") == made[-1:]


@pytest.mark.parametrize("served", [True, False], ids=["in service", "an old one"])
def test_a_damaged_release_blocks_no_command(
    tandem: Command, store: ReleaseStore, tmp_path: Path, served: bool
) -> None:
    made = [manifest.release_id for manifest in fill(store, tmp_path, 4)]
    bad = made[3 if served else 1]
    path = store.path("shop", bad) / "manifest.json"
    path.unlink()
    path.write_text("{")
    status, reported, _ = tandem("releases", "--releases", store.root)
    assert status == 0 and all(name in reported for name in made)
    assert f"damaged: release {bad}: manifest.json differs from its digest" in reported
    assert tandem("releases", "--releases", store.root, "--keep", 1)[0] == 0
    kept = [release.name for release in store.releases("shop")]
    assert kept == (made[2:] if served else made[3:])
    if served:
        assert f"back at release {made[2]}" in tandem("rollback", "--releases", store.root)[1]
    assert "is damaged" not in tandem("releases", "--releases", store.root)[1]


def test_a_damaged_pointer_is_listed_and_left_by_a_choice(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    made = [manifest.release_id for manifest in fill(store, tmp_path)]
    (store.folder("shop") / "current").write_bytes(b"\xff\xfe")
    status, reported, _ = tandem("releases", "--releases", store.root)
    assert status == 0 and "current is damaged" in reported and all(name in reported for name in made)
    assert "choose a release with `tandem rollback --to`" in tandem.error("rollback", "--releases", store.root)
    assert "current is damaged" in tandem.error("lineage", "--releases", store.root)
    assert tandem("rollback", "--releases", store.root, "--to", made[1])[0] == 0
    assert store.current("shop") == made[1]


def test_a_folder_without_releases_is_told(tandem: Command, tmp_path: Path) -> None:
    for command in ("releases", "rollback"):
        reported = tandem.error(command, "--releases", tmp_path / "none")
        assert "holds no release: make one with `tandem index`" in reported


def test_several_catalogs_need_a_name(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    fill(store, tmp_path, 1)
    fill(store, tmp_path, 1, "other")
    logged = tandem.error("releases", "--releases", store.root)
    assert "several catalogs, choose one with --catalog: other, shop" in logged
    status, _, _ = tandem("releases", "--releases", store.root, "--catalog", "other")
    assert status == 0
    logged = tandem.error("releases", "--releases", store.root, "--catalog", "third")
    assert "holds no catalog 'third'; there is: other, shop" in logged


def test_rolling_back(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    made = fill(store, tmp_path)
    status, reported, _ = tandem("rollback", "--releases", store.root)
    assert status == 0 and f"back at release {made[1].release_id}" in reported
    assert store.current("shop") == made[1].release_id
    tandem("rollback", "--releases", store.root, "--to", made[2].release_id)
    assert store.current("shop") == made[2].release_id
    assert "not both" in tandem.error("rollback", "--releases", store.root, "--to", "r-1", "--model", "m-1")
    assert "no release of catalog 'shop' has model set 'm-1'" in tandem.error(
        "rollback", "--releases", store.root, "--model", "m-1"
    )
    assert "there is no release at" in tandem.error("rollback", "--releases", store.root, "--to", "r-1")


def test_the_lineage_of_a_release(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    [made] = fill(store, tmp_path, 1)
    reported = json.loads(tandem("lineage", "--releases", store.root, "--json")[1])
    assert (reported["release"], reported["model_set"], reported["encoder"]) == (
        made.release_id,
        made.model.model_id,
        None,
    )
    status, shown, _ = tandem("lineage", made.release_id, "--releases", store.root)
    assert status == 0 and "encoder: no training known" in shown
    assert "there is no release" in tandem.error("lineage", "r-none", "--releases", store.root)


def test_models_need_a_place_that_is_there(tandem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such folder; give --track" in tandem.error("models", "--track", tmp_path / "none")
    monkeypatch.setenv("TANDEM_TRACKING__URI", "off")
    assert "tracking is off" in tandem.error("models", "promote", "--kind", "encoder", "--version", 1)


def test_a_library_that_is_not_installed_is_named(tandem: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'sklearn.metrics'", name="sklearn.metrics")

    monkeypatch.setattr("lifecycle.cli.app.app", measure)
    assert tandem.error("gate") == "this command needs sklearn: pip install 'tandem-retrieval[train]'"


def test_the_sample_is_told_in_one_line(tandem: Command, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20)
    status, reported, _ = tandem("sample", "--output", folder, "--products", 1000)
    assert status == 0 and reported.count("\n") == 1
    assert reported.startswith("sample shop: 1,000 products of ") and reported.endswith(f" judgments in {folder}\n")


def test_serving_what_is_not_there(tandem: Command, tmp_path: Path) -> None:
    assert "no release can be served from" in tandem.error("serve", "--releases", tmp_path, "--address", "127.0.0.1:0")


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", ":x", "", ":53106", "53105", "unix:", "http://a:1"]
)
def test_an_address_that_is_none(tandem: Command, tmp_path: Path, address: str) -> None:
    for command in (("serve",), ("run",), ("serve", "--processes", 2)):
        reported = tandem.error(*command, "--releases", tmp_path, "--address", address)
        assert reported.startswith("setting address: ") and "give " in reported.replace("not between 0", "give ")
    reported = tandem.error("search", "shoes", "--address", address)
    assert " is no address: " in reported or " names no " in reported


@pytest.mark.parametrize("seconds", ["inf", "-inf", "nan", "1e12", "0", "-1", "86401"])
def test_a_timeout_that_is_none(tandem: Command, seconds: str) -> None:
    reported = tandem.error("search", "mug", "--timeout", seconds)
    assert reported.startswith("--timeout is ") and reported.endswith("; give 0.001 to 86,400 seconds")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none(tandem: Command, tmp_path: Path, value: str) -> None:
    feed, where = tmp_path / "none.csv", tmp_path / "out"
    for command, option in (
        (("index", "--catalog", feed), "--max-rejected"),
        (("index", "--catalog", feed), "--recall-target"),
        (("index", "--catalog", feed), "--exact-budget-ms"),
        (("evaluate", "--judgments", feed), "--relevant"),
        (("evaluate", "--judgments", feed), "--cutoff"),
        (("train", "encoder", "--catalog", feed, "--judgments", feed, "--output", where), "--epochs"),
        (("train", "--recipe", "general", "--data", tmp_path, "--output", where), "--minutes"),
        (("compress", "ranker", "--from", where, "--catalog", feed, "--judgments", feed), "--ffn-share"),
    ):
        status, _, message = tandem(*command, option, value)
        assert status == 2 and option in message and "Traceback" not in message
        if value == "inf" and option in ("--exact-budget-ms", "--relevant", "--epochs", "--minutes"):  # without a range
            assert message == f"tandem: {option} is inf; give a finite number\n"
    for option in ("--default-deadline",):
        assert "setting default_deadline: " in tandem.error("serve", option, value)


def test_no_setting_takes_a_number_that_is_none() -> None:
    kinds = (ServeSettings, Plan, GateSettings, TrainingSettings, EncoderTraining, RankerTraining, Distillation, Mining)
    for kind in (*kinds, BehaviourSettings, Behaviour, Recipe, IndexSettings, FinalTraining):
        for name, field in kind.model_fields.items():
            if float in (field.annotation, *get_args(field.annotation)):
                for value in (math.inf, math.nan):
                    with pytest.raises(ValidationError) as error:
                        kind.model_validate({name: value})
                    assert any(fault["loc"] == (name,) for fault in error.value.errors()), (kind, name)


def test_settings_that_are_none(tandem: Command, tmp_path: Path) -> None:
    assert "no such settings file" in tandem.error("serve", "--config", tmp_path / "none.toml")
    (tmp_path / "s.toml").write_text("[plan]\nrerank_depth = 9999\n")
    assert "setting plan.rerank_depth:" in tandem.error("serve", "--config", tmp_path / "s.toml")
    assert "setting max_in_flight:" in tandem.error("serve", "--max-in-flight", 0)
    for option, wrong in (
        ("engine", "gpu"),
        ("fallback", "none"),
        ("triton-url", "http://host:8001"),
        ("triton-url", "x"),
    ):
        assert f"setting {option.replace('-', '_')}:" in tandem.error("serve", f"--{option}", wrong)
    assert "setting engine:" in tandem.error("run", "--engine", "gpu", "--releases", tmp_path)


def test_a_triton_server_that_is_not_there_is_told(tandem: Command, tmp_path: Path) -> None:
    assert "`tandem triton install` puts it there" in tandem.error(
        "triton", "run", "--releases", tmp_path, "--server", tmp_path / "none"
    )
    assert "no such folder" in tandem.error("triton", "run", "--releases", tmp_path / "none")
    assert "holds no release" in tandem.error("triton", "prepare", "--releases", tmp_path)


@pytest.mark.parametrize("listens", [False, True])
def test_searching_where_nothing_answers(tandem: Command, listens: bool) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if listens:  # but never says a word
            port.listen()
        where = f"127.0.0.1:{port.getsockname()[1]}"
        start = time.monotonic()
        reported = tandem.error("search", "shoes", "--address", where, "--timeout", "0.5")
    assert reported == f"nothing answers at {where}: start it with `tandem serve`"
    assert time.monotonic() - start < 3


def test_searching_at_a_host_that_is_none(tandem: Command) -> None:
    reported = tandem.error("search", "shoes", "--address", "no-host.invalid:50051", "--timeout", "0.5")
    assert reported == "no host has the name in 'no-host.invalid:50051': check the address"


@pytest.fixture
def address(store: ReleaseStore, tmp_path: Path) -> Iterator[str]:
    """A server with doubles for models, on a thread of its own."""
    fill(store, tmp_path, 1)

    def open_double(path: Path, manifest: Manifest) -> LoadedRelease:
        return make_release(tmp_path, manifest=manifest)

    result: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=0)
        async with run_server(settings, ReleaseManager(store, 60, open_double)) as server:
            result.append(server.address)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield result[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_searching(tandem: Command, address: str) -> None:
    status, reported, _ = tandem("search", "3 red shoes", "--address", address, "--top-k", 2)
    assert status == 0 and "3 red shoes" in reported
    assert "title 34" in reported and "34.01 EUR" in reported and "title 33" in reported and "title 32" not in reported
    status, reported, _ = tandem("search", "3 red shoes", "--address", address, "--top-k", 2, "--json")
    answer = json.loads(reported)
    assert status == 0 and [hit["product_id"] for hit in answer["hits"]] == ["p34", "p33"]
    assert answer["hits"][0]["product"]["price"] == {"currency_code": "EUR", "units": "34", "nanos": 10_000_000}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_whatever_the_terminal_lacks_is_written_as_an_escape(
    store: ReleaseStore, address: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    def printed(*arguments: object) -> str:
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        monkeypatch.setattr(sys, "argv", ["tandem", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        sys.stdout.flush()
        return written.getvalue().decode(encoding)

    output = printed("search", "3 靴 größer", "--address", address, "--top-k", 1)
    size = "größer" if encoding == "cp1252" else r"gr\xf6\xdfer"
    assert rf"3 \u9774 {size}" in output and "title 34" in output
    result = json.loads(printed("search", "3 靴 🔥", "--address", address, "--top-k", 1, "--json"))
    assert result["hits"][0]["product_id"] == "p34"
    assert store.manifests("shop")[0].release_id in printed("releases", "--releases", store.root)
    settings = ServeSettings(releases=store.root)
    monkeypatch.setattr("lifecycle.serving.run_service", lambda _, ready: ready("127.0.0.1:1", {"shop": "r-1"}))
    lines = printed("serve", "--releases", settings.releases)
    mark = "…" if encoding == "cp1252" else r"\u2026"
    assert f'tandem search "{mark}" --address 127.0.0.1:1' in lines


def test_a_search_that_cannot_be_answered(tandem: Command, address: str) -> None:
    assert "query: is empty" in tandem.error("search", "  ", "--address", address)
    assert "NOT_FOUND" in tandem.error("search", "x", "--address", address, "--catalog", "none")
    assert "UTF-8" in tandem.error("search", "shoe\udcff", "--address", address)
    for top_k in ("201", "99999999999999999999"):
        status, _, reported = tandem("search", "x", "--address", address, "--top-k", top_k)
        assert status == 2 and "Traceback" not in reported and "200" in reported


def test_a_filter_is_read_before_the_search_and_checked_by_the_service(tandem: Command, address: str) -> None:
    reported = tandem.error("search", "x", "--address", address, "--filter", "price < 50 and brand = Bosch")
    assert (
        reported == "filter: character 12, at 'and brand = Bosch': expected AND, OR or the end; write AND in capitals"
    )
    reported = tandem.error("search", "x", "--address", address, "--filter", "price < 50")
    assert "this release has no typed columns; index the catalog again with `tandem index`" in reported


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--facet", "brand:9x"), "--facet 'brand:9x': '9x' is no number that fits"),
        (("--facet", "brand:-1"), "facets[0].limit: is -1; send 1 to 1000, or 0 for 10"),
        (("--facet", "price:5,1"), "facets[0].borders: do not ascend"),
        (("--cap", "brand"), "--cap 'brand' names no number; write FIELD=N"),
        (("--cap", "brand=0"), "diversity.caps[0].most: is 0; send 1 to 50"),
        (("--sort", ""), "sort[0].field: is empty"),
        (("--sort", "-price", "--diversity", "0.5"), "diversity: spreads an order by relevance; send it without sort"),
        (("--page", "x"), "page_token: is not a token that this service made"),
        (("--page", "\udcff"), "is not UTF-8; check the terminal's encoding"),
        (("--fields", "brand,colour"), "'colour' is no field of Product"),
        (("--language", "de"), "language: this catalog is in 'en'"),
        (("--group", "brand"), "group_by.field: this release has no typed columns"),
    ],
)
def test_wrong_options_of_a_search_are_one_line(
    tandem: Command, address: str, options: tuple[str, ...], line: str
) -> None:
    assert line in tandem.error("search", "x", "--address", address, *options)


@pytest.mark.parametrize(
    "options", [("--variants", "21"), ("--total", "many"), ("--match", "none"), ("--diversity", 2)]
)
def test_options_of_a_search_have_bounds(tandem: Command, options: tuple[object, ...]) -> None:
    status, _, reported = tandem("search", "x", *options)
    assert status == 2 and "Traceback" not in reported and str(options[0]) in reported


def test_every_part_of_a_request_has_an_option(tandem: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[search_pb2.SearchRequest] = []

    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None: ...

        def search(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
            sent.append(request)
            return search_pb2.SearchResponse()

    monkeypatch.setattr("lifecycle.client.connect", lambda *_: Client())
    options = "--facet brand:5 --facet price:0,50 --multi-select --sort -price --sort brand --group brand --variants 2"
    more = "--total at-least --page -T --match all --cap brand=3 --diversity 0.5 --verbatim --explain --explain-words 2"
    rest = "--language en --country IE --fields brand,size --catalog c --top-k 3 --understanding off --filter brand=a"
    rest += " --least-revision 7"
    assert tandem("search", "mug", *options.split(), *more.split(), *rest.split())[0] == 0
    assert sent[0] == text_format.Parse(
        """
        query: "mug" top_k: 3 catalog: "c" language: "en" country: "IE"
        product_mask { paths: "title" paths: "price" paths: "brand" paths: "size" }
        filter { equal { field: "brand" value { text: "a" } } }
        facets { field: "brand" limit: 5 exclude_own_filter: true }
        facets { field: "price" borders: 0 borders: 50 exclude_own_filter: true }
        sort { field: "price" descending: true } sort { field: "brand" }
        total: TOTAL_MODE_AT_LEAST page_token: "-T" group_by { field: "brand" variants: 2 }
        diversity { strength: 0.5 caps { field: "brand" most: 3 } }
        understanding: UNDERSTANDING_MODE_OFF match: MATCH_MODE_ALL verbatim: true explain: true explain_words: 2
        least_revision: 7
        """,
        search_pb2.SearchRequest(),
    )
    unset = {"experiment", "user"}  # a gateway's
    assert {field.name for field, _ in sent[0].ListFields()} | unset == set(sent[0].DESCRIPTOR.fields_by_name)
    tandem("search", "mug", "--variants", 1, "--json", "--fields", "size")
    assert sent[1].group_by.field == "item_group_id" and sent[1].product_mask.paths == ["size"]
    tandem("search", "mug")
    assert sent[2] == search_pb2.SearchRequest(query="mug", top_k=10)


@pytest.fixture
def compared(store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Two releases that were compared already, B a little better; tells which were asked for."""
    fill(store, tmp_path, 2)
    asked: list[tuple[str, str]] = []

    def compare(
        a: ReleaseLocation, b: ReleaseLocation, ask: EvaluationRequest, steps: Steps
    ) -> tuple[Comparison, Slices]:
        asked.append((a.release, b.release))
        return comparison(), {}

    monkeypatch.setattr(evaluation, "compare_releases", compare)
    return asked


def test_a_release_is_compared_with_the_one_in_service_or_another(
    tandem: Command, store: ReleaseStore, compared: list[tuple[str, str]], tmp_path: Path
) -> None:
    first, second = (manifest.release_id for manifest in store.manifests("shop"))
    given = ("--releases", store.root, "--judgments", tmp_path)
    status, reported, _ = tandem("evaluate", *given, "--compare", first)
    assert status == 0 and "B - A" in reported and "+0.020 [+0.010, +0.030]" in reported
    status, reported, _ = tandem("evaluate", *given, "--compare", first, second, "--json")
    assert status == 0 and json.loads(reported)["headline"] == "nDCG@10"
    assert compared == [(second, first), (first, second)]
    assert "go with --compare" in tandem.error("evaluate", *given, second)


def test_the_gates_word_is_its_exit_status(
    tandem: Command, store: ReleaseStore, compared: list[tuple[str, str]], tmp_path: Path
) -> None:
    first, second = (manifest.release_id for manifest in store.manifests("shop"))
    given = ("gate", "--releases", store.root, "--judgments", tmp_path, "--candidate", first)
    status, reported, _ = tandem(*given)
    assert status == 0 and "released" in reported and "ndcg_not_worse" in reported
    config = tmp_path / "gate.toml"
    config.write_text("calibration_error = 0.01\n")
    status, reported, _ = tandem(*given, "--config", config)
    assert status == 3 and "refused: calibration" in reported
    status, reported, _ = tandem(*given, "--config", config, "--json")
    assert status == 3 and json.loads(reported)["released"] is False
    assert compared == [(second, first)] * 3
    config.write_text("calibration = 1\n")
    assert "setting calibration:" in tandem.error(*given, "--config", config)


def test_pruned_releases_leave_tritons_folder_too(tandem: Command, store: ReleaseStore, tmp_path: Path) -> None:
    made = [manifest.release_id for manifest in fill(store, tmp_path)]
    for release in made:
        folder = store.root / "triton" / f"tandem.shop.{release}.encode"
        folder.mkdir(parents=True)
        (folder / "lease").touch()
    assert tandem("releases", "--releases", store.root, "--keep", 1)[0] == 0
    assert [path.name for path in (store.root / "triton").iterdir()] == [f"tandem.shop.{made[-1]}.encode"]
