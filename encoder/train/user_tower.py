"""The user tower in torch: a small transformer over the vectors of a history, after SASRec (Kang and McAuley, 2018).

Unlike there, items are what the item tower made of their texts, so that new products need no training, and positions go
with ages, so that the same history reads differently a month later. The vector is the history's weighted mean plus what
the transformer adds: at first it is the mean alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIONS = 4  # 0 is none, as of padding
_SCALES = (0.25, 1.0, 7.0, 30.0, 180.0)  # days
_HIDDEN = -1e9


class UserModel(nn.Module):
    """Items (n, t, d), ages in days, actions and mask, all (n, t) and the latest first, to unit vectors (n, d)."""

    def __init__(self, dimensions: int, width: int, layers: int, heads: int, positions: int, dropout: float) -> None:
        """`positions` is the longest history; `width` has to be a multiple of `heads`."""
        super().__init__()
        self.project = nn.Linear(dimensions, width)
        self.age = nn.Linear(len(_SCALES) + 1, width)
        self.action = nn.Embedding(ACTIONS, width)
        self.position = nn.Embedding(positions, width)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, 1)
        self.add = nn.Linear(width, dimensions)
        self.dropout = nn.Dropout(dropout)
        for embedding in (self.action, self.position):
            nn.init.normal_(embedding.weight, std=0.02)
        nn.init.zeros_(self.weigh.weight)
        nn.init.normal_(self.add.weight, std=1e-3)
        nn.init.normal_(self.add.bias, std=1e-3)

    def forward(self, items: Tensor, ages: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        shown = mask.to(items.dtype)
        times = torch.stack([torch.log1p(ages), *(torch.exp(-ages / days) for days in _SCALES)], -1)
        places = torch.cumsum(torch.ones_like(mask), 1) - 1
        tokens = self.project(items) + self.age(times) + self.action(actions) + self.position(places)
        start = self.start.expand(items.shape[0], 1, self.start.shape[0])
        hidden = self.dropout(torch.cat([start, tokens], 1))
        bias = (torch.cat([torch.ones_like(shown[:, :1]), shown], 1)[:, None, None, :] - 1) * -_HIDDEN
        for block in self.blocks:
            hidden = block(hidden, bias)
        hidden = self.norm(hidden)
        weights = torch.softmax(self.weigh(hidden[:, 1:])[..., 0] + (shown - 1) * -_HIDDEN, -1) * shown
        return F.normalize((weights[..., None] * items).sum(1) + self.add(hidden[:, 0]), dim=-1)


class _Block(nn.Module):
    """Attention and a feed-forward part, each normalised before and added after; (n, t, w) to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        read = self.read(self.before(hidden))
        query, key, value = (
            part.reshape(hidden.shape[0], -1, self.heads, hidden.shape[2] // self.heads).transpose(1, 2)
            for part in read.chunk(3, -1)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(hidden.shape[2] / self.heads) + bias
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + self.dropout(self.write(mixed))
        return hidden + self.dropout(self.narrow(F.gelu(self.widen(self.between(hidden)))))
