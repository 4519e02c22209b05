import pytest
from pydantic import ValidationError

from core.plan import MAX_TOP_K, Plan

_BOUNDS = {
    "candidates": (1, 2000),
    "lexical_candidates": (0, 2000),
    "dense_weight": (0, 10),
    "lexical_weight": (0, 10),
    "rerank_depth": (0, 500),
    "minimum_rerank": (1, 500),
    "personalisation": (0, 1),
    "exploration": (0, 0.5),
}


def test_every_knob_is_bounded() -> None:
    assert set(Plan.model_fields) == set(_BOUNDS)
    for name, (low, high) in _BOUNDS.items():
        assert getattr(Plan(**{name: low}), name) == low
        assert getattr(Plan(**{name: high}), name) == high
        for wrong in (low - 1, high + 1):
            with pytest.raises(ValidationError):
                Plan(**{name: wrong})


def test_an_unknown_knob_is_refused_and_a_plan_never_changes() -> None:
    with pytest.raises(ValidationError):
        Plan(speed=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Plan().candidates = 5  # type: ignore[misc]


def test_the_widest_answer_fits_the_widest_plan() -> None:
    assert MAX_TOP_K <= 2000
