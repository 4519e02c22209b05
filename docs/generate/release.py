"""The page of the release on disk: a template, with tables of the manifest's and the specs' models filled in."""

from pathlib import Path
from string import Template

from pydantic import BaseModel

from catalog.column_file import TYPED_COLUMNS_FILE
from catalog.product import CATALOG_SCHEMA
from catalog.tokens import OFFSETS_FILE, TOKENS_FILE
from catalog.version_file import REQUESTS_FILE, VERSIONS_FILE
from core import formats
from core.manifest import (
    CatalogSnapshot,
    ChangesReport,
    ColumnsReport,
    FieldReport,
    FileEntry,
    LexicalReport,
    Manifest,
    ModelSet,
    SuggestionReport,
)
from docs.generate.markdown import notice, page, table
from docs.generate.models import settings_of
from encoder.bi_encoder import SPEC_FILE as ENCODER_SPEC
from encoder.bi_encoder import BiEncoderSpec
from engine.lexical.dictionary import VOCABULARY_FILES
from engine.lexical.index import SYNONYMS_FILE, field_files
from engine.lexical.parts import PARTS_FILES
from engine.lexical.statistics import STATISTICS_FILE
from engine.suggest.files import FILES
from indexer.build import IndexReport
from indexer.job import COLUMNS_FILE, INDEX_FILE, LEXICAL_FOLDER, QUARANTINE_FILE
from indexer.products import CleanReport
from indexer.suggestions import SUGGESTIONS_FOLDER
from ranker.features import FEATURES
from ranker.final import PRERANK_TREES, TREES, FinalSpec
from ranker.final import SPEC_FILE as FINAL_SPEC
from ranker.ranker import SPEC_FILE as RANKER_SPEC
from ranker.ranker import RankerSpec

TEMPLATE = Path(__file__).with_name("release-format.template")
MODELS: tuple[type[BaseModel], ...] = (
    *(Manifest, ModelSet, CatalogSnapshot, LexicalReport, SuggestionReport, ColumnsReport, FieldReport, ChangesReport),
    *(CleanReport, IndexReport, FileEntry),
    *(BiEncoderSpec, RankerSpec, FinalSpec),
)
# Parts of the manifest that have headings of their own.
_PARTS = {"ModelSet": "model", "CatalogSnapshot": "snapshot", "LexicalReport": "snapshot.lexical"}
_PARTS |= {"SuggestionReport": "snapshot.suggestions"}
_PARTS |= {"ColumnsReport": "snapshot.columns", "ChangesReport": "snapshot.changes"}


def release_page() -> str:
    """The page of the release format. Raises KeyError where the template names what is not filled in."""
    tables = {model.__name__: _table(model) for model in MODELS}
    text = Template(TEMPLATE.read_text("utf-8")).substitute(tables | _files())
    return page(notice("`docs/generate/release-format.template` and the models of manifest and specs"), text)


def _files() -> dict[str, str]:
    fields = ", ".join(f"`{LEXICAL_FOLDER}/{name}`" for name in field_files("FIELD"))
    vocabulary = ", ".join(f"`{LEXICAL_FOLDER}/{name}`" for name in VOCABULARY_FILES)
    compounds = ", ".join(f"`{LEXICAL_FOLDER}/{name}`" for name in PARTS_FILES)
    return {
        "encoder_spec": ENCODER_SPEC,
        "ranker_spec": RANKER_SPEC,
        "final_spec": FINAL_SPEC,
        "trees": TREES,
        "prerank_trees": PRERANK_TREES,
        "columns": COLUMNS_FILE,
        "index": INDEX_FILE,
        "typed_columns": TYPED_COLUMNS_FILE,
        "tokens": TOKENS_FILE,
        "offsets": OFFSETS_FILE,
        "lexical": LEXICAL_FOLDER,
        "synonyms": SYNONYMS_FILE,
        "statistics": STATISTICS_FILE,
        "compounds": compounds.strip("`"),
        "suggestions": ", ".join(f"`{SUGGESTIONS_FOLDER}/{name}`" for name in FILES).strip("`"),
        "quarantine": QUARANTINE_FILE,
        "versions": VERSIONS_FILE,
        "requests": REQUESTS_FILE,
        "vocabulary": vocabulary.strip("`"),
        "field_files": fields.strip("`"),
        "product_columns": _columns(),
        "formats": _formats(),
        "features": _features(),
    }


def _table(model: type[BaseModel]) -> str:
    rows = settings_of(model, elsewhere=_PARTS)
    return table(
        ("field", "type", "default", "meaning"),
        ((f"`{row.name}`", row.type, _code(row.default), row.meaning) for row in rows),
    ).strip()


def _code(default: str) -> str:
    return default if default in ("required", "none") else f"`{default}`"


def _columns() -> str:
    rows = ((f"`{field.name}`", f"`{field.type}`", "yes" if field.nullable else "no") for field in CATALOG_SCHEMA)
    return table(("column", "type", "may be null"), rows).strip()


def _formats() -> str:
    """Each part's number, and the numbers that this version reads."""
    parts = (part for part in vars(formats).values() if isinstance(part, formats.Format))
    rows = ((part.part, str(part.number), " and ".join(map(str, part.readable))) for part in parts)
    return table(("part", "written", "read"), rows).strip()


def _features() -> str:
    directions = {1: "raises it", -1: "lowers it", 0: "either"}
    rows = ((f"`{each.name}`", each.label, directions[each.monotonicity], each.description) for each in FEATURES)
    return table(("feature", "label", "more of it", "meaning"), rows).strip()
