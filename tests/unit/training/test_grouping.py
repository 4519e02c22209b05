import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, DistilBertConfig, DistilBertModel

from training.grouping import grouped_by_length, parts_by_length

LENGTHS = (3, 9, 4, 12, 2, 7)


def batch(padding_left: bool = False) -> dict[str, torch.Tensor]:
    ids = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.int64)
    for row, length in enumerate(LENGTHS):
        place = slice(max(LENGTHS) - length, None) if padding_left else slice(0, length)
        ids[row, place] = torch.arange(1, length + 1)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def bert(kind: type = BertModel) -> torch.nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=1
    )
    return kind(config).eval()


def counted(model: torch.nn.Module, layer: torch.nn.Module) -> list[tuple[int, ...]]:
    """The shapes that pass through a layer from now on."""
    shapes: list[tuple[int, ...]] = []
    layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
    return shapes


def test_parts_hold_at_most_the_budget_and_begin_with_the_shortest() -> None:
    parts = [part.tolist() for part in parts_by_length(np.array(LENGTHS), 14)]
    # lengths 2 3 4 7 9 12: 3 x 4 = 12 <= 14 < 4 x 7; 2 x 9 > 14; 2 x 12 > 14
    assert parts == [[4, 0, 2], [5], [1], [3]]


def test_a_row_longer_than_the_budget_is_a_part_of_its_own() -> None:
    assert [part.tolist() for part in parts_by_length(np.array([50, 60]), 14)] == [[0], [1]]


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification])
def test_outputs_and_gradients_are_those_of_the_whole_batch(kind: type) -> None:
    model = bert(kind)
    whole = model(**batch())
    whole[0].pow(2).sum().backward()
    expected = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    shapes = counted(model, model.base_model.encoder)
    with grouped_by_length(model, budget=14):
        parts = model(**batch())
        loss = parts[0].pow(2).sum()
    mask = batch()["attention_mask"].bool()
    if parts[0].dim() == 3:
        torch.testing.assert_close(parts[0][mask], whole[0][mask])
    else:
        torch.testing.assert_close(parts[0], whole[0])
        loss.backward()
        for name, value in model.named_parameters():
            if name in expected:
                torch.testing.assert_close(value.grad, expected[name])
    assert shapes == [(3, 4, 16), (1, 7, 16), (1, 9, 16), (1, 12, 16)]


def test_afterwards_the_model_is_as_before() -> None:
    model = bert()
    shapes = counted(model, model.encoder)
    with grouped_by_length(model, budget=14):
        pass
    model(**batch())
    assert shapes == [(6, 12, 16)]


def test_a_batch_padded_on_the_left_is_not_cut() -> None:
    model = bert()
    whole = model(**batch(padding_left=True))
    with grouped_by_length(model, budget=14):
        parts = model(**batch(padding_left=True))
    torch.testing.assert_close(parts[0], whole[0])


def test_an_encoder_without_segments_works_too() -> None:
    torch.manual_seed(0)
    model = DistilBertModel(DistilBertConfig(vocab_size=30, dim=16, n_layers=1, n_heads=2, hidden_dim=32)).eval()
    mask = batch()["attention_mask"].bool()
    whole = model(**batch())[0]
    with grouped_by_length(model, budget=14):
        torch.testing.assert_close(model(**batch())[0][mask], whole[mask])


def test_a_model_without_a_transformers_encoder_is_left_alone() -> None:
    model = torch.nn.Linear(2, 2)
    with grouped_by_length(model):
        assert model(torch.ones(1, 2)).shape == (1, 2)
