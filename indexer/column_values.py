"""Values of products as typed columns have them."""

from catalog.columns import Kind
from indexer.cleaning.price import parse_price
from indexer.cleaning.rejection import InvalidValue
from indexer.inference import InferredType, read_boolean, read_time
from text.amounts import read_amount

SETS = ("color", "size", "material")
LONG_TEXTS = ("description", "link", "image_link")
_NO_NUMBER = float("nan")


def read_value(text: str, chosen: InferredType, language: str, currency: str | None) -> float:
    """A text as a column of truth values, dates, money or numbers has it; NaN where it is not of the type.

    Language (BCP 47) and currency (ISO 4217) are the catalog's.
    """
    if chosen.kind is Kind.boolean:
        truth = read_boolean(text, language)
        return _NO_NUMBER if truth is None else float(truth)
    if chosen.kind is Kind.date:
        seconds = read_time(text)
        return _NO_NUMBER if seconds is None else seconds
    if chosen.kind is Kind.money:
        try:
            micros, own = parse_price(text, currency)
        except InvalidValue:
            return _NO_NUMBER
        return float(micros) if own in (None, currency) else _NO_NUMBER
    amount = read_amount(text, language)
    return amount.value if amount is not None and amount.unit == chosen.unit else _NO_NUMBER
