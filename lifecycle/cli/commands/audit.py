"""`tandem audit`: who published, rolled back, made keys, and so on."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from core.audit import AUDIT_LOG, AuditLog
from lifecycle.cli.options import RELEASES, Releases
from lifecycle.cli.terminal import print_json, print_line


def audit(
    releases: Releases = RELEASES,
    log: Annotated[Path | None, typer.Option(help="The log; default: audit.jsonl among the releases.")] = None,
    known: Annotated[
        str, typer.Option(metavar="DIGEST", help="Digest that was printed before, and has to be in the log still.")
    ] = "",
    last: Annotated[int, typer.Option(min=1, help="Print so many entries, the latest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON.")] = False,
) -> None:
    """Verify the log of what administrators did, and print its latest entries."""
    path = log or releases / AUDIT_LOG
    entries = AuditLog(path).check(known)
    shown = entries[-last:]
    if as_json:
        print_json([asdict(entry) for entry in shown])
        return
    for entry in shown:
        facts = ", ".join(f"{name} {text}" for name, text in entry.facts.items() if text)
        place = f" of {entry.catalog}" if entry.catalog else ""
        line = f"{entry.sequence:>5}  {entry.time[:19]}Z  {entry.who}: {entry.action}{place}" + f" ({facts})" * bool(
            facts
        )
        print_line("".join(char if char.isprintable() else ascii(char)[1:-1] for char in line))
    if not entries:
        print_line(f"{path} has no entry")
    else:
        print_line(f"{len(entries):,} entries, all as they were written; keep the last digest elsewhere:")
        print_line(entries[-1].digest)
