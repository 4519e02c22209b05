"""Words that hold signs: L'Oréal, M.A.C, AT&T, C#, T-shirt. Each is one word, however its signs are typed."""

import regex

_NAME_PIECE = 2  # letters: of an '&' with so few on a side a name is made, as H&M
_MOST_PIECES = 8
_ELISION = regex.compile(
    r"^(?:\p{L}|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|un|dell|nell|sull|dall|all|coll|degl|quell|quest|sant|tutt)'(?=\p{L})"
)
_APOSTROPHE_S = "'s"


def elided(token: str) -> tuple[str, str]:
    """A word without the article that lost its vowel before it, and both as one; the second empty where there is none.

    In French l'eau is eau with its article, and L'Oréal is a name that is typed loreal.
    """
    match = _ELISION.match(token)
    return (token[match.end() :], token.replace("'", "")) if match else (token, "")


def ampersand(token: str) -> tuple[str, tuple[str, ...]] | None:
    """A name with '&' as one, as H&M is hm, with its parts; None where it is several words."""
    pieces = token.split("&")
    if len(pieces) < 2 or len(pieces) > _MOST_PIECES or min(map(len, pieces)) > _NAME_PIECE:
        return None
    whole = _letters("".join(pieces))
    owned = (whole[:-1],) if token.endswith(_APOSTROPHE_S) else ()  # M&M's of M&M
    return whole, (*owned, *map(_letters, pieces))


def initials(token: str) -> tuple[str, tuple[str, ...]] | None:
    """A word with initials and points as one, as U.S. is us and J.Crew jcrew, with its parts; None where points divide
    words."""
    pieces = token.split(".")
    first = next((place for place, piece in enumerate(pieces) if len(piece) > 1), len(pieces))
    rest = pieces[first:]
    if len(pieces) < 2 or len(pieces) > _MOST_PIECES or not first or len(rest) > 1:
        return None
    letters = "".join(pieces[:first])
    return letters + "".join(rest), tuple([letters] * (first > 1 and bool(rest)) + rest)


def apostrophe(word: str) -> tuple[str, tuple[str, ...]]:
    """A word with apostrophes as one, with what is between them if it has two letters or more."""
    pieces = [piece for piece in word.split("'") if len(piece) > 1]
    return word.replace("'", ""), tuple(pieces[:_MOST_PIECES])


def is_owner(word: str) -> bool:
    """Whether it ends in an apostrophe and s, and has no other."""
    return word.endswith(_APOSTROPHE_S) and word.count("'") == 1 and len(word) > len(_APOSTROPHE_S)


def _letters(text: str) -> str:
    return text.replace("'", "")
