"""What pages tell people to type: commands and options exist, and TOML examples are accepted."""

import re
import tomllib
from pathlib import Path

import pytest
from typed_commands import commands, faults

from benchmarks.load.slo import Slo
from core.errors import TandemError
from core.rules_file import parse_rules
from indexer.cleaning.mapping import load_mapping
from lifecycle.cli.commands.train import TrainSettings
from lifecycle.quality.gate import GateSettings
from retrieval.server.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[3]
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
RUNBOOKS = sorted((ROOT / "deploy/runbooks").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *RUNBOOKS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    result = list(commands(page.read_text("utf-8")))
    assert {" ".join(words): fault for words in result if (fault := faults(words))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "tandem serves --releases releases",
        "tandem index --catalogue feed.csv",
        "tandem index --catalog feed.csv --index-kind flat",
        "tandem releases --keep few",
        "tandem triton restart",
        "make everything",
        "python -m benchmarks.none --releases releases",
        "python -m benchmarks.quality --date FOLDER",
    ],
)
def test_commands_that_do_not_exist_are_noticed(line: str) -> None:
    (words,) = commands(f"```sh\n{line}\n```\n")
    assert faults(words)


def test_commands_are_read_from_blocks_and_from_text() -> None:
    text = (
        "```toml\na = 1\n```\ntandem is not run here\n```\nmade of it\n```\nRun `make run PORT=1`:\n"
        "```sh\nA=b tandem serve \\\n  --lanes 2   # two\n```\nnot `tandem` itself\n"
    )
    assert list(commands(text)) == [["tandem", "serve", "--lanes", "2"], ["make", "run", "PORT=1"]]


def check_toml(page: str, text: str, scratch: Path) -> None:
    """Raises where the settings that the guide is about refuse its example."""
    values = tomllib.loads(text)
    if page == "relevance.md" and "rules" in values:
        parse_rules(text.encode(), page, is_json=False)
    elif page in ("serving.md", "search.md"):
        ServeSettings(**values)
    elif page == "evaluation.md":
        GateSettings(**values)
    elif page == "deployment.md":
        Slo(**values)
    elif page == "models.md":
        TrainSettings(**values)
    elif page == "catalog.md" and "fields" in values:
        scratch.write_text(text, "utf-8")
        load_mapping(scratch)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_examples_of_settings_are_accepted(page: Path, tmp_path: Path) -> None:
    for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S):
        check_toml(page.name, text, tmp_path / "example.toml")


def test_settings_that_do_not_exist_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="extra_forbidden"):
        check_toml("serving.md", "process = 2\n", tmp_path / "example.toml")
    with pytest.raises(TandemError):
        check_toml("catalog.md", "[fields]\nidentity = 'sku'\n", tmp_path / "example.toml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_environment_names_are_those_of_settings(page: Path) -> None:
    names = re.findall(r"TANDEM_SERVE_([A-Z_]+)", page.read_text("utf-8"))
    assert [name for name in names if name.lower() not in ServeSettings.model_fields] == []


@pytest.mark.parametrize(
    ("page", "fragment"),
    [
        ("README.md", "ms a query"),
        ("README.md", "searched as “"),
        ("README.md", "tandem: serving release "),
        (
            "README.md",
            "training on the judgments beside the service; Ctrl-C ends both, and the next run goes on from there",
        ),
        ("docs/guides/serving.md", " lane(s) for its models and"),
        ("docs/guides/evaluation.md", "unjudged products gain nothing, see judged@10"),
        ("docs/guides/triton.md", "Triton answers on "),
        ("docs/guides/gpu.md", "NVIDIA's driver shows no GPU here"),
        ("docs/guides/catalog.md", "nothing changed: release "),
        ("docs/guides/search.md", "start it with "),
    ],
)
def test_what_pages_show_is_what_the_program_prints(page: str, fragment: str) -> None:
    sources = (
        path
        for folder in ("lifecycle", "retrieval", "engine", "protos/tandem/client")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert fragment in (ROOT / page).read_text("utf-8")
    assert any(fragment in path.read_text("utf-8") for path in sources)
