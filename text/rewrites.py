"""Puts phrases in place of others in queries, by a shop's rules."""

from collections.abc import Mapping

from core.strings import query_key
from text.phrases import Phrases
from text.terms import Analyser

# Rules that put long phrases for short ones could make a page of a query.
LONGEST_OUTCOME = 1024


class Rewriter:
    """Rules made ready for queries in one language (BCP 47), for one thread at a time."""

    def __init__(self, rewrites: Mapping[str, str], language: str) -> None:
        """`rewrites` has what each phrase becomes, the first rule first. Takes seconds for 100,000."""
        self._rewrites = dict(rewrites)
        self._targets = list(rewrites.values())
        self._phrases = Phrases(rewrites, Analyser(language))

    def __bool__(self) -> bool:
        return len(self._phrases) > 0

    def rewrite(self, text: str) -> str:
        """The query with every phrase of a rule replaced, found as words are: 'cafe tables' by 'café table'.

        The leftmost phrase goes first, of several there the longest; of rules alike the one that is written so, else
        the first. What a rule leaves is not rewritten again, all else stays as typed. Rules stop where the query would
        have over 1,024 characters.
        """
        pieces, done, length = [], 0, len(text)
        for match in self._phrases.find(text):
            literal = self._rewrites.get(query_key(text[match.start : match.end]))
            target = self._targets[match.numbers[0]] if literal is None else literal
            length += len(target) - (match.end - match.start)
            if length > LONGEST_OUTCOME:
                break
            pieces += [text[done : match.start], target]
            done = match.end
        return "".join([*pieces, text[done:]])
