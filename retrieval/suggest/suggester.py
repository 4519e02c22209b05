"""The suggestions of a release, on a thread of their own."""

from concurrent.futures import ThreadPoolExecutor

from cachetools import LRUCache

from engine.expiry import on_thread
from engine.suggest.index import SuggestionIndex
from retrieval.suggest.complete import Completions, complete
from text.completion import prefix_key

_REMEMBERED = 4096  # answers: most calls are for the same few letters


class Suggester:
    """Completes what is typed, off the event loop."""

    def __init__(self, index: SuggestionIndex, language: str) -> None:
        """`language` is the catalog's (BCP 47)."""
        self._index = index
        self._language = language.split("-")[0].lower()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="suggest")
        self._answers: LRUCache[tuple[str, int], Completions] = LRUCache(_REMEMBERED)

    async def suggest(self, prefix: str, limit: int) -> Completions:
        """At most `limit` completions of what is typed, best first. None for letters and signs that are no words."""
        key = prefix_key(prefix, self._language)
        if prefix.strip() and not key:
            return Completions([])
        known = self._answers.get((key, limit))
        if known is None:
            known = await on_thread(complete, self._index, key, limit, pool=self._pool)
            self._answers[key, limit] = known
        return known

    def close(self) -> None:
        """Ends the thread once what runs is done."""
        self._pool.shutdown(wait=False)
