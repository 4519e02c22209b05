"""Contributions of words against direct calls of the cross-encoder, with real models."""

import numpy as np
import pytest

from catalog.product import product_text
from core.plan import Plan
from core.releases import ReleaseStore
from engine.onnx.session import OnnxModel
from ranker.ranker import Ranker
from retrieval.pipeline.search import search
from retrieval.release.loaded import open_release
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


async def test_contributions_are_those_of_the_cross_encoder_itself(indexed: ReleaseStore) -> None:
    current = indexed.current("default")
    assert current is not None
    folder = indexed.path("default", current)
    release = open_release(folder, indexed.manifest("default", current))
    query = "green desk lamp"
    answer = await search(Query(query, top_k=5, explain_words=3), Plan(), release, Permit(), None)
    ranker = Ranker.open(folder / "ranker")
    model = OnnxModel(ranker.model_path)

    def logit(query: str, product: str) -> float:
        [(tokens, segments)] = ranker.pack_pairs([(query, product)])
        return float(np.ravel(model.run([tokens], [segments]))[0])

    assert [bool(hit.words) for hit in answer.hits] == [True, True, True, False, False]
    for hit in answer.hits[:3]:
        product = product_text(answer.view.row(hit.row))
        whole, words = logit(query, product), product.split()
        expected = [
            whole - logit(" ".join(rest), product) for rest in (["desk", "lamp"], ["green", "lamp"], ["green", "desk"])
        ]
        expected += [whole - logit(query, " ".join(words[:i] + words[i + 1 :])) for i in range(len(words))]
        assert [word.contribution for word in hit.words] == pytest.approx(expected, abs=1e-4)
        assert [word.word for word in hit.words if not word.from_query] == [word.strip(".:") for word in words]
    release.retire()
