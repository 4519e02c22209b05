"""Words beside the towers, and a final score learned of a release, over a real port and in a real release."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from shops import COLORS, THINGS, index, write_feed, write_rows

from core.errors import ModelError
from core.manifest import Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle.final_score.train import train_final
from lifecycle.models import resolve_models
from lifecycle.rollback import rollback_models
from ranker.train.final import FinalTraining
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc
from text.synonyms import Synonyms


async def ask(store: ReleaseStore, query: str, explain: bool = False) -> search_pb2.SearchResponse:
    """From a server of its own."""
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5)
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        return await stub.Search(search_pb2.SearchRequest(query=query, top_k=5, explain=explain), timeout=30)


def stages(hit: search_pb2.Hit) -> dict[str, search_pb2.StageScore]:
    return {entry.stage: entry for entry in hit.stage_scores}


async def test_a_code_that_towers_cannot_know_is_found(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    rows = [{"id": f"p{i}", "title": f"drill {i}", "gtin": f"{4006381333900 + i}"} for i in range(40)]
    rows[7] = {"id": "p7", "title": "drill press", "gtin": "4006381333931"}
    rows[31]["gtin"] = ""
    index(write_rows(tmp_path / "feed.jsonl", rows), ModelFolders(models.encoder, None), store)
    answer = await ask(store, "4006381333931")
    result = stages(answer.hits[0])
    assert answer.hits[0].product_id == "p7"
    assert result["lexical"].rank == 1 and result["lexical"].score > 0 and result["fuse"].rank == 1


async def test_misspelt_words_are_mended_and_words_of_the_language_are_not(store: ReleaseStore) -> None:
    assert (await ask(store, "red ketlle")).searched_query == "red kettle"
    assert (await ask(store, "red cattle")).searched_query == ""  # as far from a kettle, and no error


async def test_synonyms_stay_until_they_are_taken_away(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    rules = Synonyms(groups=(("bedding", "sheet"),), rewrites={"teapot": "kettle"})

    def made(prefix: str, synonyms: Synonyms | None = None) -> Manifest:
        feed = write_feed(tmp_path / f"{prefix}.jsonl", prefix)
        towers = ModelFolders(models.encoder, None)
        return index_feed(feed, FeedMapping(), towers, IndexOptions(synonyms=synonyms), store, Silent()).manifest

    assert made("x-", rules).snapshot.lexical.rewrites == 1  # type: ignore[union-attr]
    assert made("y-").snapshot.lexical.synonyms == 1  # type: ignore[union-attr]
    answer = await ask(store, "red teapot")
    assert answer.searched_query == "red kettle" and answer.hits[0].product.title == "red kettle"
    assert all(
        "sheet" in hit.product.title for hit in (await ask(store, "bedding")).hits if stages(hit)["lexical"].rank
    )
    assert made("z-", Synonyms()).snapshot.lexical.synonyms == 0  # type: ignore[union-attr]
    assert (await ask(store, "red teapot")).searched_query == ""


def judgments(folder: Path) -> Path:
    """Thirty queries, each with its one product and one of another colour."""
    lines = ["query,product_id,grade,split"]
    for i in range(len(COLORS) * len(THINGS)):
        query = f"{COLORS[i % len(COLORS)]} {THINGS[i // len(COLORS)]}"
        lines += [
            f"{query},a-{i},3,valid",
            f"{query},a-{i // len(COLORS) * len(COLORS) + (i + 1) % len(COLORS)},1,valid",
        ]
    path = folder / "judged.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


async def test_a_final_score_is_learned_released_explained_and_rolled_back(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    settings = FinalTraining(candidates=20, rerank_depth=8, least=5, rounds=20, patience=10, folds=3, threads=1)
    output = tmp_path / "final"
    asked = judgments(tmp_path)
    await asyncio.to_thread(train_final, store, "default", asked, "valid", output, settings, Silent())
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    outcome = index(feed, replace(models, final=output), store)
    assert outcome.embedded == 0 and outcome.manifest.model.final is not None
    trees = {f"final/{name}.{kind}" for name in ("first_trees", "trees") for kind in ("onnx", "txt")}
    assert {"final/final.json"} | trees <= set(outcome.manifest.files)
    answer = await ask(store, "red kettle", explain=True)
    best = answer.hits[0]
    assert best.product.title == "red kettle" and not answer.degraded
    assert best.score == stages(best)["final"].score and stages(best)["final"].rank == 1
    depth = json.loads((output / "final.json").read_text())["rerank_depth"]  # 0 where a ranker adds nothing
    last = ["prerank", "rescore", "arrange"] if depth else ["prerank", "arrange"]
    assert [stage.name for stage in answer.stages][-len(last) :] == last
    assert best.reasons and best.reasons[0].contribution != 0
    assert [abs(reason.contribution) for reason in best.reasons] == sorted(
        (abs(reason.contribution) for reason in best.reasons), reverse=True
    )
    # Taken over with the models it belongs to, left behind with others, refused where it was asked for.
    assert resolve_models(None, None, store, "default").final is not None
    assert resolve_models(None, str(models.ranker), store, "default").final is None
    with pytest.raises(ModelError, match="was trained with other models"):
        index(write_feed(tmp_path / "b.jsonl", "b-"), ModelFolders(models.encoder, None, final=output), store)
    plain = index(write_feed(tmp_path / "b.jsonl", "b-"), models, store)
    assert plain.manifest.model.final is None
    back = rollback_models(store, "default", outcome.manifest.model.model_id, Silent())
    assert back.manifest.model.final == outcome.manifest.model.final
    assert json.loads((store.path("default", back.manifest.release_id) / "final" / "final.json").read_text())["ranker"]


async def test_of_like_products_those_that_sell_come_first(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    def rows(sold: Callable[[int], int]) -> list[dict[str, Any]]:
        """Three of each thing in each colour, which nothing but their sales tells apart."""
        wares = [f"{color} {thing}" for thing in THINGS for color in COLORS]
        return [{"id": f"s-{i}", "title": wares[i // 3], "units_sold": sold(i % 3)} for i in range(3 * len(wares))]

    judged = ["query,product_id,grade,split"]
    for place in range(0, len(COLORS) * len(THINGS) * 3, 3):
        query = f"{COLORS[place // 3 % len(COLORS)]} {THINGS[place // 3 // len(COLORS)]}"
        judged += [f"{query},s-{place + copy},{3 if copy == 1 else 1},valid" for copy in range(3)]
    (tmp_path / "judged.csv").write_text("\n".join(judged) + "\n")
    index(write_rows(tmp_path / "s.jsonl", rows(lambda copy: (5, 100, 20)[copy])), models, store)
    settings = FinalTraining(candidates=20, rerank_depth=8, least=5, rounds=30, patience=15, folds=3, threads=1)
    output, asked = tmp_path / "final", tmp_path / "judged.csv"
    await asyncio.to_thread(train_final, store, "default", asked, "valid", output, settings, Silent())
    # Another week: the third copies sell now, which changes no text and so no vector.
    week = write_rows(tmp_path / "week.jsonl", rows(lambda copy: (7, 3, 900)[copy]))
    outcome = index(week, replace(models, final=output), store)
    assert outcome.embedded == 0
    answer = await ask(store, "red kettle", explain=True)
    first = answer.hits[0]
    assert first.product.title == "red kettle" and int(first.product_id[2:]) % 3 == 2
    reasons = {reason.feature: reason for reason in first.reasons}
    assert reasons["popularity"].value == pytest.approx(5 / 6) and reasons["popularity"].contribution > 0
