"""How many pairs the remaining deadline allows to rescore."""

from collections.abc import Sequence
from itertools import accumulate

# Left for arranging the answer and sending it, at the least and as a share: a busy machine wakes late.
_LEAST_RESERVE = 0.004
_RESERVE_SHARE = 0.02
# Left for an answer by words alone, where the towers hang.
_WORDS_SHARE = 0.1
_SMOOTHING = 0.2
_RELAX = 0.9


def usable(seconds: float) -> float:
    """What rescoring may take of the seconds left until the deadline."""
    return seconds - max(_LEAST_RESERVE, _RESERVE_SHARE * seconds)


def before_words(seconds: float) -> float:
    """What the towers may take of the seconds left until the deadline, where words can answer in their place."""
    return seconds - max(_LEAST_RESERVE, _WORDS_SHARE * seconds)


class RerankPace:
    """Seconds of waiting per token rescored, as seen lately: queues under load are part of it."""

    def __init__(self) -> None:
        self._pace = 0.0
        self._unloaded = 0.0
        self._usual_tokens = 1

    def calibrate(self, tokens: int, seconds: float) -> None:
        """Sets what an idle engine takes, measured at warm-up on about as many tokens as a request has."""
        self._pace = self._unloaded = seconds / tokens
        self._usual_tokens = tokens

    def observe(self, tokens: int, seconds: float) -> None:
        """Takes in how long computing so many tokens took. A few, where most scores were kept from before, say little
        of the pace, since they waited as long as many would have; none say nothing."""
        if tokens:
            weight = _SMOOTHING * min(1.0, tokens / self._usual_tokens)
            self._pace += weight * (seconds / tokens - self._pace)

    def relax(self) -> None:
        """After a request that could not be rescored: nothing was seen, so lean back towards an idle engine's pace."""
        self._pace = max(self._unloaded, self._pace * _RELAX)

    def affordable(self, lengths: Sequence[int], seconds: float) -> int:
        """How many of the pairs, in their order and given by their tokens, fit into so many seconds."""
        left = usable(seconds)
        return sum(1 for tokens in accumulate(lengths) if tokens * self._pace <= left)
