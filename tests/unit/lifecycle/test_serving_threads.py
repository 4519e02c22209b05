"""A serving process computes small products of matrices on one thread."""

import os
from collections.abc import Callable
from typing import Any

import pytest

import retrieval.server.main
from lifecycle.serving import run_service
from retrieval.server.settings import ServeSettings


@pytest.mark.parametrize(("before", "inside"), [(None, "1"), ("4", "4")])
def test_matrix_products_have_one_thread_unless_the_operator_says_otherwise(
    before: str | None, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", before or "")
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    seen: list[str | None] = []

    async def serve(settings: ServeSettings, ready: Callable[..., Any]) -> None:
        seen.append(os.environ.get("OPENBLAS_NUM_THREADS"))

    monkeypatch.setattr(retrieval.server.main, "serve", serve)
    run_service(ServeSettings(), lambda *_: None)
    assert seen == [inside]
