"""Lists of recommendations on the terminal."""

from collections.abc import Sequence

from rich.console import Console

from lifecycle.cli.show_answer import show_list
from tandem.v1 import recommend_pb2

_PATHS = {
    recommend_pb2.RECOMMENDATION_PATH_HISTORY: "for the shopper's history",
    recommend_pb2.RECOMMENDATION_PATH_ONE_PRODUCT: "for the one product known of the shopper",
    recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER: "nothing is known of the shopper: what is popular",
    recommend_pb2.RECOMMENDATION_PATH_PRODUCT: "beside the product",
    recommend_pb2.RECOMMENDATION_PATH_NEW_PRODUCT: "beside the product, of which no behaviour is known",
    recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_PRODUCT: "the catalog has no such product: what is popular",
    recommend_pb2.RECOMMENDATION_PATH_POPULAR: "what is popular",
}


def show_recommendations(console: Console, answer: recommend_pb2.RecommendResponse, fields: Sequence[str] = ()) -> None:
    """The list with each source's score, how it came about, its counts, and the token of the next page."""
    show_list(console, _PATHS.get(answer.path, "recommendations"), answer, fields, _lines(answer))


def _lines(answer: recommend_pb2.RecommendResponse) -> list[str]:
    lines = []
    if answer.products_used or answer.unknown_products:
        unknown = f", {answer.unknown_products} unknown to the catalog" if answer.unknown_products else ""
        lines.append(f"{answer.products_used} products of the shopper's used{unknown}")
    if answer.sources:
        lines.append(f"sources: {', '.join(answer.sources)}")
    if answer.exploration:
        slots = (f"{slot.rank} ({slot.propensity:.3g})" for slot in answer.exploration)
        lines.append(f"kept for new products, with their propensities: {', '.join(slots)}")
    return lines
