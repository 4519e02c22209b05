"""Masking of personal data in queries: what is missed, and what is masked that is none.

    python -m benchmarks.masking --queries FILE [FILE ...] [--presidio PYTHON]

Missed: numbers and addresses that Faker makes for many countries stand in queries, as people write them, with the
country of their locale. Masked for nothing: the queries of the files (judgments in Parquet), which were cleaned of
personal data before they were published, so that all that is masked there counts as an error; a look at those that are
printed says how many are. `--presidio` names an interpreter with presidio-analyzer, which gets the same texts with its
recognisers by pattern and check digit, without a language model.
"""

import argparse
import json
import random
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from faker import Faker

from benchmarks.common import save
from text.masking import mask_personal

_SEED, _EACH = 24, 100
_LOCALES = (
    *("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "da_DK", "fi_FI"),
    *("no_NO", "cs_CZ", "tr_TR", "zh_CN", "ko_KR", "en_IN", "en_CA", "ro_RO"),
)
_KINDS = {"email": "email", "phone": "phone_number", "card": "credit_card_number", "iban": "iban", "id": "ssn"}
_NO_IBAN = ("zh_CN", "en_IN")  # countries that have none: Faker makes them up
_QUERIES = ("{} red lamp", "order for {} please", "lamp {}", "{}")
_PRESIDIO = """
import json, sys
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
class Nothing(NlpEngine):
    def load(self): pass
    def is_loaded(self): return True
    def process_text(self, text, language):
        return NlpArtifacts(entities=[], tokens=[], tokens_indices=[], lemmas=[], nlp_engine=self, language=language)
    def process_batch(self, texts, language, **_): return ((text, self.process_text(text, language)) for text in texts)
    def is_stopword(self, word, language): return False
    def is_punct(self, word, language): return False
    def get_supported_entities(self): return []
    def get_supported_languages(self): return ["en"]
registry = RecognizerRegistry(supported_languages=["en"])
registry.load_predefined_recognizers(languages=["en"])
wrong = ("UrlRecognizer", "DateRecognizer", "SpacyRecognizer", "IpRecognizer")
for name in wrong:
    try: registry.remove_recognizer(name)
    except Exception: pass
engine = AnalyzerEngine(nlp_engine=Nothing(), registry=registry, supported_languages=["en"])
for text in json.load(sys.stdin):
    spans = [[r.start, r.end] for r in engine.analyze(text, "en", score_threshold=0.4)]
    print(json.dumps(spans), flush=True)
"""


class Planted(NamedTuple):
    """A query that holds one piece of personal data."""

    kind: str
    locale: str
    text: str
    value: str


def plant(seed: int, each: int) -> list[Planted]:
    """So many of each kind and locale."""
    draw, planted = random.Random(seed), []
    for locale in _LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        for kind, provider in _KINDS.items():
            if kind == "iban" and locale in _NO_IBAN:
                continue
            for _ in range(each):
                value = getattr(fake, provider)()
                if kind in ("card", "iban") and draw.random() < 0.5:
                    value = " ".join(value[n : n + 4] for n in range(0, len(value), 4))
                planted.append(Planted(kind, locale, draw.choice(_QUERIES).format(value), value))
    return planted


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", nargs="+", type=Path, required=True, help="judgments in Parquet")
    parser.add_argument("--presidio", help="interpreter that has presidio-analyzer")
    parser.add_argument("--each", type=int, default=_EACH, help="planted of each kind and country")
    parser.add_argument("--output", default="masking", help="name of the file of results")
    options = parser.parse_args()
    planted = plant(_SEED, options.each)
    clean = sorted({query for path in options.queries for query in pq.read_table(path)["query"].to_pylist()})
    results: dict[str, object] = {"tandem": _measure(planted, clean)}
    if options.presidio:
        results["presidio"] = _measure_presidio(options.presidio, planted, clean)
    for name, value in results.items():
        print(name, json.dumps(value, indent=1))
    parameters = {"queries": [path.parent.name for path in options.queries], "each": options.each, "seed": _SEED}
    save(options.output, parameters, results)


def _measure(planted: Sequence[Planted], clean: Sequence[str]) -> dict[str, object]:
    mask_personal("warm +1 415 555 2671 up 4111111111111111")
    missed = [one for one in planted if one.value in mask_personal(one.text, one.locale[-2:])]
    started = time.perf_counter()
    masked = [(query, after) for query in clean if (after := mask_personal(query, "US")) != query]
    seconds = time.perf_counter() - started
    for query, after in masked[:20]:
        print(f"  masked: {query!r} -> {after!r}")
    return _shares(planted, missed, len(masked) / len(clean)) | {"microseconds a query": 1e6 * seconds / len(clean)}


def _measure_presidio(python: str, planted: Sequence[Planted], clean: Sequence[str]) -> dict[str, object]:
    texts = [*(one.text for one in planted), *clean]
    started = time.perf_counter()
    done = subprocess.run(
        [python, "-c", _PRESIDIO], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    spans = [json.loads(line) for line in done.stdout.splitlines()]
    micros = 1e6 * (time.perf_counter() - started) / len(texts)
    missed = [
        one
        for one, found in zip(planted, spans, strict=False)
        if not any(one.text[a:b].strip() == one.value or one.value in one.text[a:b] for a, b in found)
    ]
    return _shares(planted, missed, sum(map(bool, spans[len(planted) :])) / len(clean)) | {
        "microseconds a query": micros
    }


def _shares(planted: Sequence[Planted], missed: Sequence[Planted], masked: float) -> dict[str, object]:
    """Shares masked of each kind, the countries where most are missed, and the share of clean queries masked."""
    per_kind, lost = Counter(one.kind for one in planted), Counter(one.kind for one in missed)
    where: dict[str, Counter[str]] = defaultdict(Counter)
    for one in missed:
        where[one.kind][one.locale] += 1
    return {
        "masked": {kind: 1 - lost[kind] / number for kind, number in per_kind.items()},
        "most missed": {kind: dict(counts.most_common(6)) for kind, counts in where.items()},
        "clean queries masked": masked,
    }


if __name__ == "__main__":
    main()
