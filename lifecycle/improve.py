"""Trains on a shop's judgments, and publishes what came of it unless it ranks worse than what is in service."""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.errors import FeedError, ModelError, ReleaseError
from core.plan import Plan
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders, open_models
from lifecycle.feeds import read_mapping
from lifecycle.improvement import IMPROVED_FILE, Improvement, ShopFiles, write_json
from lifecycle.models import models_in
from lifecycle.quality.evaluate import select_grades, served_ndcg
from lifecycle.quality.evaluation import CURRENT, ReleaseLocation, find_release, open_place
from lifecycle.tracking.tracker import Tracker

RECIPE = "sample"
_CANDIDATE, _BEFORE = "candidate", "before.json"
_TEST, _VALID = "test", "valid"
_LEAST_QUERIES = 10

Notify = Callable[[str], None]


def improve(
    shop: ShopFiles,
    store: ReleaseStore,
    output: Path,
    recipe: str,
    steps: Steps,
    tracker: Tracker,
    notify: Notify,
    change_log: str = "",
) -> Improvement:
    """Leaves models, and what they are worth, in `output`; what is done there already is not done again.

    The release in service is measured before anything else, so that a run that was cut off compares with the same.
    Raises FeedError, ModelError or ReleaseError.
    """
    assert shop.judgments is not None, "without judgments nothing is trained"
    mapping = read_mapping(shop.mapping)
    catalog = mapping.catalog.name
    output.mkdir(parents=True, exist_ok=True)
    split = _held_out(shop.judgments)
    replaced, before = _before(store, catalog, shop.judgments, split, output, steps)
    depth = _train(shop, output, recipe, steps, tracker, notify)
    models, place = _candidate(shop, mapping, output, depth, steps, notify)
    after = _measured(place, shop.judgments, split, steps, "measure what was trained")
    result = Improvement.compare(catalog, split, replaced, before, after)
    if result.better:
        _keep_vectors(ReleaseStore(output / _CANDIDATE), store, catalog)
        options = IndexOptions(change_log=change_log)
        outcome = index_feed(shop.catalog, mapping, models, options, store, steps)
        result = result.model_copy(update={"release": outcome.manifest.release_id})
    write_json(output / IMPROVED_FILE, result.model_dump(mode="json"))
    return result


def end_with(pipe: int) -> None:
    """Ends this process when the pipe from its parent, a file descriptor, closes, however the parent came to its end.

    Not a file object's: one that a thread still reads makes Python abort when this process ends by itself.
    """

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        os._exit(1)  # what is on disk is whole, and goes on from there

    threading.Thread(target=watch, daemon=True).start()


def _held_out(judgments: Path) -> str:
    """The split to measure by: test, or valid where that has hardly a query."""
    count = len(select_grades(load_judgments(judgments), _TEST))
    return _TEST if count >= _LEAST_QUERIES else _VALID


def _before(
    store: ReleaseStore, catalog: str, judgments: Path, split: str, output: Path, steps: Steps
) -> tuple[str, dict[str, float]]:
    """The release in service when training began, and its nDCG@10 by query."""
    file = output / _BEFORE
    if file.is_file():
        measured = json.loads(file.read_bytes())
        return measured["release"], measured["values"]
    place = find_release(store, store.named(catalog), CURRENT)
    values = _measured(place, judgments, split, steps, "measure what serves")
    write_json(file, {"release": place.release, "values": values})
    return place.release, values


def _measured(place: ReleaseLocation, judgments: Path, split: str, steps: Steps, name: str) -> dict[str, float]:
    release = open_place(place)
    try:
        with steps.step(name) as report:
            return asyncio.run(served_ndcg(release, load_judgments(judgments), split, Plan(), report))
    finally:
        release.retire()


def _train(shop: ShopFiles, output: Path, recipe: str, steps: Steps, tracker: Tracker, notify: Notify) -> int:
    """Both models; returns how many candidates they are to rescore at most."""
    from lifecycle.recipes.builtin import find_recipe  # loads torch
    from lifecycle.recipes.run import run_recipe

    assert shop.judgments is not None, "without judgments nothing is trained"
    paths = [str(path.resolve()) for path in (shop.catalog, shop.judgments, shop.mapping) if path]
    chosen = find_recipe(recipe).on(*paths)
    run_recipe(chosen, Path(), output, steps, tracker, notify=notify)
    return chosen.rerank_depth


def _candidate(
    shop: ShopFiles, mapping: FeedMapping, output: Path, depth: int, steps: Steps, notify: Notify
) -> tuple[ModelFolders, ReleaseLocation]:
    """A release of the trained models, apart from those that serve, and with a final score if there is one."""
    store, final = ReleaseStore(output / _CANDIDATE), output / "final"
    catalog = mapping.catalog.name
    models = _models(output)
    outcome = index_feed(shop.catalog, mapping, models, IndexOptions(), store, steps)
    if models.final is None and _learn_final(shop, store, catalog, final, depth, steps, notify):
        models = _models(output)
        outcome = index_feed(shop.catalog, mapping, models, IndexOptions(), store, steps)
    return models, ReleaseLocation(store, catalog, outcome.manifest.release_id)


def _models(output: Path) -> ModelFolders:
    """What was trained; a final score of other models is learned anew."""
    models = models_in(output)
    return models if models.final is None or _goes_with(models) else replace(models, final=None)


def _goes_with(models: ModelFolders) -> bool:
    try:
        open_models(models)
    except ModelError:
        return False
    return True


def _learn_final(
    shop: ShopFiles, store: ReleaseStore, catalog: str, output: Path, depth: int, steps: Steps, notify: Notify
) -> bool:
    from lifecycle.final_score.train import train_final
    from ranker.train.final import FinalTraining

    assert shop.judgments is not None, "without judgments nothing is trained"
    try:
        train_final(store, catalog, shop.judgments, _VALID, output, FinalTraining(rerank_depth=depth), steps)
    except (FeedError, ReleaseError) as error:
        notify(f"no final score: {error}")
        return False
    return True


def _keep_vectors(source: ReleaseStore, target: ReleaseStore, catalog: str) -> None:
    """The candidate's embeddings, so that publishing it embeds nothing again."""
    embeddings = target.folder(catalog) / "work" / "embeddings"
    for folder in (source.folder(catalog) / "work" / "embeddings").iterdir():
        scratch = embeddings / f".{folder.name}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        if not (embeddings / folder.name).exists():
            shutil.copytree(folder, scratch)
            scratch.rename(embeddings / folder.name)
