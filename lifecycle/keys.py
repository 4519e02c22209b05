"""Makes, lists, rotates and revokes the keys of the service. A key itself is returned once and kept nowhere."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.audit import AuditLog
from core.errors import TandemError
from core.strings import quoted
from retrieval.server.identity.access import SCOPES
from retrieval.server.identity.key_file import (
    Certificate,
    Credential,
    Key,
    KeyFile,
    Tenant,
    changing,
    hash_key,
    make_key,
    now,
    read_key_file,
)

_SPAN = re.compile(r"([0-9]{1,5})([hdwy])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


class Keys:
    """The keys in one file. Each change is in the audit log before it takes effect. Raises TandemError."""

    def __init__(self, path: Path, audit: AuditLog, clock: Callable[[], datetime] = now) -> None:
        self._path, self._audit, self._clock = path, audit, clock

    def add(self, tenant: str, scopes: frozenset[str], **more: Any) -> tuple[str, Key]:
        """A new key, and its entry. `more` are fields of `Credential`; a tenant that is new gets no limits."""
        text, name = make_key()
        entry = _checked(
            lambda: Key(id=name, tenant=tenant, scopes=scopes, hash=hash_key(text), created=self._clock(), **more)
        )
        with changing(self._path) as file:
            self._audit.record("add a key", key=name, tenant=tenant, scopes=_listed(scopes))
            file[0] = _with_tenant(file[0], tenant).model_copy(update={"keys": (*file[0].keys, entry)})
        return text, entry

    def add_certificate(self, subject: str, tenant: str, scopes: frozenset[str], **more: Any) -> Certificate:
        """The holder of a certificate with this name may call, from now on."""
        _, name = make_key()
        entry = _checked(
            lambda: Certificate(id=name, tenant=tenant, scopes=scopes, subject=subject, created=self._clock(), **more)
        )
        with changing(self._path) as file:
            if any(one.subject == subject and one.valid(self._clock()) for one in file[0].certificates):
                raise TandemError(f"the name {quoted(subject)} is known already; revoke its entry first")
            self._audit.record("add a certificate", key=name, subject=subject, tenant=tenant, scopes=_listed(scopes))
            file[0] = _with_tenant(file[0], tenant).model_copy(update={"certificates": (*file[0].certificates, entry)})
        return entry

    def rotate(self, name: str, overlap: timedelta) -> tuple[str, Key, Key]:
        """A new key with the rights of another, the new entry, and the old one, which ends after the overlap."""
        text, new_name = make_key()
        with changing(self._path) as file:
            old = _find(file[0].keys, name)
            moment = self._clock()
            if not old.valid(moment):
                raise TandemError(f"key {old.id} is revoked or expired already; make one with `tandem keys add`")
            end = moment + overlap
            ending = old.model_copy(update={"expires": end if old.expires is None else min(end, old.expires)})
            span = None if old.expires is None else moment + (old.expires - old.created)
            update = {"id": new_name, "hash": hash_key(text), "created": moment, "expires": span}
            new = old.model_copy(update=update)
            self._audit.record("rotate a key", key=old.id, new=new_name, tenant=old.tenant)
            others = (ending if one is old else one for one in file[0].keys)
            file[0] = file[0].model_copy(update={"keys": (*others, new)})
        return text, new, ending

    def revoke(self, name: str) -> Credential:
        """The key or the certificate of this id is let in no more."""
        with changing(self._path) as file:
            entry: Credential = _find([*file[0].keys, *file[0].certificates], name)
            if entry.revoked is not None:
                raise TandemError(f"{entry.id} is revoked already, since {entry.revoked:%Y-%m-%d %H:%M} UTC")
            revoked = entry.model_copy(update={"revoked": self._clock()})
            self._audit.record("revoke a key", key=entry.id, tenant=entry.tenant)
            kinds = {
                kind: tuple(revoked if one is entry else one for one in getattr(file[0], kind))
                for kind in ("keys", "certificates")
            }
            file[0] = file[0].model_copy(update=kinds)
        return revoked

    def set_tenant(self, name: str, **limits: Any) -> Tenant:
        """Sets what all credentials of a tenant may do together: fields of `Tenant`, those that are not None."""
        given = {field: value for field, value in limits.items() if value is not None}
        with changing(self._path) as file:
            before = file[0].tenants.get(name, Tenant())
            tenant = _checked(lambda: Tenant.model_validate(before.model_dump() | given))
            facts = {field: _text(value) for field, value in given.items()}
            self._audit.record("set a tenant", tenant=name, **facts)
            changed = file[0].model_copy(update={"tenants": {**file[0].tenants, name: tenant}})
            file[0] = _checked(lambda: KeyFile.model_validate(changed.model_dump()))
        return tenant

    def read(self) -> KeyFile:
        """The whole file; empty where there is none."""
        try:
            return read_key_file(self._path)
        except FileNotFoundError:
            return KeyFile()


def read_scopes(text: str) -> frozenset[str]:
    """Scopes as users write them: `search,write`. Raises TandemError."""
    names = frozenset(filter(None, text.replace(",", " ").split()))
    if not names or names - SCOPES:
        raise TandemError(f"--scopes is {text[:80]!r}; give some of {', '.join(sorted(SCOPES))}")
    return names


def read_catalogs(text: str | None) -> frozenset[str] | None:
    """Catalogs as users write them: `shop,outlet`; None for all."""
    return None if text is None else frozenset(filter(None, text.replace(",", " ").split()))


def read_end(text: str | None, moment: datetime) -> datetime | None:
    """When a key ends: a date, a time with its zone, or a span from now such as 90d. Raises TandemError."""
    if text is None:
        return None
    if _SPAN.fullmatch(text):
        return moment + read_span(text, "--expires")
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise TandemError(f"--expires is {quoted(text)}; give a date as 2027-01-31, or a span as 90d") from None
    end = end.replace(tzinfo=UTC) if end.tzinfo is None else end
    if end <= moment:
        raise TandemError(f"--expires is {quoted(text)}, which is past")
    return end


def read_span(text: str, option: str) -> timedelta:
    """A span such as 12h, 7d, 4w or 1y. Raises TandemError."""
    form = _SPAN.fullmatch(text)
    if form is None:
        raise TandemError(f"{option} is {quoted(text)}; give a span such as 12h, 7d or 4w")
    return timedelta(hours=int(form[1]) * _HOURS[form[2]])


def state(entry: Credential, moment: datetime) -> str:
    """What becomes of calls with this entry, in a word."""
    if entry.revoked is not None:
        return "revoked"
    return "valid" if entry.valid(moment) else "expired"


def _with_tenant(file: KeyFile, tenant: str) -> KeyFile:
    return file if tenant in file.tenants else file.model_copy(update={"tenants": {**file.tenants, tenant: Tenant()}})


def _find(entries: Sequence[Any], name: str) -> Any:
    for entry in entries:
        if name in (entry.id, f"tdm_{entry.id}"):
            return entry
    raise TandemError(f"there is no key {quoted(name)}; see `tandem keys list`")


def _text(value: Any) -> str:
    return _listed(value) if isinstance(value, frozenset) else str(value)


def _listed(names: Collection[str]) -> str:
    return ",".join(sorted(names))


def _checked(make: Callable[[], Any]) -> Any:
    """Raises TandemError for an entry that cannot be."""
    try:
        return make()
    except (ValidationError, OverflowError) as error:
        if isinstance(error, OverflowError):
            raise TandemError(str(error)) from None
        fault = error.errors()[0]
        why = str(fault.get("ctx", {}).get("error", fault["msg"]))
        if fault["type"] == "string_pattern_mismatch":
            why = "a name has 1 to 128 letters, digits, and . _ @ : -"
        raise TandemError(f"{'.'.join(map(str, fault['loc']))}: {why[:200]}") from None
