import pytest

from benchmarks.load.shapes import SECONDS, Shape, users_at


def over_the_run(shape: Shape) -> list[int]:
    return [users_at(shape, 100, share / 100) for share in range(101)]


def test_steady_is_the_same_all_along() -> None:
    assert set(over_the_run(Shape.STEADY)) == {100}


def test_steps_rise_by_fifths_and_end_at_the_peak() -> None:
    assert sorted(set(over_the_run(Shape.STEP))) == [20, 40, 60, 80, 100]
    assert over_the_run(Shape.STEP) == sorted(over_the_run(Shape.STEP))
    assert users_at(Shape.STEP, 100, 1.0) == 100


def test_a_spike_stands_in_the_middle() -> None:
    users = over_the_run(Shape.SPIKE)
    assert users[0] == users[39] == users[60] == users[100] == 20
    assert set(users[40:60]) == {100}


def test_a_soak_ramps_up_and_stays() -> None:
    users = over_the_run(Shape.SOAK)
    assert users[0] == 1 and users[:5] == sorted(users[:5]) and set(users[5:]) == {100}
    assert SECONDS[Shape.SOAK] >= 10 * SECONDS[Shape.STEADY]


@pytest.mark.parametrize("shape", list(Shape))
def test_there_is_always_a_shopper(shape: Shape) -> None:
    assert all(users_at(shape, 1, share / 10) == 1 for share in range(-1, 12))
