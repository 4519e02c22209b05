"""Logs what answers suffer from, each cause once in ten seconds: what fails, fails for every request."""

import logging

from cachetools import TTLCache

from retrieval.pipeline.result import SearchResult

log = logging.getLogger("tandem.requests")

_MOST_CAUSES, _CAUSE_SECONDS = 100, 10.0


class Causes:
    """See the module."""

    def __init__(self) -> None:
        self._logged: TTLCache[str, bool] = TTLCache(_MOST_CAUSES, _CAUSE_SECONDS)

    def log(self, answer: SearchResult, request_id: str) -> None:
        """Logs the causes of an answer that were not logged of late."""
        for entry in answer.degraded:
            if entry.cause and entry.cause not in self._logged:
                self._logged[entry.cause] = True
                log.warning("request %s: %s: %s", request_id, entry.reason, entry.cause)
