"""Words without content, by language: the lists of bm25s."""

from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

# Primary language subtag (BCP 47): the list's name.
_LISTS = {
    "zh": "CHINESE", "da": "DANISH", "nl": "DUTCH", "en": "EN", "fr": "FRENCH", "de": "GERMAN", "it": "ITALIAN",
    "ko": "KOREAN", "nb": "NORWEGIAN", "nn": "NORWEGIAN", "no": "NORWEGIAN", "pt": "PORTUGUESE", "ru": "RUSSIAN",
    "es": "SPANISH", "sv": "SWEDISH", "tr": "TURKISH",
}  # fmt: skip
# In the lists, but shoppers look for them: summer in French.
_CONTENT = {"\u00e9t\u00e9", "\u00e9t\u00e9s"}


def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language, given as a primary subtag, in lower case; none where no list is known."""
    if language not in _LISTS:
        return frozenset()
    return frozenset(getattr(_lists(), f"STOPWORDS_{_LISTS[language]}")) - _CONTENT


@cache
def _lists() -> ModuleType:
    """The module `bm25s.stopwords`, without its package, which loads what computes BM25 and scipy."""
    package = find_spec("bm25s")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "stopwords.py"
    loader = SourceFileLoader("bm25s_stopwords", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
