"""Towers and cross-encoders of other architectures than BERT: exported, packed, served and cut as BERT's are."""

import asyncio
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny
import torch
from architectures import (
    ARCHITECTURES,
    LAYERS,
    TEXTS,
    write_cross_encoder,
    write_encoder,
    write_modular_ranker,
    write_static,
)
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from encoder.bi_encoder import BiEncoder
from encoder.train.export import export_model
from encoder.train.finetune import train_encoder
from encoder.train.load import load_encoder, set_prompts
from encoder.train.settings import EncoderTraining
from engine.embedded import EmbeddedEngine
from engine.onnx.session import OnnxModel
from engine.protocol import Pair
from engine.triton.wire import text_tensors
from ranker.ranker import Ranker
from ranker.train.export import export_model as export_ranker_model
from ranker.train.export import load_ranker
from ranker.train.finetune import train_ranker
from ranker.train.settings import RankerTraining
from training.compress import Distillation, cut, some_batches
from training.examples import Examples
from training.export import quiet_libraries

KINDS = pytest.mark.parametrize("kind", ARCHITECTURES)
SOME = TEXTS[::12]
# Of unlike lengths, so that a batch is padded; the longest reaches beyond ModernBERT's window.
READ = ["lamp", "steel kettle", " ".join(TEXTS[:5]), "waterproof boots red"]
PAIRS = [(READ[0], READ[2]), (READ[1], READ[0]), (READ[3], READ[1]), (READ[2], READ[3])]
MANY_PAIRS = PAIRS + list(zip(TEXTS[:16], TEXTS[40:56], strict=True))


class NoIndex:
    """Searches nothing: these models are only run."""


def products(model: Path) -> int:
    """Products with weights of int8; none is left in fp32 but those of heads, which are Gemm."""
    graph = onnx.load(str(model)).graph
    constants = {entry.name: entry for entry in graph.initializer}
    multiplied = [constants.get(node.input[1]) for node in graph.node if node.op_type == "MatMul"]
    assert not any(len(weights.dims) == 2 for weights in multiplied if weights is not None)
    return sum(node.op_type == "MatMulIntegerToFloat" for node in graph.node)


@KINDS
def test_towers_read_and_embed_as_the_original_does(kind: str, tmp_path: Path) -> None:
    base = write_encoder(tmp_path / "base", kind)
    model = load_encoder(base)
    set_prompts(model, "red ", "blue mug ")
    parity = export_model(model, kind, tmp_path / "tower", SOME)
    assert parity["cosine_mean"] > 0.998 and parity["cosine_min"] > 0.99
    tower = BiEncoder.open(tmp_path / "tower")
    assert products(tower.model_path("query")) >= 6 * LAYERS - 4
    original = SentenceTransformer(base, device="cpu", model_kwargs={"attn_implementation": "eager"})
    run = OnnxModel(tower.model_path("query")).run
    for tokens, prefix in ((tower.tokenize_queries(READ), "red "), (tower.tokenize_items(READ), "blue mug ")):
        read = [AutoTokenizer.from_pretrained(base)(prefix + text)["input_ids"] for text in READ]
        assert [list(ids) for ids in tokens] == read
        vectors = original.encode([prefix + text for text in READ], normalize_embeddings=True)
        together = run(tokens)
        assert (together * vectors).sum(axis=1).min() > 0.99
        np.testing.assert_allclose(together, np.concatenate([run([ids]) for ids in tokens]), atol=1e-6)
        padded = text_tensors(("input_ids", "attention_mask"), tokens)  # further, to a multiple of eight
        [wire] = OnnxModel(tower.model_path("query"))._session.run(None, padded)
        np.testing.assert_allclose(wire, together, atol=1e-6)


@KINDS
def test_of_two_logits_the_difference_is_served(kind: str, tmp_path: Path) -> None:
    base = write_cross_encoder(tmp_path / "base", kind, labels=2)
    assert export_ranker_model(load_ranker(base), kind, tmp_path / "ranker", MANY_PAIRS)["difference"] < 0.2
    ranker = Ranker.open(tmp_path / "ranker")
    whole = AutoModelForSequenceClassification.from_pretrained(base, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    read = tokenizer(*map(list, zip(*PAIRS, strict=True)), padding=True, return_tensors="pt")
    with torch.no_grad():
        both = whole(**read).logits.numpy()
    packed = ranker.pack_pairs(PAIRS)
    assert [list(ids) for ids, _ in packed] == [tokenizer(*pair)["input_ids"] for pair in PAIRS]
    model = OnnxModel(ranker.model_path)
    engine = EmbeddedEngine(model, NoIndex(), model, lanes=1)
    served = asyncio.run(engine.rescore([Pair(*pair) for pair in packed], None))
    engine.close()
    spread = max(np.std(both[:, 1] - both[:, 0]), 0.1)
    np.testing.assert_allclose(served, both[:, 1] - both[:, 0], atol=0.4 * spread)


@KINDS
def test_what_is_cut_saves_and_loads_as_it_answers(kind: str, tmp_path: Path) -> None:
    settings = Distillation(layers=1, ffn_share=0.5)
    model = load_ranker(write_cross_encoder(tmp_path / "base", kind))
    before = sum(weight.numel() for weight in model.parameters())
    with quiet_libraries():
        cut(model.model, settings, lambda batch: model(model.preprocess(batch))["scores"], some_batches(MANY_PAIRS, 0))
        model.save_pretrained(str(tmp_path / "cut"), create_model_card=False)
    assert sum(weight.numel() for weight in model.parameters()) < before
    again = load_ranker(str(tmp_path / "cut"))
    options = {"activation_fn": nn.Identity(), "show_progress_bar": False}
    np.testing.assert_allclose(again.predict(PAIRS, **options), model.predict(PAIRS, **options), atol=1e-5)


def test_neurons_that_are_kept_keep_their_gates(tmp_path: Path) -> None:
    """With the others' outputs at zero beforehand, nothing changes by their removal."""
    model = load_encoder(write_encoder(tmp_path, "modernbert"))
    encoder = model[0].auto_model
    for layer in encoder.layers:
        layer.mlp.Wo.weight.data[:, ::2] = 0.0
    before = model.encode(READ)
    cut(encoder, Distillation(ffn_share=0.5), lambda b: model(model.preprocess(b))["sentence_embedding"], [READ])
    assert encoder.layers[0].mlp.Wi.out_features == 2 * encoder.layers[0].mlp.Wo.in_features == 64
    np.testing.assert_allclose(model.encode(READ), before, atol=1e-5)


def test_scores_that_modules_make_are_served(tmp_path: Path) -> None:
    for labels in (1, 2):
        folder = write_modular_ranker(tmp_path / str(labels), labels=labels)
        scores = CrossEncoder(folder, device="cpu").predict(PAIRS, activation_fn=nn.Identity(), show_progress_bar=False)
        expected = scores if labels == 1 else scores[:, 1] - scores[:, 0]
        export_ranker_model(load_ranker(folder), "modular", tmp_path / f"out-{labels}", MANY_PAIRS)
        ranker = Ranker.open(tmp_path / f"out-{labels}")
        tokens, segments = map(list, zip(*ranker.pack_pairs(PAIRS), strict=True))
        served = OnnxModel(ranker.model_path).run(tokens, segments)
        np.testing.assert_allclose(served, expected, atol=0.4 * np.std(expected))


def test_a_static_model_is_a_tower(tmp_path: Path) -> None:
    base = write_static(tmp_path / "base")
    assert export_model(load_encoder(base), "static", tmp_path / "tower", SOME)["cosine_min"] > 0.99999
    tower = BiEncoder.open(tmp_path / "tower")
    assert tower.spec.precision == "fp32" and tower.spec.max_query_tokens == 32
    original = SentenceTransformer(base, device="cpu").encode(READ, normalize_embeddings=True)
    vectors = OnnxModel(tower.model_path("item"), mapped=True).run(tower.tokenize_items(READ))
    np.testing.assert_allclose(vectors, original, atol=1e-6)


@pytest.mark.parametrize("kind", ["xlm-roberta", "modernbert", "static"])
def test_towers_of_other_kinds_are_fine_tuned(kind: str, tmp_path: Path) -> None:
    base = write_static(tmp_path / "base") if kind == "static" else write_encoder(tmp_path / "base", kind)
    settings = EncoderTraining(
        base=base, max_steps=2, batch_size=8, evaluations=1, query_prefix="red ", keep=0.2, validation_pairs=60,
        distractors=0, threads=1,
    )  # fmt: skip
    report = train_encoder(Examples.split(tiny.TEXTS, tiny.judgments()), tmp_path / "out", settings)
    assert report["parity"]["cosine_mean"] > 0.99
    assert BiEncoder.open(tmp_path / "out").spec.query_prefix == "red "
    assert load_encoder(str(tmp_path / "out")).prompts["query"] == "red "


@pytest.mark.parametrize("kind", ["mpnet", "deberta-v2"])
def test_cross_encoders_of_other_kinds_are_fine_tuned(kind: str, tmp_path: Path) -> None:
    base = write_cross_encoder(tmp_path / "base", kind, labels=2)
    settings = RankerTraining(
        base=base, max_steps=2, batch_size=8, evaluations=1, validation_pairs=60, threads=1, judgments=4
    )
    report = train_ranker(Examples.split(tiny.TEXTS, tiny.judgments()), tmp_path / "out", settings)
    assert report["parity"]["correlation"] > 0.9
    assert load_ranker(str(tmp_path / "out")).num_labels == 1
