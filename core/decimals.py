"""Decimals as their plain numbers."""

from decimal import Decimal

# Numbers of more digits are written with an exponent.
_DIGITS = 100


def plain_decimal(value: Decimal) -> str:
    """12.5 for 12.500, 0 for 0E-18, and nothing for NaN and infinity."""
    if not value.is_finite():
        return ""
    if abs(value.adjusted()) > _DIGITS:
        return str(value)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
