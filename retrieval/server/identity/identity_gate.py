"""The gate: who calls, by key, token or certificate; what they may call, by the table; and how much."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from retrieval.server.caller import ANYONE, Caller
from retrieval.server.gate import Refused
from retrieval.server.identity.access import ACCESS, OF_ALL_CATALOGS, Need, Scope
from retrieval.server.identity.key_file import PREFIX
from retrieval.server.identity.key_sets import NoPublicKeys
from retrieval.server.identity.key_store import NO_TENANT, Keys, KeyStore, narrowed
from retrieval.server.identity.limits import OverQuota, TenantLimits, TooManyWrong
from retrieval.wire.status import Metadata, refusal

if TYPE_CHECKING:  # PyJWT is not installed everywhere
    from retrieval.server.identity.tokens import Tokens

log = logging.getLogger("tandem.identity")

_CODES = grpc.StatusCode
_BEARER = "bearer "
_REFUSAL_SECONDS = 0.02  # refusals of a tenant within this time are the same
_NONE = "send a key or a token, as `authorization: Bearer …`"
# The same words for unknown, revoked, expired and malformed ones.
_INVALID = "this credential is not valid"
_NO_CERTIFICATE = "this certificate is of nobody who is known"
_NO_KEYS = "tokens cannot be verified yet; try again shortly"
_NO_ROW = "nobody may call this method"
_NO_SCOPE = "this method needs a credential with the scope {}"
_NO_TENANT = "this credential's tenant is not known here"
_ALL_CATALOGS = "this method needs a credential for all catalogs"
_NOTHING_LISTED = Keys()
_BY_CERTIFICATE = Caller()
"""Who has no credential beside the connection's, until `identify`."""


class IdentityGate:
    """Lets in whom keys, tokens or certificates identify. Without any of the three everybody comes in."""

    def __init__(
        self,
        keys: KeyStore,
        tokens: "Tokens | None" = None,
        certificates: bool = False,
        limits: TenantLimits | None = None,
        access: Mapping[str, Scope | Need] = ACCESS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`certificates` states that every connection has a client's certificate that was verified."""
        self._keys, self._tokens, self._certificates = keys, tokens, certificates
        self._limits = limits or TenantLimits()
        self._access = access
        self._clock = clock
        self._over: dict[str, tuple[float, str, Metadata]] = {}

    def enter(self, method: str, metadata: Metadata) -> Caller:
        """See `Gate.enter`."""
        need = self._access.get(method)
        if need is Need.nothing:
            return ANYONE
        if need is None:
            raise _denied(_NO_ROW, "no_row")
        keys = self._keys.current()
        if keys is None and self._tokens is None and not self._certificates:
            return ANYONE
        credential = find_credential(metadata)
        if credential is None:
            if self._certificates:
                return _BY_CERTIFICATE
            raise Refused(_CODES.UNAUTHENTICATED, _NONE, "no_credential")
        caller = self._caller(credential, keys)
        self._check(caller, method, need, keys)
        return caller

    def identify(self, caller: Caller, method: str, context: grpc.ServicerContext) -> Caller:
        """See `Gate.identify`: a call without a key or a token is by the name in its connection's certificate."""
        if caller is not _BY_CERTIFICATE:
            return caller
        keys, names = self._keys.current(), _peer_names(context)
        if not names:
            raise _invalid(_NO_CERTIFICATE)
        if keys is None and self._tokens is not None:  # tokens say who may do what; leaving them out gives no more
            raise Refused(_CODES.UNAUTHENTICATED, _NONE, "no_credential")
        if keys is None:  # the CA signs those who may call, and no others
            return replace(ANYONE, name=names[0], tenant=names[0])
        now = self._clock()
        known = next((one for name in names if (one := keys.certificate(name, now)) is not None), None)
        if known is None:
            raise _invalid(_NO_CERTIFICATE)
        self._check(known, method, self._access[method], keys)
        return known

    def count(self, caller: Caller) -> float:
        """See `Gate.count`. A credential that was revoked, changed or has expired since the call began ends it."""
        keys = self._keys.current()
        if not (keys or _NOTHING_LISTED).stays(caller, self._clock()):
            raise _invalid()
        try:
            self._count(caller, keys)
        except OverQuota as error:
            if error.hopeless:
                raise self._refusal(caller.tenant, error, "quota") from None
            return error.retry_after
        return 0.0

    def give_back(self, caller: Caller) -> None:
        """See `Gate.give_back`."""
        self._limits.give_back(caller.tenant)

    def _caller(self, credential: str, keys: Keys | None) -> Caller:
        now = self._clock()
        if keys is not None and credential.startswith(PREFIX):
            known = keys.key(credential.encode("utf-8", "replace"), now)
            if known is None:
                raise _invalid()
            return known
        if self._tokens is None or credential.count(".") != 2:
            raise _invalid()
        try:
            caller = self._tokens.caller(credential, now)
        except NoPublicKeys:
            raise Refused(_CODES.UNAVAILABLE, _NO_KEYS, "no_public_keys") from None
        except TooManyWrong as error:
            raise self._refusal("", error, "wrong_tokens") from None
        if caller is None:
            raise _invalid()
        tenants = keys.tenants if keys is not None else {}
        if not tenants:
            return caller
        if (tenant := tenants.get(caller.tenant)) is None:
            raise _denied(_NO_TENANT, "tenant")
        return (
            caller if tenant.catalogs is None else replace(caller, catalogs=narrowed(caller.catalogs, tenant.catalogs))
        )

    def _check(self, caller: Caller, method: str, need: Scope | Need, keys: Keys | None) -> None:
        """Raises Refused where the caller may not call the method, or calls too much."""
        if isinstance(need, Scope) and caller.scopes is not None and need not in caller.scopes:
            raise _denied(_NO_SCOPE.format(need), "scope")
        if caller.catalogs is not None and method in OF_ALL_CATALOGS:
            raise _denied(_ALL_CATALOGS, "catalog")
        try:
            self._count(caller, keys)
        except OverQuota as error:
            raise self._refusal(caller.tenant, error, "quota") from None

    def _count(self, caller: Caller, keys: Keys | None) -> None:
        self._limits.take(caller.tenant, keys.tenants.get(caller.tenant, NO_TENANT) if keys is not None else NO_TENANT)

    def _refusal(self, tenant: str, error: OverQuota | TooManyWrong, reason: str) -> Refused:
        """States when to try again; made anew every few milliseconds and not for each call."""
        now = time.monotonic()
        until, message, metadata = self._over.get(tenant, (0.0, "", ()))
        if now >= until:
            message, metadata = refusal(error)
            self._over[tenant] = now + _REFUSAL_SECONDS, message, metadata
        return Refused(_CODES.RESOURCE_EXHAUSTED, message, reason, metadata)


def find_credential(metadata: Metadata) -> str | None:
    """The key or token beside a request; None where there is none. Raises Refused for several, or another kind."""
    only: str | None = None
    for key, value in metadata:
        if key == "authorization":
            if not isinstance(value, str) or value[:7].lower() != _BEARER:
                raise _invalid()
            credential = value[7:].strip()
        elif key == "x-api-key":
            credential = value if isinstance(value, str) else ""
        else:
            continue
        if only is not None or not credential:
            raise _invalid()
        only = credential
    return only


def _peer_names(context: grpc.ServicerContext) -> list[str]:
    """The alternative names of the client's certificate, or its common name where it has none."""
    return [name.decode("utf-8", "replace") for name in context.peer_identities() or ()]


def _invalid(message: str = _INVALID) -> Refused:
    return Refused(_CODES.UNAUTHENTICATED, message, "bad_credential")


def _denied(message: str, reason: str) -> Refused:
    return Refused(_CODES.PERMISSION_DENIED, message, reason)
