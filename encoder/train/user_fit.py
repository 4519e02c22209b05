"""Trains the user tower: which product came next, among sampled ones, and measures it beside the history's mean."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.progress import Report, ignore
from encoder.train.user_tower import UserModel
from training.loop import device

_SCALE, _WARMUP = 20.0, 0.05
_VALIDATION_SHARE, _MOST_VALIDATION = 0.1, 2_000
_MOST_RANKED = 50_000
_TOGETHER = 32  # batches whose histories are sorted by length
RECALL_AT = 60


@dataclass(frozen=True, slots=True)
class UserSequences:
    """e events in the order of users and times: `item` is a row of `vectors`, unit vectors of shape (N, d); `days` are
    times in days, `action` 1 to 3; all of shape (e,). User u has the events `starts[u]` to `starts[u + 1]`."""

    vectors: NDArray[np.float32]
    item: NDArray[np.int64]
    days: NDArray[np.float64]
    action: NDArray[np.int8]
    starts: NDArray[np.int64]

    def examples(self) -> NDArray[np.int64]:
        """The events that have another of the same user before them: each is to be told from what came before."""
        first = np.zeros(len(self.item) + 1, bool)
        first[self.starts] = True
        return np.flatnonzero(~first[:-1])

    def lengths(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many events came before each of n events; shape (n,)."""
        return events - self.starts[np.searchsorted(self.starts, events, side="right") - 1]

    def histories(self, events: NDArray[np.int64], most: int) -> dict[str, NDArray[Any]]:
        """What came before each of n events, the latest first, as the model reads it: shapes (n, t), `items` as rows of
        `vectors`, -1 where the mask is 0."""
        counts = np.minimum(self.lengths(events), most)
        places = np.arange(max(1, int(counts.max(initial=1))))
        mask = places < counts[:, None]
        at = np.where(mask, events[:, None] - 1 - places, 0)
        ages = np.where(mask, self.days[events][:, None] - self.days[at], 0)
        return {
            "items": np.where(mask, self.item[at], -1),
            "ages": np.maximum(ages, 0).astype(np.float32),
            "actions": np.where(mask, self.action[at], 0).astype(np.int64),
            "mask": mask.astype(np.int64),
        }


@dataclass(frozen=True, slots=True)
class UserFit:
    """The knobs of the training; see `lifecycle.users.settings`."""

    width: int
    layers: int
    heads: int
    dropout: float
    most_history: int
    epochs: int
    steps: int
    batch_size: int
    negatives: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class FittedTower:
    """The best model, and what was measured; `gains` is whether it retrieves more than the mean of the history."""

    model: UserModel
    report: dict[str, Any]
    gains: bool


def fit_user_tower(sequences: UserSequences, fit: UserFit, report: Report = ignore) -> FittedTower:
    """Trains on nine tenths of the users, and keeps the pass after which the others' next products are retrieved best.

    The loss is a softmax over the product that came, those of the other examples of the batch, and products drawn by
    popularity; each logit is lowered by the logarithm of how probably it is drawn (Yi and others, 2019), so that it
    estimates the softmax over all products.
    """
    torch.manual_seed(fit.seed)
    random = np.random.default_rng(fit.seed)
    train, valid = _split(sequences, random)
    table = torch.from_numpy(sequences.vectors).to(device())
    model = UserModel(sequences.vectors.shape[1], fit.width, fit.layers, fit.heads, fit.most_history, fit.dropout).to(
        device()
    )
    shares = np.bincount(sequences.item, minlength=len(table)) / len(sequences.item)
    log_share = torch.from_numpy(np.log(np.maximum(shares, 1e-12))).float().to(device())
    scale = torch.nn.Parameter(torch.tensor(np.log(_SCALE), device=device(), dtype=torch.float32))
    optimizer = torch.optim.AdamW([*model.parameters(), scale], lr=fit.learning_rate, weight_decay=0.01)
    total = min(fit.steps, fit.epochs * max(1, len(train) // fit.batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    measure = _Measure(sequences, valid, table, fit)
    baseline = measure(None)
    curve, best, kept = [{"step": 0, "recall": measure(model)}], -1.0, model
    began, step, losses = time.monotonic(), 0, []
    while step < total:
        model.train()
        for events in _batches(sequences, train, fit.batch_size, fit.most_history, random):
            drawn = random.choice(len(shares), min(fit.negatives, len(shares)), p=shares)
            loss = _loss(model, scale, table, log_share, sequences, events, drawn, fit.most_history)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            step += 1
            report(step, total)
            if step >= total:
                break
        curve.append({"step": step, "recall": measure(model), "loss": float(np.mean(losses[-200:]))})
        if curve[-1]["recall"] > best:
            best, kept = curve[-1]["recall"], copy.deepcopy(model)
    result = {
        "examples": len(train),
        "validation": len(valid),
        f"recall@{measure.depth} of the mean": baseline,
        f"recall@{measure.depth}": best,
        "curve": curve,
        "steps": step,
        "seconds": round(time.monotonic() - began, 1),
    }
    return FittedTower(kept.eval().cpu(), result, best > baseline)


def _split(sequences: UserSequences, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events to train and to validate on, of different users."""
    events = sequences.examples()
    users = np.searchsorted(sequences.starts, events, side="right") - 1
    held = random.random(len(sequences.starts)) < _VALIDATION_SHARE
    valid = events[held[users]]
    last = np.append(np.diff(users[held[users]]) != 0, True) if len(valid) else np.empty(0, bool)
    valid = valid[last]
    return events[~held[users]], random.permutation(valid)[:_MOST_VALIDATION]


def _batches(
    sequences: UserSequences, events: NDArray[np.int64], size: int, most: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Random batches of events with histories of nearly one length, so that little is padded."""
    order = random.permutation(events)
    for begin in range(0, len(order), _TOGETHER * size):
        chunk = order[begin : begin + _TOGETHER * size]
        chunk = chunk[np.argsort(np.minimum(sequences.lengths(chunk), most), kind="stable")]
        starts = np.arange(0, max(1, len(chunk) - size + 1), size)
        for start in random.permutation(starts):
            yield chunk[start : start + size]


def _rate(step: int, total: int) -> float:
    """A rise, then a cosine's fall to a twentieth."""
    warm = max(1, round(_WARMUP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * min(1.0, (step - warm) / max(1, total - warm))))


def encode(model: UserModel, table: Tensor, histories: dict[str, NDArray[Any]]) -> Tensor:
    """Vectors, (n, d), of histories whose items are rows of the table, -1 for padding."""
    items, ages, actions, mask = (torch.from_numpy(histories[name]).to(table.device) for name in histories)
    return model(table[items.clamp(min=0)] * mask[..., None], ages, actions, mask)


def _loss(
    model: UserModel,
    scale: Tensor,
    table: Tensor,
    log_share: Tensor,
    sequences: UserSequences,
    events: NDArray[np.int64],
    drawn: NDArray[np.int64],
    most: int,
) -> Tensor:
    targets = torch.from_numpy(sequences.item[events]).to(table.device)
    others = torch.cat([targets, torch.from_numpy(drawn).to(table.device)])
    users = encode(model, table, sequences.histories(events, most))
    logits = users @ table[others].T * scale.exp().clamp(max=100) - log_share[others]
    same = targets[:, None] == others  # the product itself, drawn once more, is no wrong answer
    same[torch.arange(len(targets)), torch.arange(len(targets))] = False
    return F.cross_entropy(logits.masked_fill(same, -1e9), torch.arange(len(targets), device=table.device))


class _Measure:
    """The share of validation products that are among the 60 nearest of those ever bought, in a small shop among the
    nearest tenth."""

    def __init__(self, sequences: UserSequences, events: NDArray[np.int64], table: Tensor, fit: UserFit) -> None:
        self._histories = sequences.histories(events, fit.most_history) if len(events) else None
        counts = np.bincount(sequences.item, minlength=len(table))
        ranked = np.flatnonzero(counts)
        if len(ranked) > _MOST_RANKED:
            ranked = np.argsort(-counts, kind="stable")[:_MOST_RANKED]
        self._table, self._rows = table, torch.from_numpy(np.sort(ranked)).to(table.device)
        self.depth = min(RECALL_AT, max(1, len(ranked) // 10))
        self._targets = torch.from_numpy(sequences.item[events]).to(table.device)

    @torch.no_grad()
    def __call__(self, model: UserModel | None) -> float:
        """Of the model, or, without one, of the mean of each history. 0 where there is nothing to measure on."""
        if self._histories is None:
            return 0.0
        if model is None:
            items = torch.from_numpy(self._histories["items"]).to(self._table.device)
            vectors = (self._table[items.clamp(min=0)] * (items >= 0)[..., None]).sum(1)
        else:
            vectors = encode(model.eval(), self._table, self._histories)
        scores = vectors @ self._table[self._rows].T
        nearest = self._rows[scores.topk(self.depth).indices]
        return float((nearest == self._targets[:, None]).any(1).float().mean())
