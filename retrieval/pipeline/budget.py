"""How much of the remaining time stages may take, and how many pairs it allows to rescore."""

from collections.abc import Sequence
from itertools import accumulate

# Left for arranging the answer and sending it: at the least, as a share, and as a multiple of what it took at its
# slowest of late, which a busy machine makes long; but no more than half of the time there is.
_LEAST_RESERVE, _RESERVE_SHARE, _TIMES_OBSERVED, _MOST_RESERVE_SHARE = 0.008, 0.05, 1.5, 0.5
# Left for an answer by words alone, where the towers hang.
_WORDS_SHARE = 0.1
_SMOOTHING = 0.2
_RELAX = 0.9
_SLOWER, _FASTER = 0.5, 0.02  # how far an observation moves the reserve up, and down
_DEVIATIONS = 2.0  # beyond the mean pace, that a request may meet


class Reserve:
    """Seconds that an answer takes to be made once the stages that can be done without have ended, at the longest."""

    def __init__(self) -> None:
        self._observed = 0.0

    def observe(self, seconds: float) -> None:
        """Takes in how long it took one request: at once where that is long, and slowly where it is short."""
        self._observed += (_SLOWER if seconds > self._observed else _FASTER) * (seconds - self._observed)

    def usable(self, seconds: float) -> float:
        """What stages that can be done without may take of the seconds left until the deadline."""
        wanted = max(_RESERVE_SHARE * seconds, _TIMES_OBSERVED * self._observed)
        return seconds - max(_LEAST_RESERVE, min(wanted, _MOST_RESERVE_SHARE * seconds))


def before_words(seconds: float) -> float:
    """What the towers may take of the seconds left until the deadline, where words can answer in their place."""
    return seconds - max(_LEAST_RESERVE, _WORDS_SHARE * seconds)


class RerankCostModel:
    """Seconds of waiting per token rescored, as observed lately: queues under load are part of it."""

    def __init__(self) -> None:
        self._pace = 0.0
        self._deviation = 0.0
        self._unloaded = 0.0
        self._usual_tokens = 1

    def calibrate(self, tokens: int, seconds: float) -> None:
        """Sets what an idle engine takes, measured at warm-up on about as many tokens as a request has."""
        self._pace = self._unloaded = seconds / tokens
        self._usual_tokens = tokens

    def observe(self, tokens: int, seconds: float) -> None:
        """Records how long computing so many tokens took. Few tokens, where most scores were cached, have a low weight,
        since they waited as long as many would have; 0 tokens are ignored."""
        if tokens:
            weight = _SMOOTHING * min(1.0, tokens / self._usual_tokens)
            difference = seconds / tokens - self._pace
            self._pace += weight * difference
            self._deviation += weight * (abs(difference) - self._deviation)

    def relax(self) -> None:
        """After a request that was not rescored, and so not observed: leans back towards an idle engine's pace."""
        self._pace = max(self._unloaded, self._pace * _RELAX)
        self._deviation *= _RELAX

    def affordable(self, lengths: Sequence[int], seconds: float) -> int:
        """How many of the pairs, in their order and given by their tokens, surely fit into so many seconds: at a pace
        slower than the mean by as much as requests differ."""
        pace = self._pace + _DEVIATIONS * self._deviation
        return sum(1 for tokens in accumulate(lengths) if tokens * pace <= seconds)
