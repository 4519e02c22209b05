"""From the version of a commit to this one and back: two replicas, one after the other, while a client calls."""

import asyncio
import itertools
import json
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from redis_servers import free_port
from shops import ROOT, write_feed
from torture import SCALE, amount

from core.releases import ReleaseStore
from tandem.client import service_config
from tandem.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    recommend_pb2,
    recommend_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

BEFORE = "4556b14ea1086cb348ae2f9265489e6146fa5ded"
"""The commit of the version before: nothing of deployment, identity or telemetry was there."""
RULES = '[[rules]]\nid = "lamp-first"\nwhen = { queries = ["kettle"] }\npin = ["a-20"]\n'
THINGS = ("kettle", "lamp", "boots", "drill", "sheet", "hose")

pytestmark = [pytest.mark.torture, pytest.mark.skipif(not SCALE, reason="a long form: make torture")]


class Version:
    """A tree of this project, whose command runs with this environment's packages."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def start(self, *arguments: object, log: Path | None = None) -> "subprocess.Popen[str]":
        output = log.open("a") if log else subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=self.tree,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{self.tree}:{self.tree / 'protos'}", "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: object) -> str:
        """What the command prints. It has to succeed."""
        process = self.start("-m", "lifecycle.cli", *arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Version:
    packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the commit {BEFORE[:7]} is not in this clone")
    tree = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as files:
        files.extractall(tree, filter="data")
    return Version(tree)


@pytest.fixture
def new() -> Version:
    return Version(ROOT)


@dataclass
class Shop:
    """A folder of releases, two replicas of it, and what a client saw."""

    folder: Path
    ports: tuple[int, int]
    replicas: dict[int, "subprocess.Popen[str]"] = field(default_factory=dict)
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    releases: set[str] = field(default_factory=set)

    @property
    def root(self) -> Path:
        return self.folder / "releases"

    async def start(self, version: Version, number: int) -> None:
        """Starts a replica and waits until it serves."""
        port = self.ports[number]
        log = self.folder / f"{number}.log"
        words = ("serve", "--releases", self.root, "--address", f"127.0.0.1:{port}", "--lanes", 1)
        self.replicas[number] = version.start("-m", "lifecycle.cli", *words, log=log)
        async with asyncio.timeout(120), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ready = asyncio.ensure_future(channel.channel_ready())
            while not ready.done():
                assert self.replicas[number].poll() is None, log.read_text()
                await asyncio.wait([ready], timeout=0.1)

    async def stop(self, number: int) -> None:
        """As a pod is ended: with time for its calls."""
        self.replicas[number].terminate()
        assert await asyncio.to_thread(self.replicas[number].wait, 30) == 0

    async def roll(self, version: Version) -> None:
        """Replaces the replicas by those of another version, one after the other."""
        for number in range(len(self.ports)):
            await self.stop(number)
            await self.start(version, number)

    def channel(self) -> grpc.aio.Channel:
        """To both replicas in turns, with the standard retries."""
        policy = json.loads(service_config()) | {"loadBalancingConfig": [{"round_robin": {}}]}
        options = [("grpc.service_config", json.dumps(policy)), ("grpc.max_reconnect_backoff_ms", 500)]
        target = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return grpc.aio.insecure_channel(f"ipv4:{target}", options=options)

    async def search(self, channel: grpc.aio.Channel, query: str, revision: int = 0) -> search_pb2.SearchResponse:
        """The answer of the replica whose turn it is."""
        request = search_pb2.SearchRequest(query=query, top_k=5, least_revision=revision)
        return await search_pb2_grpc.SearchServiceStub(channel).Search(request, timeout=10, wait_for_ready=True)

    async def _call(self, channel: grpc.aio.Channel) -> None:
        for count in itertools.count():
            try:
                answer = await self.search(channel, f"{THINGS[count % len(THINGS)]} {count}")
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{error.code().name}: {error.details()}")
            else:
                self.answers += 1
                self.releases.add(answer.release_id)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[grpc.aio.Channel]:
        """Four clients search while the block runs; none of their calls may fail."""
        async with self.channel() as channel:
            calling = [asyncio.create_task(self._call(channel)) for _ in range(4)]
            try:
                yield channel
            finally:
                for task in calling:
                    task.cancel()
                await asyncio.gather(*calling, return_exceptions=True)
        assert self.failures == [] and self.answers > 20


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    made = Shop(folder, (free_port(), free_port()))
    try:
        yield made
    finally:
        for process in made.replicas.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


EXPORT = (
    "import sys; from pathlib import Path; from encoder.bundled import export_bundled; "
    "from ranker.train.export import export_ranker; folder = Path(sys.argv[1]); "
    "export_bundled(folder / 'encoder'); export_ranker(None, folder / 'ranker')"
)


async def upsert(channel: grpc.aio.Channel, product: str, title: str) -> int:
    """The revision from which on the product is there."""
    fields = search_pb2.Product(title=title)
    request = catalog_pb2.UpsertRequest(products=[catalog_pb2.ProductUpsert(product_id=product, product=fields)])
    answer = await catalog_pb2_grpc.CatalogServiceStub(channel).Upsert(request, timeout=30, wait_for_ready=True)
    return answer.revision


async def remember(channel: grpc.aio.Channel, *products: str) -> int:
    """Adds products to a shopper's profile; how many the list was made of."""
    user = search_pb2.UserContext(user_id="someone", remember=bool(products))
    user.products.extend(search_pb2.UserProduct(product_id=each) for each in products)
    request = recommend_pb2.RecommendRequest(user=user, top_k=3)
    stub = recommend_pb2_grpc.RecommendServiceStub(channel)
    return (await stub.Recommend(request, timeout=30, wait_for_ready=True)).products_used


async def check_all(made: Shop, channel: grpc.aio.Channel, revision: int, *upserted: str) -> None:
    """Either replica has the products, whichever version took them, the rules, and the profile."""
    for _ in made.ports:
        for product in upserted:
            assert (await made.search(channel, f"{product} teapot", revision)).hits[0].product_id == product
        assert (await made.search(channel, "kettle")).hits[0].product_id == "a-20"
        assert await remember(channel) == 1


async def index(version: Version, made: Shop, *more: object) -> str:
    """The release that a job of the version publishes."""
    feed = made.folder / "a.jsonl"
    await asyncio.to_thread(version.run, "index", "--catalog", feed, "--releases", made.root, *more)
    release = ReleaseStore(made.root).current("default")
    assert release is not None
    return release


async def served(made: Shop, channel: grpc.aio.Channel, release: str) -> None:
    """Waits until both replicas answer from the release."""
    async with asyncio.timeout(60):
        while {(await made.search(channel, "lamp")).release_id for _ in range(4)} != {release}:
            await asyncio.sleep(0.1)


async def test_a_service_goes_to_this_version_and_back_without_a_failed_call(
    old: Version, new: Version, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    write_feed(tmp_path / "a.jsonl", "a-")
    (tmp_path / "rules.toml").write_text(RULES)
    process = old.start("-c", EXPORT, models)
    assert process.wait(120) == 0
    with shop(tmp_path) as made:
        await index(old, made, "--encoder", models / "encoder", "--ranker", models / "ranker")
        old.run("rules", "publish", tmp_path / "rules.toml", "--releases", made.root)
        await asyncio.gather(*(made.start(old, number) for number in range(2)))
        async with made.load() as channel:
            await upsert(channel, "old", "old teapot")
            await remember(channel, "a-7")
            for number in range(amount(1, 5)):
                await made.roll(new)
                revision = await upsert(channel, f"new{number}", f"new{number} teapot")
                await check_all(made, channel, revision, "old", f"new{number}")
                await served(made, channel, await index(new, made))
                await check_all(made, channel, revision, "old", f"new{number}")
                await made.roll(old)  # which reads what this version published, logged and kept
                await check_all(made, channel, revision, "old", f"new{number}")
            assert len(made.releases) > 1
            await asyncio.to_thread(new.run, "rollback", "--releases", made.root)
            release = ReleaseStore(made.root).current("default")
            assert release in made.releases
            await served(made, channel, release)
            await check_all(made, channel, revision, "old", f"new{number}")
    print(f"{made.answers} answers from {len(made.releases)} releases, {len(made.failures)} failed")
