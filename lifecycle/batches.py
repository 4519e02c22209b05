"""Files of searches and of what came of them, a line each; a run that was cut off goes on where its output ends."""

import json
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from core.errors import TandemError
from tandem.client import SearchClient
from tandem.v1 import search_pb2

_EXPECTED = "give a query in quotes, a SearchRequest as JSON, or an object with key and search"


def answer_file(client: SearchClient, source: Path, output: Path, catalog: str, top_k: int) -> tuple[int, int]:
    """Answers the searches of a JSONL file that the output has no line for yet, and appends a line for each.

    Returns how many lines were there, and how many of the new ones are errors. Searches without a key get the number of
    their line. Raises TandemError for a file that cannot be read or written, or an output of other searches.
    """
    done, last = _finished(output)
    requests = read_searches(source, catalog, top_k)
    _skip(requests, done, last, source, output)
    errors = 0
    try:
        with output.open("a", encoding="utf-8") as lines:
            for response in client.search_many(requests):
                response.sequence += done
                errors += response.HasField("error")
                content = MessageToDict(response, preserving_proto_field_name=True)
                lines.write(json.dumps(content, ensure_ascii=False) + "\n")
                lines.flush()
    except OSError as error:
        raise TandemError(f"{output}: cannot be written: {error.strerror or error}") from None
    return done, errors


def read_searches(source: Path, catalog: str, top_k: int) -> Iterator[search_pb2.BatchSearchRequest]:
    """The searches of a JSONL file, empty lines left out; `catalog` and `top_k` are for bare queries.

    Raises TandemError with the first line at fault."""
    try:
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _read_search(line, number, source, catalog, top_k)
    except UnicodeDecodeError:
        raise TandemError(f"{source}: is not UTF-8; give JSONL") from None
    except OSError as error:
        raise TandemError(f"{source}: cannot be read: {error.strerror or error}; give a JSONL file") from None


def _read_search(line: str, number: int, source: Path, catalog: str, top_k: int) -> search_pb2.BatchSearchRequest:
    try:
        content = json.loads(line)
        if isinstance(content, str):
            search = search_pb2.SearchRequest(query=content, catalog=catalog, top_k=top_k)
            return search_pb2.BatchSearchRequest(key=str(number), search=search)
        if not isinstance(content, dict):
            raise ValueError("it is neither text nor an object")
        whole = content if "search" in content else {"search": content}
        if not isinstance(whole["search"], dict):
            raise ValueError("search is no object")
        request = ParseDict(whole, search_pb2.BatchSearchRequest())
    except (ValueError, ParseError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TandemError(f"{source}, line {number}: {reason}; {_EXPECTED}") from None
    request.key = request.key or str(number)
    return request


def _finished(output: Path) -> tuple[int, str]:
    """How many whole lines the output has, and the key of the last; a line that was cut off is removed."""
    if not output.exists():
        return 0, ""
    try:
        with output.open("rb+") as file:
            count, end, last = 0, 0, b""
            for line in file:
                if line.endswith(b"\n"):
                    count, end, last = count + 1, end + len(line), line
            file.truncate(end)
        return count, json.loads(last).get("key", "") if last else ""
    except OSError as error:
        raise TandemError(f"{output}: cannot be written: {error.strerror or error}") from None
    except (ValueError, AttributeError):
        raise TandemError(f"{output}: is no output of search-many; give another file") from None


def _skip(requests: Iterator[search_pb2.BatchSearchRequest], count: int, last: str, source: Path, output: Path) -> None:
    """Leaves out the searches that are answered. Raises TandemError where the output is of others."""
    key = ""
    for number in range(count):
        request = next(requests, None)
        if request is None:
            raise TandemError(f"{output}: has more lines than {source} has searches ({number}); give another file")
        key = request.key
    if key != last:
        raise TandemError(f"{output}: its last line is of search {last!r}, not {key!r} of {source}; give another file")
