"""The page of settings: every one with its bounds, default, environment name and meaning, by who reads it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from docs.generate.markdown import notice, page, table
from docs.generate.models import Setting, settings_of
from encoder.train.compress import EncoderDistillation
from encoder.train.settings import EncoderTraining
from indexer.build import IndexSettings
from indexer.cleaning.mapping import AttributeRules, CatalogSettings, FieldSource
from lifecycle.examples.behaviour import BehaviourSettings
from lifecycle.examples.mining import Mining
from lifecycle.quality.gate import GateSettings
from lifecycle.recipes.recipe import Recipe, RecipeSource
from lifecycle.tracking.tracker import TrackingSettings
from lifecycle.users.settings import UserTraining
from ranker.recommendation import Limits
from ranker.train.compress import RankerDistillation
from ranker.train.final import FinalTraining
from ranker.train.settings import RankerTraining
from retrieval.server.settings import ServeSettings
from training.known_bases import Base, BaseSources

_INTRODUCTION = """\
A setting has its value from, the first that has one: an option of the command, the environment, the TOML file that
`--config` names, its default. Where a name has a dot, the part before it is a table of the file: `plan.candidates` is
`candidates` in `[plan]`. A list in the environment is JSON: `["a", "b"]`. Where the default is none, the meaning states
what holds then. A setting that does not exist, or is out of bounds, is an error with exit status 2."""


@dataclass(frozen=True, slots=True)
class Section:
    """A model whose fields are settings, and how they are set: as a file, in one of its tables, or in Python alone."""

    title: str
    text: str
    model: type[BaseModel]
    table: str = ""
    environment: str = ""

    def settings(self) -> Iterator[tuple[Setting, str]]:
        """Each setting with the name of its environment variable, "" where it has none."""
        prefix = f"{self.table}." if self.table else ""
        for each in settings_of(self.model, prefix, _elsewhere(self.model)):
            variable = self.environment + each.name.replace(".", "__").upper() if self.environment else ""
            yield each, variable

    def markdown(self) -> Iterator[str]:
        """The section's heading, text and table."""
        yield f"## {self.title}"
        yield self.text
        columns = ("setting", "type", "default", *(["environment"] if self.environment else []), "meaning")
        rows = ((setting, f"`{name}`") for setting, name in self.settings())
        cells = (
            (f"`{s.name}`", s.type, _default(s.default), *([name] if self.environment else []), s.meaning)
            for s, name in rows
        )
        yield table(columns, cells)


def settings_page() -> str:
    """The page of all settings."""
    return page(
        notice("the settings' models"),
        "# Settings",
        _INTRODUCTION,
        *(part for section in SECTIONS for part in section.markdown()),
    )


def environment_of(model: type[BaseSettings]) -> str:
    """What the names of its environment variables begin with."""
    return str(model.model_config["env_prefix"])


def _default(value: str) -> str:
    return value if value in ("required", "none") else f"`{value}`"


def _elsewhere(model: type[BaseModel]) -> dict[str, str]:
    """Titles of the other models' sections, by class name."""
    return {section.model.__name__: section.title for section in SECTIONS if section.model is not model}


_TRAINING = environment_of(TrackingSettings)
SECTIONS = (
    Section(
        "Serving",
        "`tandem serve --config FILE`. The command's options of the same names win.",
        ServeSettings,
        environment=environment_of(ServeSettings),
    ),
    Section(
        "The gate",
        "`tandem gate --config FILE`: what a release has to keep before it is served.",
        GateSettings,
        environment=environment_of(GateSettings),
    ),
    Section(
        "Judgments from behaviour",
        "`tandem judgments --config FILE`: how clicks, cart adds and purchases become grades.",
        BehaviourSettings,
        environment=environment_of(BehaviourSettings),
    ),
    Section(
        "Tracking",
        "`tandem train`, `compress`, `improve` and `models`: where runs and models are recorded, as `--track` sets it.",
        TrackingSettings,
        environment=_TRAINING,
    ),
    Section(
        "Training the bi-encoder",
        "`tandem train encoder --config FILE`.",
        EncoderTraining,
        "encoder",
        _TRAINING,
    ),
    Section(
        "Training the cross-encoder",
        "`tandem train ranker --config FILE`.",
        RankerTraining,
        "ranker",
        _TRAINING,
    ),
    Section(
        "Bases",
        "`tandem train --config FILE`, with a recipe too: where the models that training starts from are looked for.",
        BaseSources,
        "bases",
        _TRAINING,
    ),
    Section("A base of your own", "One of `models`: `[[bases.models]]`.", Base),
    Section(
        "Mining hard negatives",
        "`tandem train encoder --mine --config FILE`, and the same for the ranker.",
        Mining,
        "mining",
        _TRAINING,
    ),
    Section(
        "Training the final score",
        "`tandem train final --config FILE`.",
        FinalTraining,
        "final",
        _TRAINING,
    ),
    Section(
        "Learning lists for people",
        "`tandem train users --config FILE`.",
        UserTraining,
        "users",
        _TRAINING,
    ),
    Section(
        "Candidates of a source of recommendations",
        "`limits` of `[users]`, under which the order of recommendations is learned.",
        Limits,
        "users.limits",
    ),
    Section(
        "Compressing the bi-encoder",
        "`tandem compress encoder --config FILE`.",
        EncoderDistillation,
        "student",
        _TRAINING,
    ),
    Section(
        "Compressing the cross-encoder",
        "`tandem compress ranker --config FILE`.",
        RankerDistillation,
        "student",
        _TRAINING,
    ),
    Section(
        "Feed mapping: catalog",
        "`[catalog]` of the file that `tandem index --mapping` names: whose products these are.",
        CatalogSettings,
    ),
    Section(
        "Feed mapping: fields",
        "`[fields]` has one entry for each product field: the name of a column, or a table of these.",
        FieldSource,
    ),
    Section(
        "Feed mapping: attributes",
        "`[attributes]` names the columns that become attributes by patterns with `*` and `?`.",
        AttributeRules,
    ),
    Section(
        "The vector index",
        "`--recall-target`, `--exact-budget-ms` and `--index-kind` of `tandem index`; the others in Python alone.",
        IndexSettings,
    ),
    Section(
        "Recipes",
        "Functions in `lifecycle/recipes/builtin.py` return these; a recipe is not read from a file.",
        Recipe,
    ),
    Section("A recipe's source", "One of `sources`.", RecipeSource),
)
