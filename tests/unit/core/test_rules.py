"""Files of merchandising rules: what is read, and the one line that names what is wrong."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import RulesError
from core.rules import MOST_PATTERNS, MOST_UNCONDITIONAL, Rule, RulesFile, type_path
from core.rules_file import MOST_BYTES, dump_rules, parse_rules, read_rules

WHOLE = """\
format = 1
time_zone = "Europe/Dublin"

[[rules]]
id = "christmas-mugs"
description = "The season's first"
when = { phrases = ["Mug ", "mug"], starts = 2026-12-01T00:00:00, ends = 2026-12-26T00:00:00+02:00 }
pin = ["p17", { product = "p4", place = 5 }]
boost = { products = ["p1", "p2"], factor = 1.5 }

[[rules]]
id = "sofas"
enabled = false
[rules.when]
queries = ["couch"]
languages = ["en-IE"]
product_types = ["Home>Sofas"]
[rules.bury]
products = ["p9"]
"""


def read(text: str, is_json: bool = False) -> RulesFile:
    return parse_rules(text.encode(), "rules", is_json)


def test_a_whole_file_is_read_and_local_times_are_of_its_zone() -> None:
    rules = read(WHOLE).rules
    assert [rule.id for rule in rules] == ["christmas-mugs", "sofas"]
    first = rules[0]
    assert first.when.phrases == ("Mug", "mug") and first.enabled and not rules[1].enabled
    assert [(pin.product, pin.place) for pin in first.pin] == [("p17", 1), ("p4", 5)]
    assert first.when.starts == datetime(2026, 12, 1, tzinfo=UTC)  # Dublin has no offset in winter
    assert first.when.ends == datetime(2026, 12, 25, 22, tzinfo=UTC)
    assert first.products == ("p17", "p4", "p1", "p2")


def test_a_local_time_of_summer_is_an_hour_before_that_of_utc() -> None:
    text = WHOLE.replace("2026-12-01T00:00:00", "2026-07-01T00:00:00")
    assert read(text).rules[0].when.starts == datetime(2026, 6, 30, 23, tzinfo=UTC)


def test_what_is_written_is_itself_a_file_of_rules() -> None:
    rules = read(WHOLE)
    again = read(dump_rules(rules), is_json=True)
    assert again.rules == rules.rules and again.digest == rules.digest
    assert dump_rules(again) == dump_rules(rules)


def test_a_file_without_rules_is_valid() -> None:
    assert read("").rules == ()


def test_the_digest_is_of_what_rules_do() -> None:
    assert read(WHOLE).digest == read(f"# noted\n{WHOLE}").digest
    assert read(WHOLE).digest != read(WHOLE.replace("1.5", "1.6")).digest


def rule(**fields: Any) -> dict[str, Any]:
    return {"id": "r", "when": {"phrases": ["mug"]}, "pin": ["p"]} | fields


def only(**fields: Any) -> dict[str, Any]:
    """A rule without pins."""
    return {name: value for name, value in rule(**fields).items() if name != "pin"}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (only(), "does nothing; give it pin, bury"),
        (rule(boost={"products": ["p"], "factor": 200}), "boost.factor: should be less than or equal to 100"),
        (rule(boost={"factor": 2}), "boost: needs `products` or a `filter`"),
        (rule(bury={"products": []}), "bury.products: is empty; give at least one"),
        (rule(pin=["p", {"product": "q", "place": 1}]), "pin: has the place '1' twice"),
        (rule(pin=["p", "p"]), "pin: has the product 'p' twice"),
        (rule(pin=[{"product": "p", "place": 0}]), "pin[1].place: should be greater than or equal to 1 and not '0'"),
        (rule(pin=[{"product": "p"}]), "pin[1].place: is missing"),
        (rule(pin=[" "]), "pin[1].product: ' ' is no product id"),
        (rule(pin=["p"] * 101), "pin: has 101 entries; give at most 100"),
        (rule(pins=["p"]), "pins: there is no such field"),
        (rule(when={"phrases": ["!"]}), "when.phrases[1]: '!' has no letter or digit"),
        (rule(when={"phrases": []}), "when.phrases: is empty"),
        (rule(when={"phrases": ["m" * 201]}), "when.phrases[1]: has 201 characters; give at most 200"),
        (rule(when={"patterns": ["(mug"]}), "when.patterns[1]: the pattern '(mug' is none of RE2's"),
        (rule(when={"patterns": [r"(mug)\1"]}), "neither lookaround nor backreferences"),
        (rule(when={"patterns": ["(?=mug)"]}), "neither lookaround nor backreferences"),
        (rule(when={"patterns": ["((a{100}){100}){100}"]}), "is none of RE2's"),
        (rule(when={"patterns": ["m*"]}), "matches an empty query, and so every one"),
        (rule(when={"product_types": [" > "]}), "' > ' is no product type"),
        (rule(when={"languages": ["English!"]}), "when.languages[1]: 'English!' does not have the form"),
        (rule(when={"starts": "2026-12-01T00:00:00"}), "when.starts: has no time zone"),
        (rule(when={"starts": 20261201}), "when.starts: '20261201' is no time"),
        (rule(when={"starts": "0001-01-01T00:00:00+10:00"}), "when.starts: is out of range"),
        (rule(when={"starts": "2026-12-02T00:00:00Z", "ends": "2026-12-01T00:00:00Z"}), "when: ends before it starts"),
        (rule(rewrite="cup", when={}), "rewrite: needs queries, phrases, words or patterns"),
        (rule(rewrite="cup", when={"phrases": ["mug"], "product_types": ["a"]}), "cannot depend on product_types"),
        (rule(redirect="https://shop.example", when={}), "redirect: needs a query or product_types"),
        (rule(redirect="javascript:alert(1)"), "is no address"),
        (rule(redirect="//elsewhere.example"), "is no address"),
        (rule(redirect="https://shop.example/a b"), "is no address"),
        (rule(id="a b"), "id: 'a b' does not have the form"),
        ({"pin": ["p"]}, "rule number 1: id: is missing"),
        (rule(filter="price < "), "filter: character 9, at the end:"),
        (rule(boost={"filter": "brand = ", "factor": 2}), "boost.filter: character"),
        (rule(filter="x" * 2001), "filter: has 2001 characters; give at most 2,000"),
    ],
)
def test_a_fault_names_rule_and_field_in_one_line(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(RulesError) as caught:
        read(json.dumps({"rules": [fields]}), is_json=True)
    message = str(caught.value)
    assert fault in message and "\n" not in message and len(message) < 400
    assert "rule " in message


@pytest.mark.parametrize("text", ["/sale", "https://shop.example/sale?a=b", "http://shop.example"])
def test_addresses_of_redirects(text: str) -> None:
    assert Rule.model_validate(rule(redirect=text)).redirect == text


def test_the_line_is_that_of_the_rule(tmp_path: Path) -> None:
    toml = tmp_path / "rules.toml"
    toml.write_text(WHOLE.replace('["p9"]', "[]"))
    with pytest.raises(RulesError, match=r"rules\.toml, line 11, rule 'sofas': bury\.products: is empty"):
        read_rules(toml)
    as_json = tmp_path / "rules.json"
    as_json.write_text(json.dumps({"rules": [rule(), rule(id="s", pin=[""])]}, indent=1))
    line = 1 + as_json.read_text().split('"id": "s"')[0].count("\n")
    with pytest.raises(RulesError, match=rf"line {line}, rule 's': pin\[1\]\.product"):
        read_rules(as_json)


def test_several_faults_are_counted() -> None:
    with pytest.raises(RulesError, match=r"rule 'r': pins: there is no such field \(and 1 more\)"):
        read(json.dumps({"rules": [rule(pins=1), rule(id="s", pins=1)]}), is_json=True)


def test_the_zone_comes_before_the_times_that_lack_it() -> None:
    with pytest.raises(RulesError, match="rules: time_zone: 'Europe/Atlantis' is no time zone"):
        read(WHOLE.replace("Dublin", "Atlantis"))


@pytest.mark.parametrize(
    ("data", "is_json", "fault"),
    [
        (b"[[rules]\n", False, "is not TOML"),
        (b"{", True, "is not JSON"),
        (b"[]", True, "is no object"),
        (b"\xff\xfe", False, "is not UTF-8"),
        (b'{"rules": ' + b"[" * 100_000, True, "nested too deeply"),
        (b'{"format": 1, "format": 1}', True, "'format' is there twice"),
        (b'{"format": ' + b"9" * 5000 + b"}", True, "is not JSON"),
        (b"format = 2", False, "format: should be 1"),
        (b"rule = 1", False, "rule: there is no such field"),
        (b"rules = 1", False, "rules: should be a valid"),
        (b"rules = [1]", False, "rule number 1: should be"),
    ],
)
def test_what_is_no_file_of_rules(data: bytes, is_json: bool, fault: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(data, "rules", is_json)
    assert fault in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_file_that_is_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="no such file"):
        read_rules(tmp_path / "none.toml")
    large = tmp_path / "large.toml"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(RulesError, match="has over 16 MiB"):
        read_rules(large)
    with pytest.raises(RulesError, match="cannot be read"):
        read_rules(tmp_path)


def many(number: int, **fields: Any) -> RulesFile:
    return RulesFile.model_validate({"rules": [rule(id=f"r{i}", **fields) for i in range(number)]})


def test_what_costs_each_request_is_bounded() -> None:
    assert len(many(MOST_UNCONDITIONAL, when={}).rules) == MOST_UNCONDITIONAL
    with pytest.raises(ValidationError, match="rules without a condition on query or product type"):
        many(MOST_UNCONDITIONAL + 1, when={})
    with pytest.raises(ValidationError, match=f"give at most {MOST_PATTERNS:,}"):
        many(MOST_PATTERNS // 10 + 1, when={"patterns": [f"mug{i}" for i in range(10)]})


def test_ids_are_there_once() -> None:
    with pytest.raises(ValidationError, match="the id 'r' is there twice"):
        RulesFile.model_validate({"rules": [rule(), rule(id="s"), rule()]})


def test_product_types_are_compared_without_case_and_spaces() -> None:
    assert type_path(" Home>KITCHEN  >Mugs ") == type_path("home > kitchen > mugs") == "home > kitchen > mugs"
