"""What understanding a query does: negations on real catalogs.

    python -m benchmarks.understanding --releases FOLDER

Asks each query of `negation_queries.json` of the catalogs `icecat` and `hm` (releases made by `tandem index` with the
mappings of `lifecycle/recipes/mappings`), with understanding off and soft, and counts the products among the first ten
whose title, facts or description hold what the query negates, by a pattern written by hand. Parameters and results go
to `benchmarks/results/understanding_negations.json`.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common import save
from core.plan import Plan
from core.releases import ReleaseStore
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.understanding.result import OFF, SOFT
from retrieval.wire.request import Query

_FIRST = 10
_FIELDS = ("title", "brand", "product_type", "color", "size", "material", "description", "attributes")
_NEGATIONS = Path(__file__).with_name("negation_queries.json")


def main() -> None:
    """Measures the releases in service."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--releases", type=Path, required=True, help="Folder of the releases.")
    options = parser.parse_args()
    queries = json.loads(_NEGATIONS.read_text())
    store = ReleaseStore(options.releases)
    rows = []
    for catalog in sorted(set(store.catalogs()) & set(queries)):
        release = open_place(find_release(store, catalog, CURRENT))
        rows += asyncio.run(_negations(release, catalog, queries[catalog]))
        release.retire()
    off, soft = (sum(row[mode] for row in rows) for mode in (OFF, SOFT))
    results = {"off": off, "soft": soft, "ratio": soft / max(off, 1), "queries": rows}
    path = save("understanding_negations", {"queries": len(rows), "first": _FIRST}, results)
    console = Console()
    for row in rows:
        console.print(f"{row['catalog']:>7} {row['off']:>3} {row['soft']:>3}  {row['query']}", highlight=False)
    console.print(f"{len(rows)} negations: {off} products with what is negated without, {soft} with; {path}")


async def _negations(release: LoadedRelease, catalog: str, queries: Iterable[dict[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for query in queries:
        pattern = re.compile(query["holds"], re.IGNORECASE)
        row: dict[str, Any] = {"catalog": catalog, **query}
        for mode in (OFF, SOFT):
            answer = await search(Query(query["query"], _FIRST, understanding=mode), Plan(), release, Permit(), None)
            row[mode] = sum(pattern.search(_text(release, hit.row)) is not None for hit in answer.hits)
        rows.append(row)
    return rows


def _text(release: LoadedRelease, row: int) -> str:
    """All that a product says of itself, a line a field."""
    product = release.view.row(row, _FIELDS)
    facts = (value for _, value in product.pop("attributes") or ())
    return "\n".join(filter(None, (*product.values(), *facts)))


if __name__ == "__main__":
    main()
