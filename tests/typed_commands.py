"""Whether commands that pages, charts and files of services tell to type exist, with their options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from lifecycle.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
_PROGRAM = re.compile(r"(?:[A-Z_]+=\S+ )*(tandem|python -m \S+|make) ")


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in blocks and spans of code; places to fill in (`…`, `FILE`) are words too."""
    result = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    blocks = "\n".join(block for language, block in result if language in ("", "sh")).replace("\\\n", " ")
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    for line in [*blocks.splitlines(), *(" ".join(span.split()) for span in spans)]:
        if _PROGRAM.match(line):
            words = shlex.split(line, comments=True)
            yield words[next(place for place, word in enumerate(words) if "=" not in word) :]


def faults(words: list[str]) -> str | None:
    """Why the command cannot be typed, if so: no such program, option, choice or target."""
    if words[0] == "tandem":
        return tandem_faults(words[1:])
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"no target {unknown}" if unknown else None
    return module_faults(words[2], words[3:])


def tandem_faults(words: list[str]) -> str | None:
    """By the command's own parser, which knows options, choices and bounds, and what is required.

    A command without options is a mention of it, where nothing is required.
    """
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    if not words:
        return None
    try:
        command.make_context("tandem", words)
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def module_faults(name: str, words: list[str]) -> str | None:
    """By the source, since benchmarks load much: an option is a parser's, or an argument of a command's function."""
    if not name.startswith(("benchmarks", "lifecycle")):
        return None
    if not (sources := list(sources_of(name))):
        return f"no module {name}"
    text = "\n".join(path.read_text("utf-8") for path in sources)
    shared = re.findall(r"^from (benchmarks\.\w+) import", text, flags=re.M)
    text += "\n".join(path.read_text("utf-8") for module in shared for path in sources_of(module))
    options = [word for word in words if word.startswith("--") and word != "--help"]
    unknown = [option for option in options if not re.search(rf'"{option}"|\b{option[2:].replace("-", "_")}: ', text)]
    return f"no option {unknown}" if unknown else None


def sources_of(module: str) -> list[Path]:
    """The module's file, or those of the package."""
    path = ROOT / module.replace(".", "/")
    file = path.with_suffix(".py")
    return [file] if file.is_file() else sorted(path.glob("*.py"))
