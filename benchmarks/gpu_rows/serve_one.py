"""One service process of a GPU measurement: `python -m benchmarks.gpu_rows.serve_one RELEASES ADDRESS DEVICE`.

On a GPU it is what `tandem serve --device cuda` runs; elsewhere the same runners stand on a processor.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.cache import Caches
from engine.embedded import GPU_BATCHES, EmbeddedEngine
from engine.gpu.index import exact_index
from engine.gpu.packed import PackedModel
from engine.protocol import Engine
from engine.vector.index import VectorIndex
from indexer.publish import INDEX_FILE
from ranker.ranker import Ranker
from retrieval.release.engines import engine_maker
from retrieval.release.loaded import open_release
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings


def main() -> None:
    """Serves until it is stopped."""
    releases, address, device = sys.argv[1:]
    settings = ServeSettings.model_validate({"releases": releases, "address": address, "device": device})
    make = engine_maker(settings) if device == "cuda" else partial(_stand_in, device)
    manager = ReleaseManager(
        ReleaseStore(settings.releases), open=partial(open_release, make_engine=make, caches=Caches())
    )
    asyncio.run(_serve(settings, manager))


def _stand_in(device: str, folder: Path, manifest: Manifest, tower: BiEncoder, ranker: Ranker | None) -> Engine:
    index = VectorIndex.open(folder / INDEX_FILE, manifest.snapshot.index)
    query = PackedModel.open(tower.model_path("query"), device)
    scorer = PackedModel.open(ranker.model_path, device) if ranker is not None else None
    return EmbeddedEngine(query, exact_index(index, [device]), scorer, lanes=1, batches=GPU_BATCHES)


async def _serve(settings: ServeSettings, manager: ReleaseManager) -> None:
    async with run_server(settings, manager):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
