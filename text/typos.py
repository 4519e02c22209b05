"""How likely typing made one word of another."""

from rapidfuzz.distance import Levenshtein

from text.keyboard import BESIDE


def typo_cost(written: str, intended: str, errors: int) -> float:
    """The typing errors between two plain words, `errors` of them, with 1 more for each that shoppers hardly make.

    Fingers slip to a key beside, swap two letters, miss one, or hit one twice or the next along with it (1.5); another
    letter in its place or one too many, and a wrong first letter, are rare (Kukich, "Techniques for automatically
    correcting words in text", ACM Computing Surveys 24(4), 1992). Letters that no key is known for are not judged.
    """
    total = float(errors) + (written[:1] != intended[:1])
    edits = Levenshtein.editops(written, intended)
    if len(edits) > errors:  # some are swapped, which are two edits
        return total
    for edit in edits:
        letter = written[edit.src_pos : edit.src_pos + 1]
        if edit.tag == "replace":
            total += letter in BESIDE and intended[edit.dest_pos] not in BESIDE[letter]
        elif edit.tag == "delete":
            around = written[max(0, edit.src_pos - 1) : edit.src_pos] + written[edit.src_pos + 1 : edit.src_pos + 2]
            total += _too_many(letter, around)
    return total


def _too_many(letter: str, around: str) -> float:
    if letter in around or letter not in BESIDE:
        return 0
    return 0.5 if set(BESIDE[letter]) & set(around) else 1
