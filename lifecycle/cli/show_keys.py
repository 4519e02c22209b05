"""Keys, certificates and tenants on the terminal."""

from collections.abc import Collection
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lifecycle.keys import state
from retrieval.server.identity.key_file import Certificate, KeyFile


def show_keys(console: Console, file: KeyFile, now: datetime) -> None:
    """A table of those who may call, and one of tenants."""
    entries = [*file.keys, *file.certificates]
    if not entries and not file.tenants:
        console.print("no keys: everybody may call; make one with `tandem keys add`", highlight=False)
        return
    table = Table("id", "tenant", "scopes", "catalogs", "until", "state", "certificate")
    for entry in entries:
        until = "" if entry.expires is None else f"{entry.expires:%Y-%m-%d %H:%M}"
        subject = Text(entry.subject) if isinstance(entry, Certificate) else Text("")
        table.add_row(
            entry.id, entry.tenant, _names(entry.scopes), _names(entry.catalogs), until, state(entry, now), subject
        )
    console.print(table)
    limits = Table("tenant", "catalogs", "calls/s", "at once", "calls/day")
    for name, tenant in file.tenants.items():
        numbers = (f"{tenant.calls_per_second:g}", f"{tenant.burst:,}", f"{tenant.calls_per_day:,}")
        limits.add_row(name, _names(tenant.catalogs), *("" if number == "0" else number for number in numbers))
    console.print(limits)


def _names(names: Collection[str] | None) -> str:
    return "all" if names is None else ", ".join(sorted(names)) or "none"
