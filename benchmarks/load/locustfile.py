"""Shoppers for Locust: each asks, thinks, and asks again.

    python -m locust -f benchmarks/load/locustfile.py --headless --host 127.0.0.1:50051 --users 20 --run-time 60s \\
        --load-shape steady --queries judgments.parquet --objectives slo.toml

`python -m benchmarks.load locust` does that. In the end the objectives are judged and the report is written; the exit
status is 0 where they hold and 3 where they do not. Without --headless Locust's own page shows the run. Runs in one
process.
"""

import random
import sys
import time
from typing import Any

import grpc
import grpc.experimental.gevent
from locust import LoadTestShape, User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner

from benchmarks.load.locust_run import LocustRun, NamedOptions
from benchmarks.load.measured import OK, REFUSED, Call
from benchmarks.load.open_loop import OPTIONS, says_when_to_retry
from benchmarks.load.shapes import SECONDS, Shape, users_at
from core.errors import TandemError
from tandem.v1 import search_pb2, search_pb2_grpc

grpc.experimental.gevent.init_gevent()  # calls give way to other shoppers instead of stopping the process

_NAME = "Search"


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--queries", type=str, required=True, help="judgments, a CSV of query and count, or text")
    parser.add_argument("--split", type=str, default="test", help="of the judgments; all for every query")
    parser.add_argument("--zipf", type=float, default=0.0, help="exponent; 0: the file's shares")
    parser.add_argument("--objectives", type=str, required=True, help="TOML file of SLOs")
    parser.add_argument("--load-shape", type=Shape, choices=list(Shape), default=Shape.STEADY)
    parser.add_argument("--think-seconds", type=float, default=1.0, help="mean between answer and next question")
    parser.add_argument("--deadline", type=float, default=1.0, help="of each call, in seconds")
    parser.add_argument("--top-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=str, default="benchmarks/results", help="folder of the report")
    parser.add_argument("--name", type=str, default="load_locust", help="of the report's files")
    parser.add_argument("--service-caches", type=str, default="as the service is set", help="for the record")
    parser.add_argument("--server-process", type=int, default=0, help="process id of the service, if on this machine")


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, LocalRunner):
        sys.exit("tandem: the shoppers run in one process: leave out --master, --worker and --processes")
    options = environment.parsed_options
    assert options is not None
    try:
        named = NamedOptions.from_options(options)
        environment.tandem = LocustRun(named)  # type: ignore[attr-defined]
    except TandemError as error:
        print(f"tandem: {error}", file=sys.stderr)
        sys.exit(2)


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    _run(environment).start()


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    _run(environment).stop()


@events.quitting.add_listener
def _finish(environment: Environment, **_: Any) -> None:
    environment.process_exit_code = _run(environment).finish()


class Shopper(User):
    """One gateway connection: questions drawn from the log, with think time between."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._run = _run(environment)
        self._random = random.Random(self._run.next_seed())
        self._channel = grpc.insecure_channel(str(self.host), options=OPTIONS)
        self._search = search_pb2_grpc.SearchServiceStub(self._channel).Search

    def on_stop(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def wait_time(self) -> float:
        """Seconds until the next question, exponential about their mean."""
        mean = self._run.options.think_seconds
        return self._random.expovariate(1 / mean) if mean else 0.0

    @task
    def ask(self) -> None:
        """One call, reported to Locust and to the report."""
        run = self._run
        query = run.draw(self._random)
        request = search_pb2.SearchRequest(query=run.log.queries[query], top_k=run.options.top_k)
        sent = time.perf_counter()
        answer, error = None, None
        try:
            answer = self._search(request, timeout=run.options.deadline)
        except grpc.RpcError as failure:
            error = failure
        done = time.perf_counter()
        run.take(_call(query, sent - run.began, done - run.began, answer, error))
        self.environment.events.request.fire(
            request_type="grpc",
            name=_NAME,
            response_time=(done - sent) * 1000,
            response_length=answer.ByteSize() if answer is not None else 0,
            exception=error and RuntimeError(error.code().name),
            context={},
        )


class Load(LoadTestShape):
    """The requested shape, over Locust's run time and number of users."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many start a second."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        share = self.get_run_time() / (options.run_time or SECONDS[options.load_shape])
        if share >= 1:
            return None
        return users_at(options.load_shape, options.num_users or 1, share), options.spawn_rate


def _run(environment: Environment) -> LocustRun:
    return environment.tandem  # type: ignore[attr-defined]


def _call(query: int, sent: float, done: float, answer: Any, error: Any) -> Call:
    if error is None:
        # Only what is measured: a soak keeps hundreds of thousands.
        summary = search_pb2.SearchResponse(
            hits=[search_pb2.Hit(product_id=hit.product_id) for hit in answer.hits], degraded=answer.degraded
        )
        return Call(sent, sent, done, query, OK, summary.SerializeToString())
    status = error.code().name
    retry = status == REFUSED and says_when_to_retry(error.trailing_metadata())
    return Call(sent, sent, done, query, status, retry=retry)
