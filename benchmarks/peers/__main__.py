"""Tandem beside the programs people build of libraries, in one run: speed, quality, memory, and where a peer is ahead.

    python -m benchmarks.peers [--catalog … --judgments … --encoder … --ranker …]
                               [--titles 500 --queries 50 --seconds 3]

Each peer runs in a virtual environment of its own (made once, below --environments), one after another, then Tandem.
All read the same texts, answer the same queries in the same order, retrieve 100 and rescore the same number of them;
`--encoder` and `--ranker` name the models whose fp32 weights the peers run. Tandem runs them in int8; `--served-*`
name the models of one more row, which may be compressed. Clients ask without pause, each waiting for its answer.
"""

import argparse
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import numpy as np

from benchmarks.common import RESULTS, save
from benchmarks.peers import ours, weights
from benchmarks.peers.environments import PEERS, PLAIN, SAME_PROGRAM, chosen, make_all
from benchmarks.peers.processes import Seen, run_all
from benchmarks.peers.programs.loop import Task
from benchmarks.peers.table import show, summarize_results
from benchmarks.shop import BenchShop, add_options, shop_of
from core.digest import file_digest, value_digest
from core.errors import TandemError
from core.plan import Plan
from core.releases import ReleaseStore
from indexer.models import ModelFolders

_CANDIDATES = 100


def main() -> None:
    """Runs all programs, prints the tables and saves the figures."""
    options = _parser().parse_args()
    plan = dict(_setting(each) for each in options.plan)
    peers, busy = chosen(options.peers), round(os.getloadavg()[0], 2)
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    shop = shop_of(options, options.queries)
    shop = replace(shop, store=ReleaseStore(work / "releases"))
    if options.titles:
        shop = shop.with_titles(options.titles, work)
    failed: dict[str, str] = {}
    pythons = make_all(peers, options.environments, options.torch_index, options.in_place, failed)
    rows = _variants(shop, options, plan, work)
    manifest, ready = ours.publish(shop, rows[0])
    ids, texts = shop.columns(manifest).ids(), shop.texts(manifest)
    task = _task(shop, texts, options, work)
    run = partial(run_all, ids=ids, folder=work, timeout=options.timeout, failed=failed)
    fewer = replace(task, answered=min(task.answered, options.peer_queries))
    # What is compared most runs side by side, since a machine's pace changes.
    results_by_peer = run({peer: python for peer, python in pythons.items() if peer in SAME_PROGRAM}, task)
    results_by_peer |= _ours(shop, rows, task, work, ready, failed)
    results_by_peer |= run({peer: python for peer, python in pythons.items() if peer not in SAME_PROGRAM}, fewer)
    results = summarize_results(results_by_peer, failed, shop.questions.grades, task, len(texts))
    show(results)
    parameters = {
        **{"products": len(texts), "queries": len(task.queries), "peer_queries": options.peer_queries},
        **{"candidates": task.candidates, "rescored": task.depth, "seconds": task.seconds, "plan": plan},
        **{"embedded": len(task.sample), "rounds": task.rounds, "busy_before": busy},
        "requirements": {peer.name: list(peer.requirements) for peer in peers},
    }
    print(save(options.name, parameters, results, options.output))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--served-encoder", type=Path, help="towers of the row `as served`; default: --encoder")
    parser.add_argument("--served-ranker", type=Path, help="its ranker; default: --ranker")
    parser.add_argument("--final", type=Path, help="its final score; default: none")
    parser.add_argument("--plan", nargs="*", default=[], metavar="KNOB=N", help="its plan, such as rerank_depth=32")
    parser.add_argument("--small-encoder", type=Path, help="towers of the row of an approximate index; default: served")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", default=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--environments", type=Path, default=Path(".peers"), help="folder of the peers' environments")
    parser.add_argument("--in-place", action="store_true", help=f"run {PLAIN.name} with this Python, which has it")
    parser.add_argument("--torch-index", help="package index that has torch without CUDA, where pip's own has not")
    parser.add_argument("--work", type=Path, default=Path(".peers/work"), help="for releases and vectors of the run")
    parser.add_argument("--titles", type=int, help="so many titles instead of the whole catalog")
    parser.add_argument("--queries", type=int, help="at most so many of the test queries")
    parser.add_argument("--peer-queries", type=int, default=200, help="answered by peers of another program")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="of measuring, for each number of clients and depth"
    )
    parser.add_argument("--depth", type=int, default=32, help="candidates rescored")
    parser.add_argument("--products", type=int, default=2048, help="embedded for the rate, in two rounds")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that a peer may take")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results file")
    parser.add_argument("--name", default="peers", help="of the results file")
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in Plan.model_fields or not value:
        raise TandemError(f"{text}: write a plan's knob as NAME=N; there are {', '.join(Plan.model_fields)}")
    return name, value


def _task(shop: BenchShop, texts: list[str], options: argparse.Namespace, work: Path) -> Task:
    assert shop.models.ranker is not None, "shop_of refuses to go without"
    encoder = weights.open_encoder(shop.models.encoder, work / "encoder")
    ranker = weights.open_ranker(shop.models.ranker, work / "ranker")
    made_of = [file_digest(encoder / "model.safetensors"), (encoder / "sentence_bert_config.json").read_text(), texts]
    rows = np.random.default_rng(0).choice(len(texts), min(options.products, len(texts)), replace=False)
    return Task(
        texts=texts,
        queries=shop.questions.queries,
        encoder=str(encoder),
        ranker=str(ranker),
        vectors=str(work / f"vectors-{value_digest(made_of)[:12]}.npy"),
        candidates=min(_CANDIDATES, len(texts)),
        depth=options.depth,
        sample=rows.tolist(),
        rounds=2,
        seconds=options.seconds,
        clients=[1, 8],
        answered=len(shop.questions.queries),
    )


def _variants(shop: BenchShop, options: argparse.Namespace, plan: dict[str, str], work: Path) -> list[ours.Variant]:
    served = ModelFolders(
        options.served_encoder or shop.models.encoder, options.served_ranker or shop.models.ranker, final=options.final
    )
    assert shop.models.ranker is not None, "shop_of refuses to go without"
    same, *others = ours.variants(shop.models, served, plan, options.small_encoder, options.depth)
    unmixed = ours.copy_without_mixing(shop.models.ranker, work / "heard-alone")
    return [replace(same, models=replace(same.models, ranker=unmixed)), *others]


def _ours(
    shop: BenchShop, rows: list[ours.Variant], task: Task, work: Path, ready: float | None, failed: dict[str, str]
) -> Seen:
    results_by_peer = {}
    for variant in rows:
        try:
            results_by_peer[variant.name] = ours.measure(shop, variant, task, work / "serve.log", ready)
        except (TandemError, grpc.RpcError) as error:
            failed[variant.name] = f"failed: {str(error).splitlines()[0]}"
        ready = None
    return results_by_peer


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
