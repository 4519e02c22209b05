"""The final score of a recipe: its sources are shops, each indexed in part with the trained models, and searched."""

from pathlib import Path

from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from indexer.sample import CatalogSample
from lifecycle.feeds import read_mapping
from lifecycle.final_score.settings import FinalScoreStage
from lifecycle.final_score.shops import ShopRelease, train_final_of_shops
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release
from lifecycle.recipes.recipe import Recipe, RecipeSource
from lifecycle.recipes.sets import mapping_file
from lifecycle.sample.shop import write_sample


def learn_of_sources(
    recipe: Recipe, data: Path, models: tuple[Path, Path | None], work: Path, steps: Steps, output: Path
) -> None:
    """Indexes a part of each source in `work` with the bi-encoder and the cross-encoder, if any, and learns one score.

    Raises FeedError where there are too few sources, or too few queries in one.
    """
    settings = recipe.final
    assert settings is not None, "called for recipes with a final score"
    store = ReleaseStore(work)
    shops = [_index(source, data, ModelFolders(*models), settings, store, steps) for source in recipe.sources]
    shops += [_index_world(world, work, ModelFolders(*models), settings, store, steps) for world in settings.worlds]
    train_final_of_shops(shops, output, settings.training, steps, settings.queries)


def _index(
    source: RecipeSource, data: Path, models: ModelFolders, settings: FinalScoreStage, store: ReleaseStore, steps: Steps
) -> ShopRelease:
    judgments = data / source.judgments if source.judgments else None
    judged = select_grades(load_judgments(judgments), settings.split) if judgments else {}
    ids = frozenset(product for products in judged.values() for product in products)
    options = IndexOptions(sample=CatalogSample(settings.products, ids))
    mapping = read_mapping(mapping_file(source, data), source.name)
    index_feed(data / source.catalog, mapping, models, options, store, steps)
    place = find_release(store, source.name, CURRENT)
    return ShopRelease(source.name, place, judgments, settings.split)


def _index_world(
    world: str, work: Path, models: ModelFolders, settings: FinalScoreStage, store: ReleaseStore, steps: Steps
) -> ShopRelease:
    with steps.step(f"make the sample shop {world}"):
        shop = write_sample(work / "worlds" / world, world=world)
    mapping = read_mapping(shop.mapping)
    index_feed(shop.catalog, mapping, models, IndexOptions(), store, steps)
    return ShopRelease(world, find_release(store, mapping.catalog.name, CURRENT), shop.judgments, settings.split)
