"""Opens releases, each in a process of bounded memory, and prints what came of each, as JSON.

PYTHONPATH=.:protos python tests/open_releases.py ROOT CATALOG RELEASE...
"""

import json
import os
import resource
import sys
from pathlib import Path

from core.releases import ReleaseStore
from retrieval.release.loaded import open_release

_MOST_BYTES = 4 << 30


def open_bounded(store: ReleaseStore, catalog: str, release: str) -> dict[str, object]:
    """The kind of error that opening ended by and its text, and the peak of memory above what there was, in bytes."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kind = text = ""
        try:
            open_release(store.path(catalog, release), store.verify(catalog, release))
        except Exception as error:
            kind, text = type(error).__name__, str(error)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        os.write(writing, json.dumps({"kind": kind, "text": text, "peak": peak}).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(data) if data else {"kind": f"ended by {status}", "text": "", "peak": 0}


def main() -> None:
    """Opens each."""
    root, catalog, *releases = sys.argv[1:]
    store = ReleaseStore(Path(root))
    print(json.dumps({release: open_bounded(store, catalog, release) for release in releases}))


if __name__ == "__main__":
    main()
