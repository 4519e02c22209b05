"""The towers that a training starts from: one model for both sides or one for each."""

from copy import deepcopy

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router

from core.errors import ModelError
from encoder.train.load import has_two_models, load_encoder, set_prompts
from encoder.train.settings import EncoderTraining
from training.card import prepare_card


def load_base(settings: EncoderTraining) -> SentenceTransformer:
    """What `settings` start from, with a model for each side unless `shared`, cut to `dimensions`.

    Raises ModelError when there is no such model, or the settings do not fit it.
    """
    model = load_encoder(settings.base, settings.pooling)
    set_prompts(model, settings.query_prefix, settings.item_prefix)
    if settings.shared and has_two_models(model):
        raise ModelError(f"{settings.base}: has a model for queries and one for products; let shared be false")
    if not settings.shared and not has_two_models(model):
        model = _separate(model, settings.base)
    with model.truncate_embeddings(None):
        width = model.get_embedding_dimension()
    dimensions = max(settings.matryoshka, default=0), settings.dimensions or 0
    if max(dimensions) > width:
        raise ModelError(f"{max(dimensions)} dimensions are more than the {width} of the base model; ask for fewer")
    if settings.dimensions:
        model.truncate_dim = settings.dimensions
    return model


def _separate(model: SentenceTransformer, base: str | None) -> SentenceTransformer:
    """The same twice, as sentence-transformers' router keeps an encoder of queries and one of documents."""
    parts = list(model.children())
    router = Router.for_query_document(deepcopy(parts), parts)
    both = SentenceTransformer(
        modules=[router],
        device="cpu",
        prompts=model.prompts,
        similarity_fn_name=model.similarity_fn_name,
        truncate_dim=model.truncate_dim,
    )
    prepare_card(both, base)
    return both
