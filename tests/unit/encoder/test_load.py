"""What a model is trained for goes with it: prompts, pooling, lengths, single precision."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import TEXTS, write_encoder, write_static
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoderSpec
from encoder.train.base import load_base
from encoder.train.half import add_half
from encoder.train.load import limit_length, load_encoder, prefix_tokens
from encoder.train.settings import EncoderTraining
from training.export import longest_input

CONFIG = "config_sentence_transformers.json"


def with_prompts(folder: Path, prompts: dict[str, str], default: str | None = None, whole: bool = True) -> str:
    """A sentence-transformers folder that was saved with these prompts."""
    layers = Transformer(write_encoder(folder / "plain", "bert"))
    pooling = Pooling(layers.get_embedding_dimension(), include_prompt=whole)
    model = SentenceTransformer(modules=[layers, pooling], device="cpu", prompts=prompts, default_prompt_name=default)
    model.save_pretrained(str(folder / "saved"), create_model_card=False)
    return str(folder / "saved")


@pytest.mark.parametrize(
    ("prompts", "default", "query", "item"),
    [
        ({"query": "query: ", "passage": "passage: "}, None, "query: ", "passage: "),
        ({"query": "q ", "document": "d "}, None, "q ", "d "),
        ({"search_query": "sq: ", "search_document": "sd: ", "clustering": "c: "}, None, "sq: ", "sd: "),
        ({"query": "q ", "other": "o "}, "other", "q ", ""),
        ({"both": "b "}, "both", "b ", "b "),
        ({"both": "b "}, None, "", ""),
        ({}, None, "", ""),
    ],
)
def test_prompts_of_either_name_are_those_of_the_two_sides(
    prompts: dict[str, str], default: str | None, query: str, item: str, tmp_path: Path
) -> None:
    model = load_encoder(with_prompts(tmp_path, prompts, default))
    assert model.prompts == {"query": query, "document": item} and model.default_prompt_name is None
    model.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    assert load_encoder(str(tmp_path / "again")).prompts == model.prompts


def test_settings_replace_prefixes(tmp_path: Path) -> None:
    base = with_prompts(tmp_path, {"query": "query: ", "passage": "passage: "})
    model = load_base(EncoderTraining(base=base, query_prefix=""))
    assert model.prompts == {"query": "", "document": "passage: "}


def test_a_prompt_that_pooling_leaves_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="leaves the prompt out of its pooling"):
        load_encoder(with_prompts(tmp_path, {"query": "query: "}, whole=False))


def test_a_known_base_brings_prefixes_and_pooling(tmp_path: Path) -> None:
    folder = tmp_path / "bge-small-en-v1.5"
    model = load_encoder(write_encoder(folder, "bert"))
    assert model.prompts["query"].startswith("Represent this sentence") and model.prompts["document"] == ""
    ids = model.tokenizer("steel kettle", return_tensors="pt")
    with torch.no_grad():
        first = model[0].auto_model(**ids).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(model.encode("steel kettle"), first, atol=1e-5)
    other = load_encoder(write_encoder(tmp_path / "unknown", "bert"))
    assert abs(other.encode("steel kettle") - first).max() > 1e-3  # the mean


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_saved_in_half_precision_is_loaded_in_single(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, "modernbert", dtype=dtype)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    assert {weight.dtype for weight in load_encoder(folder).parameters()} == {torch.float32}


@pytest.mark.parametrize(("kind", "longest"), [("bert", 48), ("roberta", 48), ("mpnet", 48), ("deberta-v2", 48)])
def test_texts_are_cut_where_positions_end(kind: str, longest: int, tmp_path: Path) -> None:
    """RoBERTa's fifty positions are for 48 tokens: they are counted from the one after padding, which is 1."""
    model = load_encoder(write_encoder(tmp_path, kind))
    assert longest_input(model) == longest
    limit_length(model, 600)
    assert model.max_seq_length == longest
    assert model.encode(" ".join(TEXTS)).shape == (32,)


def test_the_tokens_of_a_prefix(tmp_path: Path) -> None:
    model = load_encoder(write_encoder(tmp_path, "bert"))
    assert prefix_tokens(model, "") == 0 and prefix_tokens(model, "steel kettle red ") == 3


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "static"])
def test_what_a_gpu_cannot_run_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    base = write_static(tmp_path / "base") if kind == "static" else write_encoder(tmp_path / "base", kind)
    [tokenizer] = (tmp_path / "base").rglob("tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    (tmp_path / "model.onnx").touch()
    (tmp_path / SPEC_FILE).write_text(BiEncoderSpec(dimensions=32, precision="int8", base=kind).model_dump_json())
    with pytest.raises(ModelError, match=r"only .* run on a GPU"):
        add_half(base, tmp_path)
