"""The `tandem` command as a page: every command with its arguments, options, defaults and bounds, as Typer has them."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.cli import get_docs_for_click

from docs.generate.markdown import notice, page, paragraph
from lifecycle.cli.app import app

_NAME = "tandem"


def commands_page() -> str:
    """The page of all commands, in the order in which `tandem --help` lists them."""
    root = typer.main.get_command(app)
    commands = list(_leaves(root, _NAME))
    listed = (f"- [`{name}`](#{name.replace(' ', '-')}): {_summary(command)}" for name, command in commands)
    return page(
        notice("`lifecycle/cli`"),
        "# Commands",
        paragraph(root.help or ""),
        "Defaults and bounds stand in brackets. `--config` files are described in [settings](settings.md). Exit status "
        "0 is success; 2 is an error, which one line on standard error names; 130 is Ctrl-C. A command with others "
        "lists them.",
        "\n".join(listed),
        *(_section(name, command) for name, command in commands),
    )


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The commands that do something, this one or below it, by their whole names; Typer types them loosely."""
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield name, command
    for child, inner in children.items():
        yield from _leaves(inner, f"{name} {child}")


def _summary(command: Any) -> str:
    return paragraph((command.help or "").split("\n\n")[0])


def _section(name: str, command: Any) -> str:
    """Typer's own description; a group's commands have sections of their own."""
    return get_docs_for_click(obj=command, ctx=typer.Context(command), indent=1, name=name).partition("**Commands**")[0]
