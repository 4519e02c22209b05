"""The Python that README and guides show, run against a served release; and what commands print, beside the guide."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shops import command, environment, process

from core.releases import ReleaseStore

ROOT = Path(__file__).resolve().parents[2]
ADDRESS, TIMEOUT = "127.0.0.1:50051", "timeout=0.5"


@pytest.fixture(scope="module")
def address(indexed: ReleaseStore) -> Iterator[str]:
    with process("serve", "--releases", indexed.root, "--address", "127.0.0.1:0") as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]


def printed(page: str, address: str) -> list[str]:
    """The lines that the page's Python prints."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    assert ADDRESS in snippet and TIMEOUT in snippet
    code = snippet.replace(ADDRESS, address).replace(TIMEOUT, "timeout=30")  # a busy machine is no failure
    run = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_the_client_of_the_guide_prints_hits(address: str) -> None:
    lines = printed("docs/guides/search.md", address)
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert all(re.fullmatch(r"\d (red|blue|green|black|white) [a-z ]+ \S+", line) for line in lines)


def test_the_client_of_the_readme_prints_totals_facets_and_two_pages(address: str) -> None:
    """Twenty of thirty products cost less than 20, ten of them less than 10; none has a brand or a group."""
    total, brands, prices, *hits = printed("README.md", address)
    assert (total, brands, prices) == ("20 products match, in 20 groups", "brand [] []", "price [] [10, 10]")
    assert [line.split()[0] for line in hits] == [str(rank) for rank in range(1, 11)]
    titles = [re.fullmatch(r"\d+ ((?:red|blue|green|black|white) [a-z ]+) 1", line) for line in hits]
    assert all(titles) and len({title[1] for title in titles if title}) == 10


@pytest.mark.parametrize("name", ["python", "node"])
def test_the_examples_print_totals_facets_and_two_pages(name: str, address: str) -> None:
    """That in Node.js only where its packages are installed."""
    if name == "node" and not ((ROOT / "examples/node/node_modules").exists() and shutil.which("node")):
        pytest.skip("npm install --prefix examples/node")
    program = [sys.executable, "examples/search.py"] if name == "python" else ["node", "examples/node/search.js"]
    options = ["red mug", address, "30"]  # seconds
    run = subprocess.run([*program, *options], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert "20 products match, in 20 groups" in lines
    assert "price: 0 to 10 (10), 10 to 20 (10)" in lines
    assert [line.split(".")[0] for line in lines if re.match(r"\d+\. ", line)] == [str(rank) for rank in range(1, 11)]


RELEASE = re.compile(r"r-\d{8}T\d{6}Z-[0-9a-f]{8}")


def shown(page: str, beginning: str) -> list[str]:
    """The lines of the page's block of output that begins so, with release ids as R."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    (block,) = (block for language, block in blocks if not language and block.startswith(beginning))
    return RELEASE.sub("R", block).splitlines()


def tandem(*arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines of both outputs."""
    run = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, timeout=120)
    return run.returncode, RELEASE.sub("R", run.stdout).splitlines(), run.stderr.splitlines()


def test_indexing_prints_what_the_guide_shows(encoder_dir: Path, tmp_path: Path) -> None:
    """A feed with a row without title, a repeated id, a price and an availability that nobody can read."""
    feed = tmp_path / "bad.csv"
    feed.write_text(
        'id,title,price,availability\n1,Red mug,"12,90 €",in stock\n2,,5.00 EUR,in stock\n'
        "3,Blue mug,about ten,in stock\n3,Blue mug large,7.00 EUR,\n",
        "utf-8",
    )
    releases = tmp_path / "releases"
    index = ("index", "--catalog", feed, "--encoder", encoder_dir, "--releases", releases, "--name", "shop")

    status, _, errors = tandem(*index)
    quarantine = releases / "catalogs/shop/work/quarantine.parquet"
    expected = shown("docs/guides/catalog.md", "tandem: bad.csv")
    assert status == 2
    assert [errors[-1].replace(str(feed), "bad.csv").replace(str(quarantine), "…/work/quarantine.parquet")] == expected

    status, lines, _ = tandem(*index, "--max-rejected", 0.5)
    expected = shown("docs/guides/catalog.md", "feed: rows read")
    assert status == 0 and lines[-len(expected) :] == expected

    status, lines, _ = tandem(*index, "--max-rejected", 0.5)
    assert (status, lines) == (0, ["nothing changed: release R stays"])
    assert "`nothing changed: release … stays`" in (ROOT / "docs/guides/catalog.md").read_text("utf-8")
