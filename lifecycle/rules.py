"""Tries a file of merchandising rules on a release from its folder, before anything is live."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import ReleaseError, RulesError, TandemError
from core.plan import Plan
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules import Rule, RulesFile
from core.strings import quoted
from lifecycle.quality.evaluation import ReleaseLocation, open_place
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.release.rules import prepare_rules
from retrieval.rules.effects import RuleReport
from retrieval.rules.ruleset import RuleSet
from retrieval.server.admission import Admission
from retrieval.wire.request import InvalidRequest, read_query
from tandem.v1 import search_pb2

MOST_QUERIES, _MOST_BYTES = 10_000, 8 << 20


@dataclass(frozen=True, slots=True)
class Side:
    """An answer: ids and titles of its products, the query as searched, and what rules did."""

    products: tuple[tuple[str, str], ...]
    searched: str
    redirect: str
    effects: tuple[RuleReport, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A query's answer under the rules in service, and under those that are tried."""

    query: str
    before: Side
    after: Side

    @property
    def changes(self) -> bool:
        """Whether a shopper would see a difference."""
        return (self.before.products, self.before.redirect) != (self.after.products, self.after.redirect)


def open_current(store: ReleaseStore, catalog: str) -> LoadedRelease:
    """The release in service, loaded. Raises ReleaseError."""
    current = store.current(catalog)
    if current is None:
        raise ReleaseError(f"catalog {catalog!r} has no release yet: make one with `tandem index`")
    return open_place(ReleaseLocation(store, catalog, current))


def warnings(rules: RulesFile, release: LoadedRelease) -> list[str]:
    """What rules name that the release does not hold, and rules that are over: a line each."""
    ids = frozenset(release.view.ids())
    fitted = prepare_rules(rules, release)
    lines = []
    for rule in rules.rules:
        unknown = [product for product in rule.products if product not in ids]
        if unknown:
            more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
            names = ", ".join(map(quoted, unknown[:3]))
            lines.append(f"rule {rule.id}: the catalog has no product {names}{more}")
        if rule.id in fitted.left_out:
            lines.append(f"rule {rule.id} would be left out: {fitted.left_out[rule.id]}")
        if rule.when.ends and rule.when.ends <= datetime.now(UTC):
            lines.append(f"rule {rule.id} ended at {rule.when.ends:%Y-%m-%d %H:%M} UTC")
    return lines


def published_rules(store: ReleaseStore, catalog: str) -> RulesFile:
    """The rules in service; none before the first are published. Raises ReleaseError or RulesError."""
    rules = RuleStore(store, catalog)
    trail = rules.trail()
    return rules.read(trail[0].release, trail[0].sha256) if trail else RulesFile()


def try_rules(
    before: RulesFile, after: RulesFile, release: LoadedRelease, queries: Sequence[str], top_k: int, at: datetime
) -> Iterator[Trial]:
    """Searches each query under both files at a time, through the code that serves, without a deadline.

    Raises RulesError for a query that cannot be searched.
    """
    sides = [prepare_rules(at_time(rules, at), release) for rules in (before, after)]
    with asyncio.Runner() as runner:
        for query in queries:
            answers = [runner.run(_search(release, rules, query, top_k)) for rules in sides]
            yield Trial(query, *answers)


def at_time(rules: RulesFile, at: datetime) -> RulesFile:
    """The rules that are on at a time, whenever they are asked."""

    def seen(rule: Rule) -> Rule:
        begun = rule.when.starts is None or rule.when.starts <= at
        over = rule.when.ends is not None and rule.when.ends <= at
        when = rule.when.model_copy(update={"starts": None, "ends": None})
        return rule.model_copy(update={"when": when, "enabled": rule.enabled and begun and not over})

    return rules.model_copy(update={"rules": tuple(map(seen, rules.rules))})


def read_queries(path: Path) -> list[str]:
    """The queries of a text file, one a line, each once. Raises RulesError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RulesError(f"{path}: has over {_MOST_BYTES >> 20} MiB; give at most {MOST_QUERIES:,} queries")
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise RulesError(f"{path}: no such file; give one with a query a line") from None
    except UnicodeDecodeError:
        raise RulesError(f"{path}: is not UTF-8; give a text file with a query a line") from None
    except OSError as error:
        raise RulesError(f"{path}: cannot be read ({error.strerror}); give a text file with a query a line") from None
    queries = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not queries:
        raise RulesError(f"{path}: holds no query; give one a line")
    if len(queries) > MOST_QUERIES:
        raise RulesError(f"{path}: has {len(queries):,} queries; give at most {MOST_QUERIES:,}")
    return queries


async def _search(release: LoadedRelease, rules: RuleSet, text: str, top_k: int) -> Side:
    try:
        query = read_query(search_pb2.SearchRequest(query=text, top_k=top_k))
    except (InvalidRequest, UnicodeEncodeError) as error:
        raise RulesError(f"query {quoted(text)}: {error}") from None
    release.rules = rules
    with Admission(1).enter() as permit:
        answer = await search(query, Plan(), release, permit, None)
    products = tuple(
        (answer.view.id(hit.row), str(answer.view.row(hit.row, ["title"])["title"])) for hit in answer.hits
    )
    return Side(products, answer.searched_query, answer.redirect, answer.rules)


def read_time(text: str | None, option: str = "--at") -> datetime:
    """A point in time, now without one. Raises TandemError, which names the option."""
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TandemError(f"{option} is {quoted(text)}; give a time such as 2026-12-01T09:00+01:00") from None
    return moment if moment.tzinfo else moment.astimezone()
