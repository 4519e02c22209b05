"""The row of the whole service, tiny and on a processor: real service and client processes, their answers checked."""

from pathlib import Path

import pytest

from benchmarks.gpu_rows import service
from benchmarks.gpu_rows.bench import SMALL, Bench
from core.errors import TandemError


def test_services_are_asked_and_their_answers_checked(tmp_path: Path) -> None:
    reported = service.service(Bench("cpu", SMALL, tmp_path))
    [rate] = reported["rates"]
    assert rate["statuses"] == {"OK": sum(rate["statuses"].values())} and rate["rescored_each"] == 100
    assert reported["least_similarity_overlap"] >= 0.9 and reported["products"] == SMALL.products
    assert reported["highest_queries_per_s"] == (rate["answered_per_s"] if rate["holds"] else 0)


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(TandemError, match=r"did not start: (?s:.*)no release can be served"),
        service._serving(Bench("cpu", SMALL, tmp_path), tmp_path) as started,
    ):
        service._wait(started)
