"""Generated pages are those of the code and the results, and show all of them."""

import json
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from docs.generate.benchmarks import RESULTS, benchmarks_page, source_of
from docs.generate.contract import PROTOS, read_descriptors
from docs.generate.pages import DOCS, PAGES
from docs.generate.settings import SECTIONS, Section
from lifecycle.cli.commands.compress import CompressSettings
from lifecycle.cli.commands.train import TrainSettings


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_what_is_generated(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), f"docs/{name} is not current; run `make reference`"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_depends_neither_on_the_terminal_nor_on_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PAGES[name]()
    for variable, value in {"COLUMNS": "40", "TANDEM_SERVE_PROCESSES": "7", "FORCE_COLOR": "1", "LANG": "C"}.items():
        monkeypatch.setenv(variable, value)
    assert PAGES[name]() == before


def test_the_contract_shows_every_message_field_and_value_with_its_comment() -> None:
    page = PAGES["reference/grpc.md"]()
    files = read_descriptors()
    assert files[0].name == "tandem/v1/search.proto" and len(files) == len(list((PROTOS / "tandem/v1").glob("*.proto")))
    for message in (message for file in files for message in file.message_type):
        section = page.split(f"\n### {message.name}\n")[1].split("\n### ")[0]
        for field in message.field:
            row = next(line for line in section.splitlines() if line.startswith(f"| `{field.name}` | {field.number} |"))
            assert row.split(" | ")[-1].strip(" |"), f"{message.name}.{field.name} has no comment"
    for enum in (enum for file in files for enum in file.enum_type):
        assert all(f"| `{value.name}` | {value.number} | " in page for value in enum.value)
    services = [service for file in files for service in file.service]
    assert all(f"### {service.name}.{method.name}\n" in page for service in services for method in service.method)


def test_every_file_of_results_has_a_section_with_figures() -> None:
    sections = {part.split("\n")[0]: part for part in benchmarks_page().split("\n## ")[1:]}
    assert set(sections) == {path.stem for path in RESULTS.glob("*.json")}
    for stem, section in sections.items():
        assert "| ---: |" in section, f"{stem}: its layout shows nothing of what it holds"
        assert f"[`{stem}.json`](../benchmarks/results/{stem}.json)" in section


def test_a_page_of_benchmarks_is_of_the_files_alone(tmp_path: Path) -> None:
    run = {
        "date": "2031-02-03T04:05:06+00:00",
        "hardware": {"processor": "Abacus", "cores": 3, "memory_gib": 1.5, "vnni": False, "python": "3.11.1"},
        "parameters": {"depth": 7, "long": "x" * 500, "nothing": None},
        "results": {
            "one": {"nDCG@10": {"mean": 0.51234, "low": 0.4, "high": 0.6, "queries": 9}, "MRR@10": 0.25},
            "two": {"nDCG@10": {"mean": 0.0, "low": 0.0, "high": 0.0, "queries": 9, "p": 1.0}, "MRR@10": 1234.5},
        },
    }
    (tmp_path / "losses.json").write_text(json.dumps(run))
    page = benchmarks_page(tmp_path)
    assert "| loss | nDCG@10 | MRR@10 |\n| --- | ---: | ---: |\n| one | 0.512 [0.400, 0.600] | 0.250 |\n" in page
    assert "| two | 0 | 1,234 |\n" in page  # an interval of no width is the run that others are compared with
    assert "2031-02-03, Abacus, 3 cores, 1.5 GiB, without VNNI, Python 3.11.1" in page
    assert "- Parameters: depth 7; long (in the file); nothing none\n" in page


def test_results_of_a_benchmark_without_a_layout_are_shown_as_rows(tmp_path: Path) -> None:
    rows = {"marks": {"p50_ms": 12.345, "calls": 1200}, "masks": {"p50_ms": 0.5, "calls": 7}}
    run = {"date": "2031-02-03", "parameters": {"processor": "Abacus", "cores": 3}, "results": rows}
    (tmp_path / "hostile_again.json").write_text(json.dumps(run))
    page = benchmarks_page(tmp_path)
    assert (
        "| result | p50 ms | calls |\n| --- | ---: | ---: |\n| marks | 12.35 | 1,200 |\n| masks | 0.500 | 7 |\n" in page
    )
    assert "- Command: `python -m benchmarks.hostile " in page


def test_results_that_no_benchmark_wrote_are_refused_with_what_to_do() -> None:
    with pytest.raises(LookupError, match=r"novelty\.json: .* name it after the one that wrote it"):
        source_of("novelty")
    assert source_of("quality_plain").name == "quality.py"
    assert source_of("peers_int8").parts[-2:] == ("peers", "__main__.py")


def test_every_setting_has_a_meaning() -> None:
    rows = [setting for section in SECTIONS for setting, _ in section.settings()]
    assert [setting.name for setting in rows if not setting.meaning] == []
    assert len(rows) > 150


@pytest.mark.parametrize("section", [each for each in SECTIONS if each.environment], ids=lambda each: each.title)
def test_a_variable_of_the_environment_sets_its_setting(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = TrainSettings if section.table in TrainSettings.model_fields else CompressSettings
    kind = section.model if issubclass(section.model, BaseSettings) else tables
    for setting, variable in section.settings():
        if setting.default in ("none", "required"):
            continue
        monkeypatch.setenv(variable, json.loads(setting.default) if setting.default[0] == '"' else setting.default)
        value: object = kind().model_dump(mode="json", exclude_unset=True)
        for part in setting.name.split("."):
            assert isinstance(value, dict) and list(value) == [part], f"{variable} sets {value}"
            value = value[part]
        monkeypatch.delenv(variable)
