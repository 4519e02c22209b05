"""The overlay follows a real log: what is appended anywhere becomes visible here, whatever goes wrong on the way."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from live_states import HashingModels, PlainSegments, delete, live_state, product, update, upsert

from catalog.change_log.file import FileChangeLog
from catalog.changes import Change, NewEntry
from catalog.view import CatalogView
from core.errors import ReleaseError
from retrieval.live.overlay import Overlay
from retrieval.live.state import LiveState

BASE = [product("a", "lamp"), product("b", "sofa")]
SECONDS = 20.0


class Following:
    """An overlay of two products, with the views that it published, and a log that somebody else writes."""

    def __init__(self, folder: Path, models: HashingModels | None = None) -> None:
        self.views: list[CatalogView] = []
        self.models = models or HashingModels()
        self.segments = PlainSegments()
        self.log, self.elsewhere = FileChangeLog(folder), FileChangeLog(folder)
        self.overlay = Overlay(self.state, self.log, "release r", self.views.append)

    def state(self) -> LiveState:
        return live_state(BASE, self.segments, self.models)

    def append(self, *changes: Change, request_id: str = "") -> int:
        [entry] = self.elsewhere.append([NewEntry(1, request_id, changes)])
        return entry.revision

    def titles(self) -> list[str]:
        view = self.views[-1]
        alive = view.mask(None)
        return sorted(view.row(row)["title"] for row in range(view.rows) if alive is None or alive[row])

    def close(self) -> None:
        self.overlay.close()
        for log in (self.log, self.elsewhere):
            log.close()


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    following = Following(tmp_path)
    yield following
    following.close()


def test_a_release_is_brought_up_to_date_in_one_view(following: Following) -> None:
    following.append(upsert(product("c", "desk")))
    following.append(delete("a"))
    following.overlay.catch_up()
    assert following.titles() == ["desk", "sofa"] and [view.revision for view in following.views] == [2]
    assert following.overlay.revision == 2 and following.overlay.fresh == 1


def test_what_others_append_becomes_visible(following: Following) -> None:
    following.overlay.catch_up()
    following.overlay.start()
    revision = following.append(upsert(product("c", "desk")), request_id="r1")
    following.overlay.visible(revision).result(SECONDS)
    assert following.titles() == ["desk", "lamp", "sofa"]
    answer = following.overlay.answer("r1")
    assert answer is not None and answer.revision == revision
    assert following.overlay.row("c") == product("c", "desk") and following.overlay.row("x") is None
    following.overlay.visible(revision).result(0)


def test_whoever_gave_up_waiting_holds_up_nobody(following: Following) -> None:
    following.overlay.catch_up()
    following.overlay.start()
    gone, waits = following.overlay.visible(1), following.overlay.visible(1)
    assert gone.cancel()
    following.append(delete("a"))
    waits.result(SECONDS)


def test_closing_ends_the_waiting(following: Following) -> None:
    following.overlay.catch_up()
    following.overlay.start()
    waits = following.overlay.visible(1)
    following.overlay.close()
    with pytest.raises(CancelledError):
        waits.result(SECONDS)
    with pytest.raises(CancelledError):
        following.overlay.visible(1).result(SECONDS)


def test_a_turn_that_fails_is_taken_again_from_the_beginning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class FailsOnce(HashingModels):
        failed = False

        def embed(self, texts: object) -> object:  # type: ignore[override]
            if not self.failed:
                self.failed = True
                raise RuntimeError("out of memory")
            return super().embed(texts)  # type: ignore[arg-type]

    following = Following(tmp_path, FailsOnce())
    following.overlay.catch_up()
    following.overlay.start()
    following.append(upsert(product("c", "desk"), 7), update("a", 2, price_micros=3))
    following.overlay.visible(1).result(SECONDS)
    assert following.titles() == ["desk", "lamp", "sofa"], "the versions of the failed turn do not make it stale"
    assert "changes are not applied, until that works again: out of memory" in caplog.text
    following.close()


def test_segments_are_merged_while_changes_come(following: Following) -> None:
    following.overlay.catch_up()
    following.overlay.start()
    for number in range(60):
        revision = following.append(upsert(product(f"n{number:02}", f"new {number:02}")))
        following.overlay.visible(revision).result(SECONDS)
    assert following.titles() == ["lamp", *(f"new {number:02}" for number in range(60)), "sofa"]
    assert any(call == "merge" for call, _ in following.segments.calls)
    assert len(following.views[-1].segments) < 20


def test_a_release_whose_changes_were_dropped_is_refused(tmp_path: Path) -> None:
    before = FileChangeLog(tmp_path, rotate_bytes=1)
    before.append([NewEntry(1, "", (delete("a"),)) for _ in range(1)])
    before.append([NewEntry(1, "", (delete("b"),)) for _ in range(1)])
    before.append([NewEntry(1, "", (delete("b"),)) for _ in range(1)])
    before.drop(2)
    assert before.bounds()[0] > 1
    before.close()
    following = Following(tmp_path)
    with pytest.raises(ReleaseError, match="release r: the changes since it was made cannot be read"):
        following.overlay.catch_up()
    following.close()
