"""The packed model against transformers' own, on every device there is: vectors, logits, batches, heads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TEXTS, write_base, write_ranker_base
from tiny_encoders import tiny_roberta

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.train import half as towers
from encoder.train.export import PooledEncoder, export_model, load_encoder
from engine.gpu import packed
from engine.gpu.packed import PackedModel
from engine.half import half_path, has_half, read_half
from ranker.ranker import Ranker
from ranker.train import half as rankers
from ranker.train.export import Logits, export_ranker, load_ranker, reads_segments
from ranker.train.head import match_model

# Half precision keeps eleven bits; a few layers of sums lose two or three of them.
CLOSE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}
PRODUCTS = list(TEXTS.values())[:9]


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, BiEncoder]:
    folder = tmp_path_factory.mktemp("tower")
    base = write_base(folder / "base")
    export_model(load_encoder(base), "tiny", folder / "tower", PRODUCTS)
    towers.add_half(base, folder / "tower")
    return base, BiEncoder.open(folder / "tower")


def opened(model: Path, device: str, dtype: torch.dtype) -> PackedModel:
    """With weights of half precision whatever the arithmetic: the reference takes the same."""
    return PackedModel(*read_half(model), device, dtype)


def rounded(module: torch.nn.Module) -> torch.nn.Module:
    """The original with its weights as the file has them."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
    return module.eval()


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_vectors_are_those_of_the_original(tower: tuple[str, BiEncoder], device: str, dtype: torch.dtype) -> None:
    base, folder = tower
    tokens = folder.tokenize_items(["", *PRODUCTS, " ".join(PRODUCTS)])
    result = opened(folder.model_path("item"), device, dtype).run(tokens)
    exact = rounded(PooledEncoder(load_encoder(base)))
    assert result.dtype == np.float32 and result.shape == (len(tokens), 32)
    for vector, sequence in zip(result, tokens, strict=True):
        ids = torch.from_numpy(sequence.astype(np.int64))[None]
        with torch.no_grad():
            np.testing.assert_allclose(vector, exact(ids, torch.ones_like(ids))[0].numpy(), atol=CLOSE[dtype])


@pytest.mark.parametrize("head", ["pooler", "match"])
def test_logits_are_those_of_the_original(tmp_path: Path, device: str, head: str) -> None:
    base = write_ranker_base(tmp_path / "base")
    if head == "match":
        model = match_model(base, {"attn_implementation": "eager"})
        torch.nn.init.normal_(model[1].first)  # type: ignore[index]
        model.save(str(tmp_path / "match"))
        base = str(tmp_path / "match")
    export_ranker(base, tmp_path / "ranker", [(text, other) for text in PRODUCTS for other in PRODUCTS])
    rankers.add_half(base, tmp_path / "ranker")
    ranker = Ranker.open(tmp_path / "ranker")
    pairs = ranker.pack_pairs([("red kettle", text) for text in PRODUCTS] + [("", "mug"), ("cheap mug", "")])
    tokens, segments = ([pair[side] for pair in pairs] for side in (0, 1))
    result = opened(ranker.model_path, device, torch.float32).run(tokens, segments)
    model = load_ranker(base)
    exact = rounded(Logits(model))
    for logit, ids, kinds in zip(result, tokens, segments, strict=True):
        read = (ids, np.ones_like(ids), kinds) if reads_segments(model) else (ids, np.ones_like(ids))
        given = [torch.from_numpy(values.astype(np.int64))[None] for values in read]
        with torch.no_grad():
            np.testing.assert_allclose(logit, exact(*given)[0].numpy(), atol=1e-4)


def test_a_result_does_not_hang_on_its_batch(tower: tuple[str, BiEncoder], device: str) -> None:
    model = opened(tower[1].model_path("item"), device, torch.float16)
    tokens = tower[1].tokenize_items([*PRODUCTS, " ".join(PRODUCTS)] * 20)
    together = model.run(tokens)
    for place in (0, 9, 150):
        np.testing.assert_allclose(model.run([tokens[place]])[0], together[place], atol=2e-3)


def test_many_tokens_are_run_in_parts(
    tower: tuple[str, BiEncoder], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(tower[1].model_path("item"), device, torch.float32)
    tokens = tower[1].tokenize_items([" ".join(PRODUCTS), *PRODUCTS])
    whole = model.run(tokens)
    monkeypatch.setattr(packed, "MOST_TOKENS", 12)  # less than the first alone
    np.testing.assert_allclose(model.run(tokens), whole, atol=1e-5)


def test_nothing_in_gives_nothing_out(tower: tuple[str, BiEncoder], device: str) -> None:
    assert opened(tower[1].model_path("item"), device, torch.float16).run([]).shape == (0, 32)


def test_weights_of_another_model_are_refused(tower: tuple[str, BiEncoder], tmp_path: Path) -> None:
    model = tower[1].model_path("item")
    other = tmp_path / model.name
    other.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"has no model\.half\.safetensors.*--precision fp16"):
        PackedModel.open(other, "cpu")
    half_path(other).write_bytes(half_path(model).read_bytes())
    assert has_half(model) and not has_half(other)
    with pytest.raises(ModelError, match=r"belongs to another model\.onnx"):
        PackedModel.open(other, "cpu")
    half_path(other).write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="holds no half-precision weights"):
        PackedModel.open(other, "cpu")


def test_a_model_exported_anew_loses_its_old_weights(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    export_model(load_encoder(base), "tiny", tmp_path / "tower", PRODUCTS)
    towers.add_half(base, tmp_path / "tower")
    export_model(load_encoder(write_base(tmp_path / "other", seed=1)), "tiny", tmp_path / "tower", PRODUCTS)
    assert not half_path(tmp_path / "tower" / "model.onnx").exists()


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    model = load_encoder(base)
    export_model(model, "tiny", tmp_path / "tower", PRODUCTS)
    for parameter in model.parameters():
        parameter.data *= 300
    model.save(str(tmp_path / "large"))
    with pytest.raises(ModelError, match=r"half-precision vectors.*--device cpu"):
        towers.add_half(str(tmp_path / "large"), tmp_path / "tower")


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    base = tiny_roberta(tmp_path / "base")
    export_model(load_encoder(base), "tiny", tmp_path / "tower", ["steel kettle", "red mug"])
    with pytest.raises(ModelError, match=r"only BERT models.*roberta.*--device cpu"):
        towers.add_half(base, tmp_path / "tower")
