"""`tandem keys`: who may call the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lifecycle.cli.options import RELEASES, Releases
from lifecycle.cli.terminal import console, print_line

if TYPE_CHECKING:
    from lifecycle.keys import Keys

keys = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys and certificates of those who may call.")

_File = Annotated[
    Path | None,
    typer.Option(
        "--keys", envvar="TANDEM_SERVE_KEYS", show_envvar=False, help="Default: keys.json among the releases."
    ),
]
_AuditLogFile = Annotated[
    Path | None,
    typer.Option(
        "--audit-log",
        envvar="TANDEM_SERVE_AUDIT_LOG",
        show_envvar=False,
        help="Default: audit.jsonl among the releases.",
    ),
]
_Catalogs = Annotated[str | None, typer.Option(metavar="NAMES", help="Catalogs, as in shop,outlet; default: all.")]


@keys.command()
def add(
    tenant: Annotated[str, typer.Option(help="Whose it is: limits and catalogs are a tenant's.")],
    scopes: Annotated[str, typer.Option(metavar="NAMES", help="Some of search,write,events,admin.")],
    catalogs: _Catalogs = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="A date, or a span such as 90d; default: never.")
    ] = None,
    priority: Annotated[
        Literal["interactive", "batch"], typer.Option(help="Batch calls are refused first when there is too much.")
    ] = "interactive",
    certificate: Annotated[
        str | None, typer.Option(metavar="NAME", help="No key, but this name in a client's certificate.")
    ] = None,
    releases: Releases = RELEASES,
    file: _File = None,
    audit_log: _AuditLogFile = None,
) -> None:
    """Make a key and print it, once; the service takes it up within a second."""
    from lifecycle.keys import read_catalogs, read_end, read_scopes
    from retrieval.server.identity.key_file import now

    kept = _open(releases, file, audit_log)
    more = {"catalogs": read_catalogs(catalogs), "expires": read_end(expires, now()), "priority": priority}
    if certificate is not None:
        entry = kept.add_certificate(certificate, tenant, read_scopes(scopes), **more)
        print_line(f"certificates of {certificate} may call: {entry.id}")
        return
    key, _ = kept.add(tenant, read_scopes(scopes), **more)
    print_line(key)


@keys.command("list")
def list_keys(releases: Releases = RELEASES, file: _File = None, audit_log: _AuditLogFile = None) -> None:
    """List keys, certificates and tenants. The keys themselves are kept nowhere."""
    from lifecycle.cli.show_keys import show_keys
    from retrieval.server.identity.key_file import now

    show_keys(console, _open(releases, file, audit_log).read(), now())


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as of `tandem keys list`.")],
    releases: Releases = RELEASES,
    file: _File = None,
    audit_log: _AuditLogFile = None,
) -> None:
    """Let a key or a certificate in no more, from within a second."""
    entry = _open(releases, file, audit_log).revoke(key)
    print_line(f"{entry.id} of {entry.tenant} is revoked")


@keys.command()
def rotate(
    key: Annotated[str, typer.Argument(help="Its id, as of `tandem keys list`.")],
    overlap: Annotated[str, typer.Option(metavar="SPAN", help="How long the old one is valid beside it.")] = "7d",
    releases: Releases = RELEASES,
    file: _File = None,
    audit_log: _AuditLogFile = None,
) -> None:
    """Make a key with the rights of another, and print it, once; both are valid for a while."""
    from lifecycle.keys import read_span

    text, _, old = _open(releases, file, audit_log).rotate(key, read_span(overlap, "--overlap"))
    print_line(text)
    typer.echo(f"{old.id} ends at {old.expires:%Y-%m-%d %H:%M} UTC", err=True)


@keys.command()
def tenant(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    catalogs: _Catalogs = None,
    calls_per_second: Annotated[float | None, typer.Option(min=0, help="Of all its credentials; 0: no limit.")] = None,
    burst: Annotated[int | None, typer.Option(min=0, help="Calls at once; 0: a second's.")] = None,
    calls_per_day: Annotated[int | None, typer.Option(min=0, help="Of each day (UTC); 0: no limit.")] = None,
    releases: Releases = RELEASES,
    file: _File = None,
    audit_log: _AuditLogFile = None,
) -> None:
    """Set what all credentials of a tenant may do together."""
    from lifecycle.keys import read_catalogs

    limits = {"calls_per_second": calls_per_second, "burst": burst, "calls_per_day": calls_per_day}
    set_to = _open(releases, file, audit_log).set_tenant(name, catalogs=read_catalogs(catalogs), **limits)
    names = "all" if set_to.catalogs is None else ", ".join(sorted(set_to.catalogs))
    print_line(
        f"{name}: catalogs {names}; {set_to.calls_per_second:g} calls a second, {set_to.burst:,} at once, "
        f"{set_to.calls_per_day:,} a day (0: no limit)"
    )


def _open(releases: Path, file: Path | None, audit_log: Path | None) -> "Keys":
    from core.audit import AUDIT_LOG, AuditLog
    from lifecycle.keys import Keys
    from retrieval.server.identity.key_file import KEY_FILE

    return Keys(file or releases / KEY_FILE, AuditLog(audit_log or releases / AUDIT_LOG))
