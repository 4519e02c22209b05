"""Lines of the log in both formats."""

import asyncio
import json
import logging
import subprocess
import sys
import warnings

import pytest
from shops import environment

from core.logs import JsonFormatter, TextFormatter, request_id_now, request_scope, utc_text
from text.masking_on_demand import mask_if_needed


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    caught = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("tandem.test", logging.WARNING, "file", 1, message, arguments, caught)
    made.created = 1_700_000_000.25
    return made


def test_a_line_is_one_object_whatever_it_holds() -> None:
    text = JsonFormatter(2).format(record("first\nsecond \u2028 %s", '"quoted"', error=ValueError("why\nnot")))
    assert "\n" not in text
    line = json.loads(text)
    assert line.pop("error").endswith("ValueError: why\nnot")
    assert line == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "tandem.test",
        "message": 'first\nsecond \u2028 "quoted"',
        "process": 2,
    }


async def test_lines_of_a_request_carry_its_id_in_the_tasks_that_it_starts() -> None:
    async def child() -> str:
        await asyncio.sleep(0)
        return str(json.loads(JsonFormatter().format(record("x"))).get("request_id"))

    with request_scope("r-1"):
        task = asyncio.create_task(child())
        with request_scope("r-2"):
            assert await child() == "r-2"
        assert await asyncio.to_thread(request_id_now.get) == "r-1"
    assert await task == "r-1" and await child() == "None"


def test_everything_that_a_process_writes_is_json() -> None:
    code = (
        "import logging, threading, warnings; from core.logs import configure_logging\n"
        "configure_logging('json'); logging.getLogger('tandem.x').info('one')\n"
        "logging.getLogger('other').error('two')\n"
        "warnings.warn('three'); t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n"
        "raise ValueError('five')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment())
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert result.returncode == 1 and [line["level"] for line in lines] == [
        "INFO",
        "ERROR",
        "WARNING",
        "ERROR",
        "CRITICAL",
    ]
    assert "three" in lines[2]["message"] and "ZeroDivisionError" in lines[3]["error"] and "five" in lines[4]["error"]


def test_times_are_utc() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert utc_text(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("kind", [TextFormatter, JsonFormatter])
def test_exceptions_are_masked_line_by_line(kind: type[TextFormatter]) -> None:
    error = ValueError("no number: ann@example.com\n4111 1111 1111 1111")
    text = kind(mask=mask_if_needed).format(record("request r-20261128T120736Z-051d2b11 failed", error=error))
    assert "no number: [email]" in text and "[card]" in text and "4111" not in text
    assert "r-20261128T120736Z-051d2b11" in text  # what Tandem writes itself stays
