"""The int8 models: close to their originals, and the same alone, in company and padded."""

from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_items
from engine.onnx.session import OnnxModel
from ranker.ranker import Ranker
from training.export import base_location

# One rounding step of one activation: what is left once scales belong to rows.
COSINE = 0.9995
LOGIT = 0.05

TEXTS = [
    "kettle",
    "stainless steel kettle 1.7 l",
    "Cotton fitted sheet. Bedding. white. 160 x 200 cm. Soft, breathable and easy to iron, in a set of two",
    "usb-c to hdmi adapter",
    "waterproof hiking boots for women",
    "18v cordless drill without battery",
]


def test_a_vector_does_not_depend_on_its_batch(encoder_dir: Path) -> None:
    tower = BiEncoder.open(encoder_dir)
    model = OnnxModel(tower.model_path("query"))
    tokens = tower.tokenize_items(TEXTS)
    together = model.run(tokens)
    for i, sequence in enumerate(tokens):
        alone = model.run([sequence])[0]
        assert float(alone @ together[i]) > COSINE


def test_a_logit_does_not_depend_on_its_batch(ranker_dir: Path) -> None:
    ranker = Ranker.open(ranker_dir)
    model = OnnxModel(ranker.model_path)
    query = ranker.tokenize_query("kettle without plastic")
    pairs = [ranker.pack(query, product) for product in ranker.tokenize_products(TEXTS)]
    together = model.run([tokens for tokens, _ in pairs], [segments for _, segments in pairs])
    alone = np.array([model.run([tokens], [segments])[0] for tokens, segments in pairs])
    np.testing.assert_allclose(together, alone, atol=LOGIT)


def test_vectors_are_those_of_sentence_transformers(encoder_dir: Path) -> None:
    tower = BiEncoder.open(encoder_dir)
    vectors = OnnxModel(tower.model_path("item")).run(tower.tokenize_items(TEXTS))
    original = SentenceTransformer(base_location(None), device="cpu").encode(TEXTS, normalize_embeddings=True)
    cosines = (vectors * original).sum(axis=1)
    assert cosines.mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_bulk_embedding_gives_each_text_its_own_vector(encoder_dir: Path) -> None:
    tower = BiEncoder.open(encoder_dir)
    model = OnnxModel(tower.model_path("item"))
    tokens = tower.tokenize_items(TEXTS * 5)
    result = np.full((len(tokens), tower.spec.dimensions), np.nan, np.float32)
    for places, part in embed_items(model, tokens, token_budget=40):
        result[places] = part
    expected = np.concatenate([model.run([sequence]) for sequence in tokens])
    assert ((result * expected).sum(axis=1) > COSINE).all()


def test_pairs_are_packed_as_the_tokenizer_packs_them(ranker_dir: Path) -> None:
    ranker = Ranker.open(ranker_dir)
    for product in TEXTS:
        tokens, segments = ranker.pack(ranker.tokenize_query("a kettle"), ranker.tokenize_products([product])[0])
        expected = ranker._tokenizer.encode("a kettle", product)
        assert (tokens.tolist(), segments.tolist()) == (expected.ids, expected.type_ids)
