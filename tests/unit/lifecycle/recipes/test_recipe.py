from collections.abc import Callable

import pytest
from pydantic import ValidationError

from core.errors import TandemError
from lifecycle.recipes.builtin import RECIPES, find_recipe, general, sample
from lifecycle.recipes.recipe import FinalStage, Recipe, RecipeSource
from lifecycle.recipes.sets import mapping_file


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_whole_and_goes_by_its_name(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_the_mappings_that_recipes_name_come_with_tandem(tmp_path) -> None:
    for source in general().sources:
        if source.mapping:
            assert mapping_file(source, tmp_path).is_file()


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(TandemError, match="no recipe 'amazon'; there are sample, home_depot, general"):
        find_recipe("amazon")


@pytest.mark.parametrize("call", [find_recipe, lambda name: general().without(name)])
def test_a_long_name_is_quoted_in_short(call: Callable[[str], object]) -> None:
    with pytest.raises(TandemError) as raised:
        call("x" * 5_000 + "\n")
    assert len(str(raised.value)) < 200 and "'xxx" in str(raised.value) and "\n" not in str(raised.value)


def test_a_shop_of_ones_own_takes_the_place_of_the_sources() -> None:
    recipe = general().on("/shop/feed.csv", "/shop/judged.csv")
    (shop,) = recipe.sources
    assert (shop.catalog, shop.judgments, shop.mapping, shop.final_only) == (
        "/shop/feed.csv",
        "/shop/judged.csv",
        None,
        False,
    )
    assert recipe.final_stage is None and recipe.towers == general().towers


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"second_round": sample().towers}, "second_round: a second round needs mining"),
        ({"sources": [{"name": "a", "catalog": "a", "pseudo": 5}]}, "none has judgments"),
        ({"sources": [{"name": "a", "catalog": "a"}]}, "source a has neither judgments nor made-up queries"),
        (
            {"final_stage": FinalStage(replay=1, towers=sample().towers, ranker=sample().ranker)},
            "sources marked final_only and the settings of the final stage go together",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(change: dict, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Recipe(**(sample().model_dump() | change))


def test_late_sources_need_the_settings_of_the_last_stage() -> None:
    late = RecipeSource(name="b", catalog="b", judgments="b", final_only=True)
    with pytest.raises(ValidationError, match="go together"):
        Recipe(**(sample().model_dump() | {"sources": [*sample().sources, late]}))


def test_a_stage_that_the_version_before_finished_has_the_same_stamp() -> None:
    """Stamps hold a source's fields by the names that they had then."""
    source = RecipeSource(name="a", catalog="a.jsonl", pseudo=1, final_only=True)
    fields = {"name": "a", "catalog": "a.jsonl", "judgments": None, "mapping": None, "pseudo": 1, "late": True}
    assert source.model_dump(mode="json", by_alias=True) == fields


def test_a_source_is_left_out_of_all_stages() -> None:
    recipe = find_recipe("general").without("crowdflower")
    assert [source.name for source in recipe.sources] == ["home_depot", "icecat", "hm"]
    assert recipe.final_stage is None and "final_stage" not in recipe.stages


def test_a_world_is_left_out_of_the_final_score() -> None:
    recipe = find_recipe("general").without("trade")
    assert recipe.final is not None and recipe.final.worlds == ("home", "market")
    assert recipe.sources == find_recipe("general").sources


def test_what_is_left_with_judgments_is_trained_on_from_the_start() -> None:
    recipe = find_recipe("general").without("home_depot")
    assert {source.name: source.final_only for source in recipe.sources} == dict.fromkeys(
        ("icecat", "hm", "crowdflower"), False
    )
    assert recipe.final_stage is None
    unjudged = find_recipe("general").without("icecat")
    assert unjudged.final_stage is not None and len(unjudged.sources) == 3


def test_the_last_source_with_judgments_and_one_that_is_not_there_are_not_left_out() -> None:
    with pytest.raises(
        TandemError, match="no source 'amazon'; there are home_depot, icecat, hm, crowdflower, home, trade, market"
    ):
        find_recipe("general").without("amazon")
    with pytest.raises(TandemError, match="no judgments without sample"):
        find_recipe("sample").without("sample")
