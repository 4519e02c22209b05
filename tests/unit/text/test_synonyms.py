"""Synonyms and rewrites: what is read, and what is refused."""

from pathlib import Path

import pytest

from core.errors import FeedError
from text.synonyms import Synonyms, read_synonyms


def read(folder: Path, text: str | bytes) -> Synonyms:
    path = folder / "synonyms.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_synonyms(path)


def test_rules_are_read_a_line_each(tmp_path: Path) -> None:
    result = read(tmp_path, "# of the house\nSofa,  couch , settee\n\ntv  stand, television stand => Media Console\n")
    assert result.groups == (("sofa", "couch", "settee"),)
    assert result.rewrites == {"tv stand": "media console", "television stand": "media console"}


def test_a_sharp_begins_a_comment_at_the_start_of_a_line_alone(tmp_path: Path) -> None:
    result = read(
        tmp_path,
        "#10 screw, no 10 screw\nc#, csharp\nf# book => fsharp book\nscrew #8, screw no 8\n"
        "#sofa, couch\n  # settee, couch\n#1 of all lists\n#\n\\#sale, offers\n",
    )
    assert result.groups == (
        ("#10 screw", "no 10 screw"),
        ("c#", "csharp"),
        ("screw #8", "screw no 8"),
        ("#sale", "offers"),
    )
    assert result.rewrites == {"f# book": "fsharp book"}


def test_a_backslash_takes_a_signs_meaning(tmp_path: Path) -> None:
    result = read(tmp_path, "a\\,b, sofa\nand\\\\or, either\na\\=>b, arrow\n1\\,5 mm => 1.5 mm\nt\\-shirt, tee\n")
    assert result.groups == (("a,b", "sofa"), ("and\\or", "either"), ("a=>b", "arrow"), ("t-shirt", "tee"))
    assert result.rewrites == {"1,5 mm": "1.5 mm"}


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfsofa, couch\r\nrug, mat\r\n", b"sofa, couch\rrug, mat", b"sofa,couch\nrug,mat"]
)
def test_files_are_read_as_editors_write_them(tmp_path: Path, text: bytes) -> None:
    assert read(tmp_path, text).groups == (("sofa", "couch"), ("rug", "mat"))


def test_rules_that_are_there_twice_count_once(tmp_path: Path) -> None:
    result = read(tmp_path, "sofa, couch\nSofa, couch, sofa\ntv => television\ntv => television\n")
    assert result.groups == (("sofa", "couch"),) and result.rewrites == {"tv": "television"}


def test_a_rules_outcome_may_be_anothers_beginning(tmp_path: Path) -> None:
    """What a rewrite leaves is not rewritten again, so that a ring of rules is none."""
    assert read(tmp_path, "sofa => couch\ncouch => sofa").rewrites == {"sofa": "couch", "couch": "sofa"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, b\nsofa\n", "line 2: synonyms are two phrases or more"),
        ("a, b\r\nsofa\r\n", "line 2: synonyms are two phrases or more"),
        ("a, \u2028b\nsofa\n", "line 2: synonyms are two phrases or more"),  # which ends no line
        ("sofa, sofa", "line 1: synonyms are two phrases or more"),
        ("sofa,, couch", "line 1: a phrase is empty"),
        ("sofa, !", "line 1: the phrase '!' has no letter or digit"),
        ("=> couch", "line 1: a phrase is empty"),
        ("sofa =>", "line 1: a phrase is empty"),
        ("sofa => couch, settee", "line 1: a rewrite has one phrase after =>"),
        ("sofa => couch => settee", "line 1: has more than one =>"),
        ("sofa => Sofa", "line 1: 'sofa' is to become itself"),
        ("sofa => couch\nsofa => settee", "line 2: 'sofa' already becomes 'couch'"),
        ("sofa, couch # of the house", "line 1: a comment has a line of its own"),
        ("tv => television #new", "line 1: a comment has a line of its own"),
        ("sofa, couch\\", "line 1: a phrase ends with a backslash"),
        (",".join(map(str, range(51))), "line 1: has 51 phrases"),
        ("a, " + "b" * 201, "line 1: a phrase has over 200 characters"),
        ("a, " + "b" * 5_000_000, "line 1: a phrase has over 200 characters"),
        ("a, e" + "\u0301" * 1_000_000, "line 1: a phrase has over 200 characters"),
        ("# nothing\n\n", "holds no rule"),
        ("", "holds no rule"),
    ],
)
def test_a_rule_that_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FeedError) as error:
        read(tmp_path, text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_message_quotes_long_phrases_in_part(tmp_path: Path) -> None:
    with pytest.raises(FeedError) as error:
        read(tmp_path, f"{'a' * 200} => b\n{'a' * 200} => {'c' * 200}\n")
    assert len(str(error.value)) < len(str(tmp_path)) + 200


def test_there_is_an_end_to_rules(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="line 100001: holds more than 100,000 rules"):
        read(tmp_path, "\n".join(f"a{i}, b{i}" for i in range(100_002)))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"caf\xe9, coffee", "is not UTF-8"), ("sofa, couch".encode("utf-16"), "is not UTF-8")],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FeedError, match="no such file"):
        read_synonyms(tmp_path / "none")
    with pytest.raises(FeedError, match="cannot be read"):
        read_synonyms(tmp_path)
    with pytest.raises(FeedError, match=message):
        read(tmp_path, content)
