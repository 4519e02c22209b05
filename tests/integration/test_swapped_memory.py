"""What a replaced release took is free as soon as nobody uses it, without the garbage collector: `tandem serve` keeps
what is alive at a swap out of that, for good."""

import asyncio
import gc
import weakref
from pathlib import Path

from shops import index, write_feed

from core.memory import freeze_objects
from core.plan import Plan
from core.releases import ReleaseStore
from indexer.models import ModelFolders
from retrieval.live.catalogs import LiveCatalogs
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import ReleaseManager
from retrieval.server.admission import Permit
from retrieval.wire.request import Query


def parts(release: LoadedRelease) -> dict[str, weakref.ref]:
    """What of a release takes memory."""
    engine = release.engine
    assert release.words is not None and release.ranker is not None
    held = {
        "release": release,
        "engine": engine,
        "index": engine._index,  # type: ignore[attr-defined]
        "cross-encoder": engine._cross_encoder,  # type: ignore[attr-defined]
        "columns": release.columns,
        "tower": release.tower,
        "ranker": release.ranker,
        "words": release.words,
        "lexical index": release.words.index,
    }
    return {name: weakref.ref(part) for name, part in held.items()}


async def test_a_replaced_release_is_freed_at_once(store: ReleaseStore, models: ModelFolders, tmp_path: Path) -> None:
    live = LiveCatalogs(store)
    manager = ReleaseManager(store, attach=live.attach)
    await manager.refresh()
    held = parts(manager.get("default"))
    with manager.get("default").lease() as release:
        answer = await search(Query("red kettle"), Plan(), release, Permit(), None)
    assert answer.hits and not answer.degraded
    del release, answer
    index(write_feed(tmp_path / "b.jsonl", "b-"), models, store)
    gc.collect()
    gc.disable()
    try:
        await manager.refresh()
        async with asyncio.timeout(30):  # what follows changes ends its turn first
            while [name for name, part in held.items() if part() is not None]:
                await asyncio.sleep(0.02)
    finally:
        gc.enable()
        manager.close()
        live.close()


async def test_a_replaced_release_in_a_cycle_is_freed_although_the_collector_leaves_it_out(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    manager = ReleaseManager(store, poll_seconds=0.05, after_swap=freeze_objects)
    await manager.refresh()
    knot: list[object] = [manager.get("default")]
    knot.append(knot)
    release = weakref.ref(manager.get("default"))
    new = index(write_feed(tmp_path / "b.jsonl", "b-"), models, store).manifest.release_id
    watching = asyncio.create_task(manager.watch())
    try:
        async with asyncio.timeout(60):
            while manager.get("default").release_id != new:
                await asyncio.sleep(0.05)
            del knot  # not before it is among what the collector leaves out
            while release() is not None:
                await asyncio.sleep(0.05)
    finally:
        watching.cancel()
        manager.close()
        gc.unfreeze()
