"""What the cross-encoder learns from: lists of first products with soft labels, as much as there is time for."""

import numpy as np
import pytest

from lifecycle.adapt.labels import LabelledQueries, Pools, vote
from lifecycle.adapt.queries import ShopQuery
from lifecycle.adapt.ranker_fit import Affordable, soft_labels
from lifecycle.adapt.voters import SCORED
from training.examples import POOR


def test_labels_are_the_known_ones_and_below_them_what_the_ensemble_thinks() -> None:
    rows = np.array([[*range(20)], [5, 6, *[-1] * 18]])
    scores = np.where(rows >= 0, -np.arange(20.0), -np.inf).astype(np.float32)
    none = np.zeros(rows.shape, np.float32)
    pools = Pools(rows, {"words": scores}, none, none > 0)
    labels = vote(pools, {"words": 1.0})
    queries = [ShopQuery("mug", "words", 15), ShopQuery("lamp", "words", 6), ShopQuery("zzz", "head")]
    known = LabelledQueries({"mug": {3: 0.4, 14: 0.4, 15: 1.0}, "lamp": {6: 1.0}}, {"mug": [16, 17]})
    soft = soft_labels(queries[:2], pools, labels, known)
    assert list(soft) == ["mug", "lamp"]
    # The first as served, and the known product though it is none of them; what fits as well only if it is one.
    assert set(soft["mug"]) == {*range(SCORED), 15}
    assert soft["mug"][15] == 1.0 and soft["mug"][3] == 0.4
    assert soft["mug"][0] == pytest.approx(POOR) and soft["mug"][SCORED - 1] == 0.0
    middle = (1 / 62 - 1 / 72) / (1 / 61 - 1 / 72)  # of reciprocal ranks of the first, second and last
    assert soft["mug"][1] == pytest.approx(POOR * middle, rel=1e-3)
    assert soft["lamp"] == pytest.approx({5: POOR, 6: 1.0})


def test_steps_and_validation_fit_the_time() -> None:
    """Of 100 s: 30 for steps of 32 pairs (a quarter more than measured), 6 for three validations, 8 for lists."""
    assert Affordable.within(100, 0.01, 320).steps == 75
    assert Affordable.within(100, 0.01, 320).validation_pairs == 600
    assert Affordable.within(100, 0.01, 320).mixed == 80
    none = Affordable.within(-5, 0.01, 320)
    assert (none.steps, none.mixed) == (0, 0)
    assert Affordable.within(1e6, 0.01, 320).mixed == 400
