"""How much a tenant may call: a bucket of tokens for each second, and a number of calls for each day (UTC)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from retrieval.server.identity.key_file import Tenant

_DAY = 86_400.0
_MOST_TENANTS = 10_000  # names of tokens' tenants are bounded by their issuer alone


class OverQuota(Exception):
    """A tenant calls too much. `retry_after` is in seconds; with `hopeless`, automatic retries are pointless."""

    def __init__(self, message: str, retry_after: float, hopeless: bool = False) -> None:
        super().__init__(message)
        self.retry_after, self.hopeless = retry_after, hopeless


class TooManyWrong(Exception):
    """So many wrong tokens came that no others are verified for a while. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many wrong tokens come; send one that was accepted before, or try again")
        self.retry_after, self.hopeless = retry_after, False


@dataclass(slots=True)
class _Usage:
    tokens: float
    filled: float
    day: int = 0
    calls: int = 0


class TenantLimits:
    """Counts calls of each tenant. For any thread."""

    def __init__(
        self,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`share` is this process's part of each limit."""
        self._share = share
        self._clock, self._wall_clock = clock, wall_clock
        self._lock = Lock()
        self._usage: OrderedDict[str, _Usage] = OrderedDict()

    def take(self, name: str, tenant: Tenant) -> None:
        """Counts one call. Raises OverQuota where it is one too many, which then does not count."""
        rate, most = tenant.calls_per_second * self._share, tenant.calls_per_day * self._share
        if not rate and not most:
            return
        # A second's worth where no burst is set; a whole token at least, or nobody would ever get one.
        burst = max(1.0, (tenant.burst or tenant.calls_per_second) * self._share)
        now = self._clock()
        with self._lock:
            usage = self._usage.get(name)
            if usage is None:
                usage = self._usage[name] = _Usage(burst, now)
                if len(self._usage) > _MOST_TENANTS:
                    self._usage.popitem(last=False)
            if most:
                self._check_day(usage, max(1, int(most)))
            if rate:
                usage.tokens = min(burst, usage.tokens + rate * max(0.0, now - usage.filled))
                usage.filled = now
                if usage.tokens < 1:
                    wait = (1 - usage.tokens) / rate
                    raise OverQuota(f"more than {tenant.calls_per_second:g} calls a second; wait {wait:.3f} s", wait)
                usage.tokens -= 1
            usage.calls += 1

    def give_back(self, name: str) -> None:
        """Takes a call off the day's, which the service had no room for. Tokens are not given back: it was load."""
        with self._lock:
            usage = self._usage.get(name)
            if usage is not None and usage.calls:
                usage.calls -= 1

    def _check_day(self, usage: _Usage, most: int) -> None:
        moment = self._wall_clock()
        day = int(moment // _DAY)
        if day != usage.day:
            usage.day, usage.calls = day, 0
        if usage.calls >= most:
            wait = (day + 1) * _DAY - moment
            raise OverQuota("the day's calls are used up; the next day begins at 00:00 UTC", wait, hopeless=True)
