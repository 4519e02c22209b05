"""One client process of a GPU measurement: reads a task as JSON from standard input, and writes what it saw.

Calls are sent when they are due, however long others take; latency counts from then (`benchmarks/load/open_loop.py`).
"""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import numpy as np

from benchmarks.load.measured import Call
from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.schedule import Arrivals, due_times
from tandem.v1 import search_pb2


async def ask(task: dict[str, Any]) -> dict[str, Any]:
    """Offers `rate` calls/s for `seconds` after `warm` more; `queries` are drawn evenly."""
    due = due_times(task["rate"], task["warm"] + task["seconds"], Arrivals.POISSON, task["seed"])
    queries = np.random.default_rng(task["seed"]).integers(0, len(task["queries"]), len(due))
    requests = [search_pb2.SearchRequest(query=text, top_k=10).SerializeToString() for text in task["queries"]]
    async with OpenLoop(task["address"], 2, task["deadline"]) as loop:
        calls = await loop.run(due, queries, requests)
    return _seen([call for call in calls if call.due >= task["warm"]])


def _seen(calls: list[Call]) -> dict[str, Any]:
    answers = [search_pb2.SearchResponse.FromString(call.answer) for call in calls if call.answer]
    degraded = Counter(entry.reason for answer in answers for entry in answer.degraded)
    stages = [stage.candidates_out for answer in answers for stage in answer.stages if stage.name == "rescore"]
    return {
        "asked": len(calls),
        "statuses": dict(Counter(str(call.status) for call in calls)),
        "latencies": [call.latency for call in calls if call.answer],
        "late": [call.sent - call.due for call in calls],
        "degraded": {search_pb2.DegradationReason.Name(reason): count for reason, count in degraded.items()},
        "rescored_each": float(np.mean(stages)) if stages else 0.0,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(json.load(sys.stdin)))))
