"""Which change wins."""

import pytest
from changes import delete, entry, update, upsert

from catalog.changes import Change
from catalog.versions import Answer, ChangeRules, Outcome

A, U, S, M = Outcome.applied, Outcome.unchanged, Outcome.stale, Outcome.missing


@pytest.mark.parametrize(
    "changes",
    [
        [(upsert("a"), A), (upsert("a"), A), (update("a", price_micros=1), A), (delete("a"), A), (delete("a"), M)],
        [(upsert("a", 2), A), (upsert("a", 2), U), (upsert("a", 1), S), (update("a", 1), S), (update("a", 3), A)],
        [(delete("a", 5), A), (upsert("a", 4), S), (upsert("a", 5), U), (upsert("a", 6), A)],  # unknown, yet kept away
        [(upsert("a", 5), A), (upsert("a"), A), (upsert("a", 5), U), (delete("a"), A), (upsert("a", 4), S)],
        [(update("a", 9), M), (upsert("a", 8), A)],  # what was missing sets no version
        [(upsert("a", 5), A), (delete("a", 6), A), (update("a", 6), U), (update("a", 7), M), (upsert("a"), A)],
        [(upsert("a", 2), A), (upsert("b", 1), A), (delete("b", 1), U)],
    ],
)
def test_the_order_of_the_log_decides(changes: list[tuple[Change, Outcome]]) -> None:
    rules, there = ChangeRules(), set()
    for change, expected in changes:
        assert rules.decide(change, change.product_id in there) is expected, change
        if expected is A:
            (there.discard if change.kind == "delete" else there.add)(change.product_id)


def test_versions_go_on_from_those_of_a_release() -> None:
    rules = ChangeRules(lambda name: {"a": 3}.get(name, 0))
    assert rules.decide(upsert("a", 3), True) is U and rules.decide(upsert("b", 1), False) is A
    assert rules.decide(delete("a", 4), True) is A
    assert (rules.version("a"), rules.version("b"), rules.version("c")) == (4, 1, 0)
    assert rules.changed == {"a": 4, "b": 1}


def test_a_request_is_answered_again_until_it_is_too_old() -> None:
    rules = ChangeRules()
    rules.remember(entry("r"), 1, [A, S])
    rules.remember(entry("", upsert("x")), 2, [A])
    assert rules.repeated("r") == Answer(1, (A, S))
    assert rules.repeated("") is None and rules.repeated("other") is None
    rules.remember(entry("s"), 100_000, [A])
    assert rules.repeated("r") == Answer(1, (A, S))
    rules.remember(entry("t"), 100_001, [A])
    assert rules.repeated("r") is None and rules.repeated("s") == Answer(100_000, (A,))
