"""How fast this machine trains a cross-encoder."""

import statistics
import time
from typing import Any

import torch

from ranker.train.export import load_ranker
from training.export import longest_input
from training.loop import autocast, device, torch_threads

_PAIRS = 16
_REPEATS = 3
_TOKENS = 80  # of a pair, as trainings cut it


def seconds_per_pair(base: str | None, query: str, products: list[str]) -> float:
    """What a forward and a backward pass take of one pair, the median of three batches of pairs of these texts.

    See `load_ranker` for `base`.
    """
    model = load_ranker(base).to(device()).train()
    pairs = [(query, products[place % len(products)]) for place in range(_PAIRS)]
    model.max_length = min(_TOKENS, longest_input(model))
    inputs = {name: _moved(value) for name, value in model.preprocess(pairs).items()}
    taken: list[float] = []
    with torch_threads(None):
        for _ in range(1 + _REPEATS):  # the first one is slow
            began = time.perf_counter()
            with autocast():
                scores = model(dict(inputs))["scores"]
            scores.float().sum().backward()
            if device() == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:]) / _PAIRS


def _moved(value: Any) -> Any:
    return value.to(device()) if isinstance(value, torch.Tensor) else value
