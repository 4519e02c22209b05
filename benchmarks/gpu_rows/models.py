"""Rows of models: cross-encoder pairs/s, products embedded/s with tokenising, precisions, and a training step."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.gpu_rows.bench import Bench, attempts, ceilings
from benchmarks.gpu_rows.synthetic import texts_of, write_models
from encoder.bi_encoder import BiEncoder
from engine.gpu import packed
from engine.gpu.packed import PackedModel
from engine.half import read_half
from engine.protocol import Tokens
from indexer.embed import make_embedder, prefetch
from ranker.ranker import Ranker

_CHECKED = 48
_HALF, _BFLOAT = torch.float16, torch.bfloat16


def folders(bench: Bench) -> tuple[Path, Path]:
    """The folders of the towers and the cross-encoder: those given, else random models."""
    if bench.encoder is not None and bench.ranker is not None:
        return bench.encoder, bench.ranker
    made = bench.scratch / "models"
    if not (made / "ranker").is_dir():
        write_models(made, bench.size.shape, bench.size.tokens)
    return bench.encoder or made / "encoder", bench.ranker or made / "ranker"


def cross_encoder(bench: Bench) -> dict[str, Any]:
    """Pairs/s from token ids to logits, pairs of `size.tokens` each, by precision and by way of running."""
    model = Ranker.open(folders(bench)[1]).model_path
    tokens, segments = _pairs(bench, max(*bench.size.pair_batches, _CHECKED))
    exact = PackedModel(*read_half(model), "cpu", torch.float32).run(tokens[:_CHECKED], segments[:_CHECKED])
    top = ceilings(bench)["flops_per_s"]

    def measure(dtype: torch.dtype, compiled: bool = False, padded: bool = False) -> dict[str, Any]:
        runner = PackedModel(*read_half(model), bench.device, dtype, compiled)
        if padded:
            runner._attend = packed._padded
        output = runner.run(tokens[:_CHECKED], segments[:_CHECKED])
        rates = {}
        for batch in bench.size.pair_batches:
            rates[batch] = batch / bench.seconds_each(partial(runner.run, tokens[:batch], segments[:batch]))
        best = max(rates.values())
        return {
            "pairs_per_s": {str(batch): round(rate) for batch, rate in rates.items()},
            "best": round(best),
            "matrix_rate_share": round(best * bench.size.shape.flops(bench.size.tokens) / top, 4),
            "largest_difference_to_fp32": float(np.abs(output - exact).max()),
            "spread_of_logits": float(exact.std()),
        }

    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "fp16": lambda: measure(_HALF),
        "bf16": lambda: measure(_BFLOAT),
        "fp16, padded attention": lambda: measure(_HALF, padded=True),
    }
    if bench.on_gpu:
        ways["fp16, compiled"] = lambda: measure(_HALF, compiled=True)
    return dict(attempts(ways))


def item_tower(bench: Bench) -> dict[str, Any]:
    """Products/s from texts to vectors in memory, tokenising included, as the index job runs it."""
    tower = BiEncoder.open(folders(bench)[0])
    size = bench.size
    texts = texts_of(size.shape, size.texts, (size.tokens - 2, size.tokens - 2))
    tower.tokenize_items(texts[: size.text_batch])  # its words are then known, as after a shop's first products

    def chunks() -> Any:
        for start in range(0, len(texts), size.text_batch):
            part = texts[start : start + size.text_batch]
            yield np.arange(start, start + len(part)), tower.tokenize_items(part)

    model = tower.model_path("item")
    runner = PackedModel.open(model, bench.device)
    embed = make_embedder(model, "cuda") if bench.on_gpu else lambda tokens, _: runner.run(tokens)
    first = next(chunks())[1]
    embed(first, lambda *_: None)
    exact = PackedModel(*read_half(model), "cpu", torch.float32).run(first[:_CHECKED])
    start = time.perf_counter()
    parts = [embed(tokens, lambda *_: None) for _, tokens in prefetch(chunks())]
    took = time.perf_counter() - start
    start = time.perf_counter()
    token_count = sum(len(tokens) for _, tokens in chunks())
    tokenising = time.perf_counter() - start
    kernels = bench.seconds_each(partial(runner.run, first))
    return {
        "products_per_s": round(len(texts) / took),
        "tokenising_alone_per_s": round(token_count / tokenising),
        "model_alone_per_s": round(len(first) / kernels),
        "tokens_each": float(np.mean([len(tokens) for tokens in first])),
        "least_cosine_to_fp32": float((parts[0][:_CHECKED] * exact).sum(1).min()),
    }


def precisions(bench: Bench) -> dict[str, Any]:
    """Products of matrices of the model's shapes in int8, fp8 and half precision: FLOP/s, and how close rows come.

    int8 as the release's graphs have it, a scale a row; what scaling costs is part of it.
    """
    shape, rows = bench.size.shape, bench.size.text_batch
    results: dict[str, Any] = {}
    for into, out in ((shape.width, 3 * shape.width), (shape.width, shape.inner), (shape.inner, shape.width)):
        x = torch.randn(rows, into, device=bench.device, dtype=_HALF)
        w = torch.randn(out, into, device=bench.device, dtype=_HALF) / into**0.5
        exact = x.float() @ w.float().T
        ways = {
            "fp16": partial(F.linear, x, w),
            "bf16": partial(F.linear, x.bfloat16(), w.bfloat16()),
            "int8, a scale a row": partial(_int8, x, *_quantised(w)),
        }
        if bench.on_gpu:
            ways["fp8, a scale a row"] = partial(_fp8, x, w)
        results[f"{rows} x {into} x {out}"] = dict(
            attempts(
                {name: partial(_product, bench, way, exact, 2.0 * rows * into * out) for name, way in ways.items()}
            )
        )
    return results


def training(bench: Bench) -> dict[str, Any]:
    """Steps/s of one tower's contrastive step with AdamW, `size.train_batch` pairs of texts: bf16 there, fp32 here.

    A plain step, of the same model and size as the product's own, not its whole training.
    """
    ways = {f"{bench.device}, bf16": partial(_steps, bench, bench.device, True)}
    if bench.on_gpu:
        ways["cpu, fp32"] = partial(_steps, bench, "cpu", False)
    return dict(attempts(ways))


def _steps(bench: Bench, device: str, half: bool) -> dict[str, Any]:
    from transformers import BertConfig, BertModel

    size, shape = bench.size, bench.size.shape
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.words, hidden_size=shape.width, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.inner,
    )  # fmt: skip
    model = BertModel(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    ids = torch.randint(10, shape.words, (2, size.train_batch, size.tokens), device=device)
    losses: list[torch.Tensor] = []

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            sides = [F.normalize(model(side).last_hidden_state.mean(1).float(), dim=-1) for side in ids]
            loss = F.cross_entropy(sides[0] @ sides[1].T * 20, torch.arange(size.train_batch, device=device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    seconds = bench.seconds_each(step, warm=2)
    return {"steps_per_s": round(1 / seconds, 3), "first_loss": float(losses[0]), "last_loss": float(losses[-1])}


def _pairs(bench: Bench, count: int) -> tuple[list[Tokens], list[Tokens]]:
    random = np.random.default_rng(0)
    length = bench.size.tokens
    ids = random.integers(10, bench.size.shape.words, (count, length)).astype(np.int32)
    kinds = np.broadcast_to((np.arange(length) > length // 4).astype(np.int32), ids.shape)
    return list(ids), list(kinds)


def _product(bench: Bench, way: Callable[[], torch.Tensor], exact: torch.Tensor, flops: float) -> dict[str, float]:
    difference = (way().float() - exact).norm() / exact.norm()
    return {"flops_per_s": flops / bench.seconds_each(way), "relative_difference": float(difference)}


def _quantised(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = rows.abs().amax(1, keepdim=True).float().clamp_min(1e-9) / 127
    return (rows / scale).round().to(torch.int8), scale


def _int8(x: torch.Tensor, weights: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    rows, scale = _quantised(x)
    return (torch._int_mm(rows, weights.T) * (scale * scales.T)).to(x.dtype)


def _fp8(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    kind = torch.float8_e4m3fn
    most = torch.finfo(kind).max
    scales = [rows.abs().amax(1, keepdim=True).float() / most for rows in (x, w)]
    a, b = ((rows / scale).to(kind) for rows, scale in zip((x, w), scales, strict=True))
    return torch._scaled_mm(a, b.T, scales[0], scales[1].T.contiguous(), out_dtype=torch.bfloat16)
