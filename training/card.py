"""The model card of a checkpoint, by sentence-transformers' own generator: no network, and no text of the shop."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.export import base_name

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

CARD_FILE = "README.md"
_BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"

# The generator's samples of the training rows: three queries and products in plain text.
_ROWS = ("examples", "examples_table", "_example_columns")


def prepare_card(model: "BaseModel", base: str | None) -> None:
    """Names what the model starts from; before its trainer is made, which fills the card while it trains."""
    card = model.model_card_data
    card.local_files_only = True
    card.generate_widget_examples = False
    card.widget = [{}]  # else the trainer takes examples from the shop's judgments
    card.train_datasets = [{"name": "judged products"}]
    if base is None or not Path(base).exists():
        card.base_model = base or _BUNDLED
    else:  # no link to the hub
        card.model_name = f"{type(model).__name__} based on {base_name(base)}"


def keep_card(trained: "BaseModel", model: "BaseModel") -> None:
    """Copies the trained model's card to the one that replaces it."""
    model.model_card_data = trained.model_card_data
    model.model_card_data.register_model(model)


def write_card(model: "BaseModel", folder: Path, scores: Mapping[str, float], language: str | None) -> None:
    """Writes `README.md` beside the checkpoint; `scores` are those of the weights that were kept."""
    from sentence_transformers.base.model_card import generate_model_card

    card = model.model_card_data
    card.widget = []
    if language:
        card.set_language(language)
    for dataset in card.train_datasets:
        for name in _ROWS:
            dataset.pop(name, None)
    results: dict[Any, Any] = card.eval_results_dict or {}
    for evaluator in results:
        results[evaluator] = dict(scores)
    (folder / CARD_FILE).write_text(generate_model_card(model), "utf-8")
