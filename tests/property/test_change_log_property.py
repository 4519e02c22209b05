"""A change log against a plain list, whatever is appended, read and dropped, by whichever of two processes' logs."""

import shutil
import tempfile
from pathlib import Path

from changes import entry
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalog.change_log.file import FileChangeLog
from core.errors import ChangeLogError, EntriesDropped

_WHO = st.sampled_from([0, 1])


class ChangeLogs(RuleBasedStateMachine):
    """The model: the ids of all entries, and how many may have been dropped."""

    @initialize(rotate=st.sampled_from([1, 300, 1000, 1 << 20]))
    def start(self, rotate: int) -> None:
        self.folder, self.rotate = Path(tempfile.mkdtemp(prefix="changes-")), rotate
        self.logs = [self.open(), self.open()]
        self.plain: list[str] = []
        self.dropped = 0

    def open(self) -> FileChangeLog:
        return FileChangeLog(self.folder / "log", self.rotate)

    def teardown(self) -> None:
        for log in self.logs:
            log.close()
        shutil.rmtree(self.folder)

    @rule(who=_WHO, count=st.integers(1, 6), size=st.sampled_from([0, 100, 2000]))
    def append(self, who: int, count: int, size: int) -> None:
        names = [f"{len(self.plain) + place}{'x' * size}" for place in range(count)]
        revisions = [one.revision for one in self.logs[who].append([entry(name) for name in names])]
        assert revisions == list(range(len(self.plain) + 1, len(self.plain) + count + 1))
        self.plain += names

    @rule(who=_WHO, after=st.integers(0, 60), most=st.integers(1, 10))
    def read(self, who: int, after: int, most: int) -> None:
        try:
            entries = self.logs[who].read(after, most)
        except EntriesDropped as error:
            assert after < self.dropped and error.first <= self.dropped + 1
        except ChangeLogError:
            assert after > len(self.plain)
        else:
            expected = list(enumerate(self.plain, 1))[after : after + most]
            assert [(one.revision, one.request_id) for one in entries] == expected

    @rule(who=_WHO, through=st.integers(0, 60))
    def drop(self, who: int, through: int) -> None:
        self.logs[who].drop(through)
        self.dropped = max(self.dropped, min(through, len(self.plain)))

    @rule(who=_WHO)
    def open_again(self, who: int) -> None:
        self.logs[who].close()
        self.logs[who] = self.open()

    @rule(who=_WHO, junk=st.binary(min_size=1, max_size=60))
    def cut_off(self, who: int, junk: bytes) -> None:
        """A writer that dies in the middle of a write."""
        if newest := sorted((self.folder / "log").glob("*.log")):
            with newest[-1].open("ab") as file:
                file.write(b"TFr1"[: len(junk)] + junk[4:])

    @invariant()
    def both_see_the_same(self) -> None:
        if hasattr(self, "logs"):
            bounds = {log.bounds() for log in self.logs}
            assert len(bounds) == 1
            [(first, last)] = bounds
            assert last == len(self.plain) and 1 <= first <= self.dropped + 1


TestChangeLogs = ChangeLogs.TestCase
TestChangeLogs.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
