"""Synonyms and rewrites: what is read, what is refused, and what becomes of queries."""

from pathlib import Path

import pytest

from core.errors import FeedError
from core.synonyms import Synonyms, read_synonyms


def read(folder: Path, text: str) -> Synonyms:
    path = folder / "synonyms.txt"
    path.write_text(text, "utf-8")
    return read_synonyms(path)


def test_rules_are_read_a_line_each(tmp_path: Path) -> None:
    found = read(
        tmp_path, "# of the house\nSofa,  couch , settee\n\ntv  stand, television stand => Media Console # new\n"
    )
    assert found.groups == (("sofa", "couch", "settee"),)
    assert found.rewrites == {"tv stand": "media console", "television stand": "media console"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a, b\nsofa\n", "line 2: synonyms are two phrases or more"),
        ("sofa, sofa", "line 1: synonyms are two phrases or more"),
        ("sofa,, couch", "line 1: a phrase is empty"),
        ("sofa, !", "line 1: a phrase is empty"),
        ("=> couch", "line 1: a phrase is empty"),
        ("sofa =>", "line 1: a phrase is empty"),
        ("sofa => couch, settee", "line 1: a rewrite has one phrase after =>"),
        ("sofa => Sofa", "line 1: 'sofa' is to become itself"),
        ("sofa => couch\nsofa => settee", "line 2: 'sofa' already becomes 'couch'"),
        ("sofa => couch\ncouch => settee", "'sofa' becomes 'couch', which is rewritten in turn"),
        (",".join(map(str, range(51))), "line 1: has 51 phrases"),
        ("a, " + "b" * 201, "line 1: a phrase has over 200 characters"),
        ("# nothing\n\n", "holds no rule"),
    ],
)
def test_a_rule_that_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FeedError) as error:
        read(tmp_path, text)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no such file"):
        read_synonyms(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"caf\xe9, coffee")
    with pytest.raises(FeedError, match="is not UTF-8"):
        read_synonyms(tmp_path / "latin")


@pytest.mark.parametrize(
    ("query", "searched"),
    [
        ("Black TV  stand", "black media console"),
        ("tv stands", "tv stands"),  # whole words alone
        ("mtv stand", "mtv stand"),
        ("tv stand with tv", "media console with television"),
        ("Red Mug", "Red Mug"),  # what no rule changes stays as it was typed
        ("c++ book", "programming book"),
    ],
)
def test_queries_are_rewritten_by_whole_phrases_the_longest_first(query: str, searched: str) -> None:
    rules = Synonyms(rewrites={"tv": "television", "tv stand": "media console", "c++": "programming"})
    assert rules.rewrite(query) == searched.replace("tv stands", "television stands")


def test_without_rules_nothing_changes() -> None:
    assert Synonyms().rewrite("Any Query") == "Any Query"
