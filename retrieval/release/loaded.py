"""A release in memory: its models, columns and tokens, and how many requests hold it."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalog.column_file import TYPED_COLUMNS_FILE, open_columns
from catalog.columns import Columns
from catalog.segment import make_segment
from catalog.table import ProductTable
from catalog.tokens import ProductTokens
from catalog.view import CatalogView
from core.digest import value_digest
from core.errors import ReleaseError
from core.formats import LEXICAL_INDEX, SUGGESTIONS
from core.manifest import Manifest
from core.plan import RERANK_DEPTH, Plan
from encoder.bi_encoder import BiEncoder
from engine.cache import Caches
from engine.embedded import EmbeddedEngine
from engine.folder import TOKENIZER_FILE
from engine.half import half_path
from engine.lanes import ObserveBatch, ignore_batch
from engine.lexical.index import FORMAT, SYNONYMS_FILE, LexicalIndex
from engine.onnx.session import OnnxModel
from engine.protocol import Engine, Pair, Tokens
from engine.suggest.index import SuggestionIndex
from engine.vector.index import VectorIndex
from ranker.final import FinalScore
from ranker.ranker import Ranker
from retrieval.pipeline.budget import RerankCostModel, Reserve
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.features import compute_features
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.recommend.recommender import Recommender, open_recommender
from retrieval.release.models import CachedModels, Rescoring
from retrieval.rules.ruleset import NO_RULES
from retrieval.suggest.suggester import Suggester
from retrieval.understanding.agreement import compute_agreement
from retrieval.understanding.attributes import AttributeReader
from retrieval.understanding.result import Understanding
from text.price_bounds import PriceBounds, read_price_bounds
from text.synonyms import Synonyms

if TYPE_CHECKING:
    from retrieval.live.catalogs import LiveRelease

log = logging.getLogger("tandem.releases")
_WARM_QUERY = "warm up the release before it serves"
_WARM_PAIRS = 32
_WARM_ROUNDS = 3

MakeEngine = Callable[[Path, Manifest, BiEncoder, Ranker | None], Engine]


class LoadedRelease:
    """One release, ready to serve. Requests take it with `lease`; it closes when retired and the last one is done."""

    def __init__(
        self,
        manifest: Manifest,
        tower: BiEncoder,
        ranker: Ranker | None,
        columns: ProductTable,
        tokens: ProductTokens | None,
        engine: Engine,
        words: LexicalRetriever | None = None,
        final: FinalScore | None = None,
        models: CachedModels | None = None,
        suggester: Suggester | None = None,
        typed: Columns | None = None,
        recommender: Recommender | None = None,
    ) -> None:
        """`ranker` and `tokens` are both there or both None; `words` is None where there is no lexical index, `final`
        where no final score was learned, `suggester` where there are no suggestions, `typed` where there are no typed
        columns. Without `models` nothing is cached."""
        self.manifest = manifest
        self.tower = tower
        self.ranker = ranker
        self.columns = columns
        self.engine = engine
        self.models = models or CachedModels(engine, Caches())
        self.words = words
        self.final = final
        self.suggester = suggester
        self.recommender = recommender or Recommender(columns)
        self.rerank_cost = RerankCostModel()
        self.reserve = Reserve()
        self.warm_seconds = 0.0  # what one request's work took once all had been run before
        self.view = CatalogView(make_segment(columns, tokens, columns=typed))
        self.live: LiveRelease | None = None  # what follows and makes changes; None where the release takes none
        self.rules = NO_RULES  # those in service, which are published apart from releases
        self._leases = 0
        self._retired = False

    @property
    def release_id(self) -> str:
        """The release's name."""
        return self.manifest.release_id

    @property
    def products(self) -> int:
        """How many products the release was published with."""
        return len(self.view.base)

    def pack(self, text: str, rows: np.ndarray) -> list[Pair]:
        """The query packed with each product, in the order of the rows."""
        return self._pack(*self._tokens_of(text, rows, self.view))

    def rescoring(self, text: str, rows: np.ndarray, view: CatalogView) -> Rescoring:
        """The work of rescoring the products of these rows of the view."""
        return self.models.rescoring(*self._tokens_of(text, rows, view), self._pack)

    def _tokens_of(self, text: str, rows: np.ndarray, view: CatalogView) -> tuple[Tokens, Sequence[Tokens]]:
        assert self.ranker is not None
        return self.ranker.tokenize_query(text), view.tokens(rows)

    def _pack(self, query: Tokens, products: Sequence[Tokens]) -> list[Pair]:
        assert self.ranker is not None
        return [Pair(*packed) for packed in self.ranker.pack_all(query, products)]

    def relevance(self, logits: np.ndarray, similarities: np.ndarray) -> np.ndarray:
        """Probabilities of relevance, shape (n,), from the cross-encoder's logits and the towers' cosines."""
        assert self.ranker is not None
        return self.ranker.scores(logits, similarities)

    def features(self, candidates: CandidateSet, stated: Understanding) -> NDArray[np.float32]:
        """The features of c candidates of the release as published, before they are rescored; shape (c, f)."""
        agreement = compute_agreement(stated, candidates.rows, self.view)
        return compute_features(candidates, self.view.popularity(candidates.rows), agreement)

    def price_bounds(self, text: str) -> tuple[str, PriceBounds | None]:
        """See `read_price_bounds`; None as well where the query names a currency that is not the catalog's."""
        rest, bounds = read_price_bounds(text)
        if bounds is None or (bounds.currencies and self.manifest.currency not in {None, *bounds.currencies}):
            return text, None
        return rest, bounds

    @property
    def similarity_threshold(self) -> float | None:
        """The similarity above which the bi-encoder counts a product as a match; None of releases that have none."""
        return self.manifest.snapshot.index.get("similarity_threshold")

    @property
    def mix(self) -> float:
        """What the cross-encoder's order counts beside that of retrieval; see `mixed_scores`."""
        return self.ranker.mix if self.ranker is not None else 0.0

    def fusion_weights(self, plan: Plan) -> tuple[float, float]:
        """The dense and the lexical source's: the plan's, else those that were tuned with the final score, else 1."""
        dense, lexical = (self.final.spec.dense_weight, self.final.spec.lexical_weight) if self.final else (1.0, 1.0)
        return (
            dense if plan.dense_weight is None else plan.dense_weight,
            lexical if plan.lexical_weight is None else plan.lexical_weight,
        )

    def rerank_depth(self, plan: Plan) -> int:
        """How many candidates to rescore: the plan's, else as many as the final score needs.

        None where there is no final score and the cross-encoder's word would not count.
        """
        default_depth = RERANK_DEPTH if self.mix else 0
        own = self.final.spec.rerank_depth if self.final else default_depth
        return own if plan.rerank_depth is None else plan.rerank_depth

    @property
    def in_use(self) -> bool:
        """Whether a request holds it."""
        return self._leases > 0

    @contextmanager
    def lease(self) -> Iterator["LoadedRelease"]:
        """Holds the release for one request."""
        self._leases += 1
        try:
            yield self
        finally:
            self._leases -= 1
            self._close_when_done()

    def retire(self) -> None:
        """No further request will take it."""
        self._retired = True
        self._close_when_done()

    async def warm(self) -> None:
        """Runs every model a few times, so that no request pays for first runs, and measures rescoring's pace."""
        loop = asyncio.get_running_loop()
        rows = np.arange(min(_WARM_PAIRS, self.products))
        for _ in range(_WARM_ROUNDS):
            began = loop.time()
            vectors = await self.engine.encode(self.tower.tokenize_queries([_WARM_QUERY]), None)
            await self.engine.retrieve(vectors, len(rows), None, self.view)
            if self.words is not None:
                await self.words.search(_WARM_QUERY, len(rows), self.view)
            if self.ranker is not None:
                pairs = self.pack(_WARM_QUERY, rows)
                start = loop.time()
                await self.engine.rescore(pairs, None)
                self.rerank_cost.calibrate(sum(len(pair.tokens) for pair in pairs), loop.time() - start)
            self.warm_seconds = loop.time() - began
        if self.recommender.behaviour is not None:  # else few ask for recommendations, and the first one waits
            await asyncio.to_thread(self.recommender.prepare, self.view)

    def _close_when_done(self) -> None:
        if self._retired and not self._leases:
            if self.live is not None:
                self.live.close()
                self.live = None  # it knows this release: what each knows of the other would keep both
            self.engine.close()
            if self.words is not None:
                self.words.close()
            if self.suggester is not None:
                self.suggester.close()


def embedded_engine(
    folder: Path,
    manifest: Manifest,
    tower: BiEncoder,
    ranker: Ranker | None,
    lanes: int | None = None,
    observe: ObserveBatch = ignore_batch,
) -> Engine:
    """The release's models and index in this process; `lanes` is the number of worker threads, default: one a core.
    `observe` is called after each batch."""
    return EmbeddedEngine(
        OnnxModel(tower.model_path("query"), mapped=True),
        VectorIndex.open(folder / "index.faiss", manifest.snapshot.index),
        OnnxModel(ranker.model_path, mapped=True) if ranker is not None else None,
        lanes,
        observe=observe,
    )


def open_release(
    folder: Path, manifest: Manifest, make_engine: MakeEngine = embedded_engine, caches: Caches | None = None
) -> LoadedRelease:
    """Loads a release whose files were verified; its models are called through the caches.

    Raises ReleaseError or ModelError when its parts do not fit, whatever is in them.
    """
    try:
        return _open(folder, manifest, make_engine, caches)
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise ReleaseError(
            f"release {manifest.release_id} is not what this version reads ({reason}); index again or roll back"
        ) from error


def _open(folder: Path, manifest: Manifest, make_engine: MakeEngine, caches: Caches | None) -> LoadedRelease:
    tower = BiEncoder.open(folder / "encoder")
    ranker = Ranker.open(folder / "ranker") if manifest.model.ranker is not None else None
    columns = ProductTable(folder / "products.arrow")
    tokens = ProductTokens(folder) if ranker is not None else None
    if len(columns) != manifest.snapshot.products or (tokens is not None and len(tokens) != len(columns)):
        raise ReleaseError(
            f"release {manifest.release_id}: columns and tokens do not hold {manifest.snapshot.products} products"
        )
    typed = _open_typed(folder, manifest)
    words = _open_words(folder, manifest, tower, typed)
    final = FinalScore.open(folder / "final") if manifest.model.final is not None else None
    suggester = _open_suggester(folder, manifest)
    recommender = open_recommender(folder, manifest, columns)
    engine = make_engine(folder, manifest, tower, ranker)
    models = CachedModels(engine, caches or Caches(), *_digests(manifest, tower, ranker))
    return LoadedRelease(
        manifest, tower, ranker, columns, tokens, engine, words, final, models, suggester, typed, recommender
    )


def _digests(manifest: Manifest, tower: BiEncoder, ranker: Ranker | None) -> tuple[str, str, str]:
    """The digests of the query tower, the index, and the cross-encoder with its tokenizer, which decides how pairs are
    packed. Each begins with the catalog: what one has cached answers no other, nor makes its answers faster, which
    would tell its callers what others asked for."""
    files = manifest.files
    query = tower.model_path("query")
    scorer = [] if ranker is None else [ranker.model_path, half_path(ranker.model_path), Path(TOKENIZER_FILE)]

    def digests(folder: str, paths: list[Path]) -> str:
        names = [f"{folder}/{path.name}" for path in paths]
        return "".join(files[name].sha256 for name in names if name in files)

    named = f"{manifest.catalog}/"
    return (
        named + digests("encoder", [query, half_path(query)]),
        named + files["index.faiss"].sha256 + value_digest(manifest.snapshot.index),  # with the settings of its search
        named + digests("ranker", scorer),
    )


def _open_typed(folder: Path, manifest: Manifest) -> Columns | None:
    """The typed columns, where the release was made with them."""
    if manifest.snapshot.columns is None:
        log.warning(
            "release %s has no typed columns: requests with filters are refused until you run `tandem index` again",
            manifest.release_id,
        )
        return None
    return open_columns(folder / TYPED_COLUMNS_FILE)


def _open_words(
    folder: Path, manifest: Manifest, tower: BiEncoder, typed: Columns | None = None
) -> LexicalRetriever | None:
    """The lexical source, where the release was made with one."""
    report = manifest.snapshot.lexical
    if report is None:
        return None
    if problem := LEXICAL_INDEX.problem(report.format, "run `tandem index`"):
        raise ReleaseError(f"release {manifest.release_id}: {problem}")
    if report.format != FORMAT:
        log.warning(
            "release %s: its words are of format %d, this version reads %d: names, compounds and scripts are found "
            "less well by words until you run `tandem index` again",
            *(manifest.release_id, report.format, FORMAT),
        )
    index = LexicalIndex(folder / "lexical", list(report.weights), manifest.snapshot.products)
    path = folder / "lexical" / SYNONYMS_FILE
    synonyms = Synonyms.model_validate_json(path.read_bytes()) if path.is_file() else None
    attributes = None if typed is None else AttributeReader(index, manifest.language, typed)
    return LexicalRetriever(index, manifest.language, report.weights, synonyms, tower.is_word, attributes)


def _open_suggester(folder: Path, manifest: Manifest) -> Suggester | None:
    """What completes queries, where the release was made with suggestions."""
    report = manifest.snapshot.suggestions
    if report is None:
        return None
    if problem := SUGGESTIONS.problem(report.format, "run `tandem index`"):
        raise ReleaseError(f"release {manifest.release_id}: {problem}")
    return Suggester(SuggestionIndex(folder / "suggestions"), manifest.language)
