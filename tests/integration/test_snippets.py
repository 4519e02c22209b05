"""The Python that README and guides show, run against a served release."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shops import environment, process

from core.releases import ReleaseStore

ROOT = Path(__file__).resolve().parents[2]
ADDRESS, TIMEOUT = "127.0.0.1:50051", "timeout=0.5"


@pytest.mark.parametrize("page", ["README.md", "docs/guides/search.md"])
def test_the_client_of_the_page_prints_hits(page: str, indexed: ReleaseStore) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    assert ADDRESS in snippet and TIMEOUT in snippet
    with process("serve", "--releases", indexed.root, "--address", "127.0.0.1:0") as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        code = snippet.replace(ADDRESS, address).replace(TIMEOUT, "timeout=30")  # a busy machine is no failure
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
        )
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert all(re.fullmatch(r"\d (red|blue|green|black|white) [a-z ]+ \S+", line) for line in lines)
