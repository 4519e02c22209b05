"""Reads a file of merchandising rules, and names the rule and the line of what is wrong."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import RulesError
from core.rules import RulesFile, zone
from core.strings import quoted

MOST_BYTES = 16 << 20
_TABLE = re.compile(r"^[ \t]*\[\[[ \t]*rules[ \t]*\]\]", re.MULTILINE)


def read_rules(path: Path) -> RulesFile:
    """Reads and checks a file, TOML or JSON by its name. Raises RulesError with the first rule at fault."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise RulesError(f"{path}: no such file; give one with rules, in TOML or JSON") from None
    except OSError as error:
        raise RulesError(f"{path}: cannot be read ({error.strerror}); give a file with rules") from None
    if len(data) > MOST_BYTES:
        raise RulesError(f"{path}: has over {MOST_BYTES >> 20} MiB; give at most as many of rules")
    return parse_rules(data, str(path), is_json=path.suffix.lower() == ".json")


def parse_rules(data: bytes, name: str, is_json: bool) -> RulesFile:
    """The rules in a file's bytes; `name` begins the error's message. Raises RulesError."""
    kind = "JSON" if is_json else "TOML"
    try:
        text = data.decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=_without_repetition) if is_json else tomllib.loads(text)
    except RecursionError:
        raise RulesError(f"{name}: is nested too deeply for rules") from None
    except UnicodeDecodeError:
        raise RulesError(f"{name}: is not UTF-8; save it as UTF-8 text") from None
    except ValueError as error:  # their own errors, and numbers of thousands of digits
        raise RulesError(f"{name}: is not {kind}: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise RulesError(f"{name}: is no object with `rules`")
    try:
        return RulesFile.model_validate(content, context={"zone": _zone_of(content)})
    except ValidationError as error:
        raise RulesError(f"{name}{_first_fault(error, content, text)}") from None


def dump_rules(rules: RulesFile) -> str:
    """The rules as JSON, all times in UTC: itself a file of rules."""
    kept = rules.model_copy(update={"time_zone": None})
    return kept.model_dump_json(exclude_none=True, exclude_defaults=True, indent=1) + "\n"


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{quoted(next(name for name in names if names.count(name) > 1))} is there twice in an object")
    return result


def _zone_of(content: dict[str, Any]) -> Any:
    name = content.get("time_zone")
    try:
        return zone(name) if isinstance(name, str) else None
    except ValueError:
        return None  # validation reports it


def _first_fault(error: ValidationError, content: dict[str, Any], text: str) -> str:
    """Line, rule, field and what is wrong, of the first fault."""
    faults = error.errors(include_url=False)
    # A time zone that is wrong makes every time without one wrong as well.
    fault = min(faults, key=lambda one: (one["loc"][:1] != ("time_zone",), one["loc"][:1] == ("rules",)))
    place, why = list(fault["loc"]), _reason(fault)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if len(place) < 2 or place[0] != "rules" or not isinstance(place[1], int):
        return f": {'.'.join(map(str, place))}{': ' if place else ''}{why}{more}"
    number = place[1]
    rule = content["rules"][number]
    identity = rule.get("id") if isinstance(rule, dict) else None
    label = f"rule {quoted(identity)}" if isinstance(identity, str) else f"rule number {number + 1}"
    line = _line(text, number, identity)
    field = _field(place[2:])
    return f"{f', line {line}' if line else ''}, {label}: {f'{field}: ' if field else ''}{why}{more}"


def _field(place: list[int | str]) -> str:
    """Such as `pin[2].place`, counted from 1."""
    result = ""
    for part in place:
        result += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if result else part
    return result


def _reason(fault: Any) -> str:
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "there is no such field"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "too_long":
            return f"has {fault['ctx']['actual_length']} entries; give at most {fault['ctx']['max_length']:,}"
        case "too_short":
            return "is empty; give at least one, or leave it out"
        case "string_pattern_mismatch":
            return f"{quoted(str(fault['input']))} does not have the form {fault['ctx']['pattern']}"
    given = fault["input"]
    shown = f" and not {quoted(str(given))}" if isinstance(given, str | int | float) else ""
    return fault["msg"].replace("Input should", "should") + shown


def _line(text: str, number: int, identity: Any) -> int | None:
    """The line where the rule of this number begins; None where that is not to be seen."""
    places = [match.start() for match in _TABLE.finditer(text)]
    if isinstance(identity, str):
        named = re.search(rf"""\bid["']?\s*[=:]\s*["']{re.escape(identity)}["']""", text)
        before = [place for place in places if named and place < named.start()]
        if named:
            # Of the table that this id is in; of JSON, and of inline tables, where the id stands.
            return text.count("\n", 0, max(before) if before else named.start()) + 1
    return text.count("\n", 0, places[number]) + 1 if number < len(places) else None
