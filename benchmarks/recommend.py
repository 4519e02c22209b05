"""Lists for people on H&M's purchases: the last day held out, everything learned from the days before.

    python -m benchmarks.recommend --data FOLDER --releases FOLDER [--day 2020-09-20] [--threads 1]

`FOLDER` of the data has `purchases.parquet`; the release in service is H&M's article table, indexed by any towers.
MAP@12 is that of the Kaggle challenge, the mean over all customers of the day, with or without a history. Rows are
paired with the strongest simple way (what was bought before, then variants of it, then what is popular) and with
popularity.
Parameters and results go to `benchmarks/results/recommend_hm.json`.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import save
from core.errors import TandemError
from core.releases import ReleaseStore
from evaluation.average_precision import CUTOFF, average_precision
from evaluation.comparison import paired
from lifecycle.cli.progress import Bars
from lifecycle.users.events import Behaviours, read_behaviour
from lifecycle.users.measure import (
    AGAIN,
    COVISITS,
    FINAL,
    POPULAR,
    SAME,
    Measured,
    Ranking,
    best_first,
    capped,
    intra_list_distance,
    mean_estimate,
)
from lifecycle.users.people import People, exact_search, mean_vector
from lifecycle.users.settings import UserTraining
from lifecycle.users.shop import UserShop, shop_of_release
from lifecycle.users.train import LearnedModels, learn_models
from retrieval.recommend.behaviour import DAY

_TOWER, _MEAN, _LATE = "user tower", "mean of the history's vectors", "popularity of the last day"
_NEW_DAYS = 2
_CAPS = (1, 2, 3, 4, 6, CUTOFF)
_Rows = NDArray[np.int64]


def main() -> None:
    """Learns, measures, and saves the tables."""
    options = _options()
    steps = Bars(Console(stderr=True))
    store = ReleaseStore(options.releases)
    shop = shop_of_release(store, store.named(options.name), steps)
    events, counts = read_behaviour(options.data / "purchases.parquet", shop.ids)
    if options.day:
        end = datetime.fromisoformat(options.day).replace(tzinfo=UTC).timestamp() + DAY
        events = events.take(events.time < end)
    settings = UserTraining(threads=options.threads, seed=options.seed)
    with TemporaryDirectory(dir=options.releases) as folder:
        models = learn_models(events, shop, exact_search(shop.vectors), Path(folder) / "users", settings, steps)
        measured = models.measured
        ways: dict[str, Ranking] = {**measured.ways, **_further_ways(models, shop, events)}
        results = {
            "customers": measured.summary()["users"],
            "MAP@12": _tables(measured, ways),
            "recall, with a history": measured.summary()["recall, with a history"],
            "new products": _new_products(models, events),
            "diversity": _diversity(measured, shop),
            "training": models.report["tower"],
        }
    parameters = {
        "day": options.day or "last",
        "events": counts.summary(),
        "settings": settings.model_dump(mode="json"),
    }
    print(save(options.output, parameters, results))
    for way, row in results["MAP@12"]["all"].items():
        print(f"{way}: {row['MAP@12']['mean']:.4f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with purchases.parquet")
    parser.add_argument("--releases", type=Path, required=True)
    parser.add_argument("--name", help="catalog; default: the only one there is")
    parser.add_argument("--day", default="", help="day to hold out; later ones are left out; default: the last")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="recommend_hm", help="name of the file of results")
    return parser.parse_args()


def _further_ways(models: LearnedModels, shop: UserShop, events: Behaviours) -> dict[str, Ranking]:
    """By the last day's counts; and by vectors alone, filled up by popularity where there is no history."""
    people, learned = models.measured.people, models.learned
    popular = learned.alignment.rows[learned.behaviour.popular().places][:CUTOFF]
    late = events.product[(events.time < people.time) & (events.time >= people.time - DAY)]
    last_day = np.argsort(-np.bincount(late, minlength=len(shop)), kind="stable")[:CUTOFF]
    ways = {name: Ranking() for name in (_LATE, _MEAN, _TOWER)}
    known = np.flatnonzero(people.known)
    shoppers = [models.lists.shopper(people, place) for place in known.tolist()]
    means = np.stack([mean_vector(_vectors(shopper.history.products.vectors)) for shopper in shoppers])
    nearest = {
        _MEAN: models.lists.nearest(means, CUTOFF),
        _TOWER: models.lists.nearest(models.lists.vectors(shoppers), CUTOFF),
    }
    at = {place: number for number, place in enumerate(known.tolist())}
    for place, taken in enumerate(people.taken):
        ways[_LATE].add(last_day, taken)
        for name, rows in nearest.items():
            ways[name].add(rows[at[place]] if place in at else popular, taken)
    return ways


def _vectors(vectors: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert vectors is not None
    return vectors


def _tables(measured: Measured, ways: Mapping[str, Ranking]) -> dict[str, Any]:
    """MAP@12 of each way for all customers, and for those with a history, one product in it, and none."""
    known = measured.people.known
    groups = {"all": known | True, "with a history": known, "one product": measured.one_product, "no history": ~known}
    order = (POPULAR, _LATE, AGAIN, SAME, COVISITS, _MEAN, _TOWER, FINAL)
    return {name: {way: _row(ways, way, group) for way in order} for name, group in groups.items() if group.any()}


def _row(ways: Mapping[str, Ranking], way: str, group: NDArray[np.bool_]) -> dict[str, Any]:
    values = ways[way].values[group]
    row: dict[str, Any] = {"MAP@12": asdict(mean_estimate(values))}
    row["times popularity"] = float(values.mean() / max(ways[POPULAR].values[group].mean(), 1e-12))
    for other in (POPULAR, SAME):
        if way != other:
            row[f"over {other}"] = _paired(ways[other].values[group], values)
    return row


def _paired(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Any]:
    one, two = ({str(place): value for place, value in enumerate(values.tolist())} for values in (before, after))
    comparison = asdict(paired(one, two))
    return {"difference": comparison["difference"], "p": comparison["p"]}


def _new_products(models: LearnedModels, events: Behaviours) -> dict[str, Any]:
    """Lists of new products alone, for customers who bought one: those first sold in the two days before, and those
    that nobody had bought before."""
    people = models.measured.people
    before = events.product[events.time < people.time]
    earlier = events.product[events.time < people.time - _NEW_DAYS * DAY]
    recent = np.setdiff1d(before, earlier).astype(np.int64)
    unsold = np.setdiff1d(events.product[events.time >= people.time], before).astype(np.int64)
    names = {"first sold in the last two days": recent, "never sold before": unsold}
    return {name: _of_new(models, rows) for name, rows in names.items()}


def _of_new(models: LearnedModels, rows: _Rows) -> dict[str, Any]:
    people, learned = models.measured.people, models.learned
    some = np.array([place for place, taken in enumerate(people.taken) if np.isin(taken, rows).any()], np.int64)
    buyers = people.take(some)
    popularity = np.zeros(len(rows), np.float32)
    places = learned.alignment.places[rows]
    popularity[places >= 0] = learned.behaviour.popularity[places[places >= 0]]
    popular = best_first(rows, popularity)[:CUTOFF]
    ways: dict[str, list[float]] = {POPULAR: [], _TOWER: [], FINAL: []}
    lists = models.lists.only(rows)
    for place, candidates in enumerate(lists.candidates(buyers)):
        taken = np.intersect1d(buyers.taken[place], rows).tolist()
        near = candidates.sources["user_tower"]
        own = best_first(candidates.rows, models.order.scores(candidates.features))
        listed = {POPULAR: popular, _TOWER: _filled(near, popular), FINAL: _filled(own, popular)}
        for name, ranked in listed.items():
            ways[name].append(average_precision(ranked.tolist(), taken))
    known = buyers.known
    groups = {"all": known | True, "with a history": known}
    table = {
        group: {way: asdict(mean_estimate(np.array(values)[chosen])) for way, values in ways.items()}
        for group, chosen in groups.items()
        if chosen.any()
    }
    for group, chosen in groups.items():
        if chosen.any():
            table[group]["learned order over popularity"] = _paired(
                np.array(ways[POPULAR])[chosen], np.array(ways[FINAL])[chosen]
            )
    return {"products": len(rows), "customers": len(buyers), "MAP@12": table}


def _filled(first: _Rows, then: _Rows) -> _Rows:
    rows = np.concatenate([first, then])
    _, places = np.unique(rows, return_index=True)
    return rows[np.sort(places)][:CUTOFF]


def _diversity(measured: Measured, shop: UserShop) -> dict[str, Any]:
    """The learned order with at most so many of a product type: MAP@12, and how far apart a list's products are."""
    people: People = measured.people
    known = np.flatnonzero(people.known)
    ranked = [measured.ways[FINAL].ranked[place] for place in known.tolist()]
    taken = [people.taken[place].tolist() for place in known.tolist()]
    plain = np.array([average_precision(rows[:CUTOFF].tolist(), own) for rows, own in zip(ranked, taken, strict=True)])
    curve = {}
    for cap in _CAPS:
        lists = [capped(rows, shop.types[rows], cap) for rows in ranked]
        values = np.array([average_precision(rows.tolist(), own) for rows, own in zip(lists, taken, strict=True)])
        curve[str(cap) if cap < CUTOFF else "none"] = {
            "MAP@12": asdict(mean_estimate(values)),
            "over no cap": _paired(plain, values),
            "intra-list distance": float(
                np.mean([intra_list_distance(shop.vectors[rows].astype(np.float32)) for rows in lists])
            ),
            "types": float(np.mean([len(np.unique(shop.types[rows])) for rows in lists])),
            "products": float(np.mean([len(rows) for rows in lists])),
        }
    return {"customers": len(known), "products of a type, at most": curve}


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
