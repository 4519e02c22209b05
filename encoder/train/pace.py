"""How fast this machine trains."""

import statistics
import time
from typing import Any

import torch

from encoder.train.export import PooledEncoder
from encoder.train.load import load_encoder
from training.loop import autocast, device, torch_threads

_ROWS, _TOKENS, _WORD = 64, 24, 2000
_REPEATS = 5


def seconds_per_step(base: str | None) -> float:
    """What a forward and a backward pass of 64 texts of 24 tokens take, the median of five; see `load_encoder`."""
    encoder = load_encoder(base)
    model = PooledEncoder(encoder).to(device()).train()
    ids = torch.full((_ROWS, _TOKENS), min(_WORD, _vocabulary(encoder.tokenizer) - 1), device=device())
    mask = torch.ones_like(ids)
    taken: list[float] = []
    with torch_threads(None):
        for _ in range(1 + _REPEATS):  # the first one is slow
            began = time.perf_counter()
            with autocast():
                vectors = model(ids, mask)
            vectors.float().sum().backward()
            if ids.is_cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _vocabulary(tokenizer: Any) -> int:
    """The number of tokens, of either library's tokenizer."""
    return int(getattr(tokenizer, "backend_tokenizer", tokenizer).get_vocab_size())
