"""The words of a release whose index another version made."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from wordings import lexical_index, titles

from core.errors import ReleaseError
from core.manifest import LexicalReport
from engine.lexical.index import FORMAT
from retrieval.release.loaded import _open_words


@pytest.mark.parametrize("version", [FORMAT, 4])
async def test_words_of_another_format_are_served_and_the_log_tells(
    tmp_path: Path, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    index = lexical_index(tmp_path, titles("red drill", "blue saw"))
    if version == 4:
        for name in ("form_lengths.npy", "backwards.npy"):
            (tmp_path / "lexical" / name).unlink()
    reported = {"weights": dict.fromkeys(index.fields, 1.0), "terms": 4}
    report = LexicalReport.model_validate(reported if version == 4 else {**reported, "format": version})
    manifest = SimpleNamespace(
        snapshot=SimpleNamespace(lexical=report, products=2), language="en", release_id="r-1", catalog="c"
    )
    with caplog.at_level(logging.WARNING):
        words = _open_words(tmp_path, manifest, SimpleNamespace(is_word=lambda _: False))  # type: ignore[arg-type]
    assert words is not None
    assert (await words.search("drill", 5)).candidates.rows.tolist() == [0]
    words.close()
    assert ("run `tandem index` again" in caplog.text) == (version == 4)


def test_words_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    report = LexicalReport(weights={"title": 1.0}, terms=4, format=FORMAT + 1)
    manifest = SimpleNamespace(snapshot=SimpleNamespace(lexical=report, products=2), release_id="r-1")
    with pytest.raises(ReleaseError, match=rf"r-1: the lexical index has format {FORMAT + 1}.*: upgrade Tandem"):
        _open_words(tmp_path, manifest, SimpleNamespace())  # type: ignore[arg-type]
