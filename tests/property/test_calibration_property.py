"""Whatever it is fitted to, isotonic calibration keeps the order of pairs and gives probabilities."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranker.calibration import Calibration
from ranker.ranker import RankerSpec
from ranker.train.calibrate import calibrate, isotonic_knots

CHANCES = st.floats(0, 1, width=32)
PAIRS = st.lists(st.tuples(CHANCES, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60)
LOGITS = st.floats(-20, 20, width=32)


@given(PAIRS)
def test_knots_rise_from_0_to_1(pairs: list[tuple[float, float]]) -> None:
    knots = np.array(isotonic_knots(*np.array(pairs, float).T))
    assert knots[0, 0] == 0 and knots[-1, 0] == 1
    assert (np.diff(knots, axis=0) > 0).all() and knots.min() >= 0 and knots.max() <= 1
    spec = RankerSpec(precision="fp32", base="toy", knots=tuple(map(tuple, knots.tolist())))  # which refuses others
    assert RankerSpec.model_validate_json(spec.model_dump_json()).calibration == spec.calibration


@given(PAIRS, st.lists(LOGITS, min_size=2, max_size=30), st.floats(0.01, 5))
def test_pairs_keep_their_order(pairs: list[tuple[float, float]], logits: list[float], slope: float) -> None:
    knots = isotonic_knots(*np.array(pairs, float).T)
    logit = np.sort(np.array(logits))
    plain, bent = (Calibration(slope, 0.0, 0.0, k).probabilities(logit, 0 * logit) for k in ((), knots))
    assert ((bent >= 0) & (bent <= 1)).all() and (np.diff(bent) >= 0).all()
    apart = np.diff(plain) > 1e-9
    assert (np.diff(bent)[apart] >= 0.0199 * np.diff(plain)[apart]).all()


@given(st.lists(st.tuples(LOGITS, st.floats(-1, 1, width=32), st.sampled_from([0.0, 0.5, 1.0])), min_size=2))
def test_any_pairs_can_be_calibrated(pairs: list[tuple[float, float, float]]) -> None:
    logits, similarities, labels = np.array(pairs, float).T
    result = calibrate(labels, logits, similarities)
    assert result.slope > 0 and result.similarity >= 0
    chances = result.probabilities(logits, similarities)
    assert ((chances >= 0) & (chances <= 1)).all()
