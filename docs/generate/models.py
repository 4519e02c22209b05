"""Tables of pydantic models by their JSON schema: each field with its type, bounds, default and description."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from docs.generate.markdown import anchor, paragraph

Schema = Mapping[str, Any]
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a model: its dotted name, its type with bounds, its default as JSON, and what it means."""

    name: str
    type: str
    default: str
    meaning: str


def settings_of(
    model: type[BaseModel], prefix: str = "", elsewhere: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Setting]:
    """The fields of a model in order; those of models inside it under dotted names.

    `elsewhere` links to the sections of models that have their own, by class name; such a model is one row.
    """
    schema = model.model_json_schema()
    yield from _settings(schema, schema.get("$defs", {}), prefix, elsewhere)


def _settings(schema: Schema, definitions: Schema, prefix: str, elsewhere: Mapping[str, str]) -> Iterator[Setting]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        inner = _resolved(field, definitions)
        link = elsewhere.get(inner["title"]) if "properties" in inner else None
        if "properties" in inner and link is None:
            yield from _settings(inner, definitions, f"{prefix}{name}.", elsewhere)
            continue
        kind = f"table, see [{link}](#{anchor(link)})" if link else _type(field, definitions)
        if name in required and any(each.get("type") == "null" for each in field.get("anyOf", ())):
            kind += " or none"
        default = "required" if name in required else json.dumps(field.get("default"), ensure_ascii=False)
        default = "none" if default == "null" or (link and default != "required") else default
        yield Setting(f"{prefix}{name}", kind, default, paragraph(field.get("description", "")))


def _type(field: Schema, definitions: Schema) -> str:
    """In words: "integer, 1 to 256", "path", "one of `a`, `b`"."""
    field = _resolved(field, definitions)
    if choices := field.get("anyOf"):
        kinds = [_type(choice, definitions) for choice in choices if choice.get("type") != "null"]
        if any(kind.startswith("number") for kind in kinds):  # a decimal number may be written as text as well
            kinds = [kind for kind in kinds if kind != "text"]
        return " or ".join(dict.fromkeys(kinds))
    if values := field.get("enum", [field["const"]] if "const" in field else []):
        return f"one of {', '.join(f'`{value}`' for value in values)}"
    match field.get("type"):
        case "array":
            items = field.get("items", {})
            return f"list of {_type(items, definitions)}" if items else "list"
        case "object":
            inner = field.get("additionalProperties")
            return f"table of {_type(inner, definitions)}" if isinstance(inner, dict) else "table"
        case "string":
            return {"path": "path", "date-time": "time"}.get(field.get("format", ""), "text")
        case None:
            return "any"
        case kind:
            return f"{kind}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    if "minimum" in field and "maximum" in field:
        return f", {_plain(field['minimum'])} to {_plain(field['maximum'])}"
    parts = [text.format(_plain(field[name])) for name, text in _BOUNDS.items() if name in field]
    return f", {', '.join(parts)}" if parts else ""


def _plain(value: float) -> str:
    return f"{value:,.15g}"


def _resolved(field: Schema, definitions: Schema) -> Schema:
    """The definition that a reference names, else the field itself; a model that may be missing counts as there."""
    reference = field.get("$ref")
    if reference is None:
        models = [each for each in field.get("anyOf", ()) if "$ref" in each]
        others = [each for each in field.get("anyOf", ()) if "$ref" not in each and each.get("type") != "null"]
        if len(models) != 1 or others:
            return field
        reference = models[0]["$ref"]
    resolved: Schema = definitions[reference.rpartition("/")[2]]
    return resolved
