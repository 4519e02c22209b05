import pytest

from text.amounts import Amount, read_amount


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("18", 18, ""),
        ("18V", 18, "v"),
        ("18 Volts", 18, "v"),
        ("2,5 kg", 2.5, "kg"),
        ("1,234.5", 1234.5, ""),
        ("12345678", 12345678, ""),
        ("-20 °C", -20, "°c"),
        ("\N{MINUS SIGN}3.5", -3.5, ""),
        ("3/4 in.", 0.75, "in"),
        ("1-1/2 inch", 1.5, "in"),
        ("½ in", 0.5, "in"),
        ("250 cd/m²", 250, "cd/m2"),
        ("10 Mbit/s", 10, "mbit/s"),
        ('27"', 27, "in"),
        ("100 g", 100, "g"),
        (".5 l", 0.5, "l"),
        ("0.25", 0.25, ""),
        ("40 %", 40, "pct"),
        ("12 Monate", 12, "monate"),
    ],
)
def test_a_number_with_its_unit(text: str, value: float, unit: str) -> None:
    assert read_amount(text) == Amount(value, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "V",
        "10-20",
        "10 - 20 V",
        "100-240V",
        "2 x 4",
        "2x4 in",
        "0017",
        "±5",
        "4 in 1",
        "1.2.3",
        "1e5",
        "12/24/36",
        "1234567890123456",
        "16:9",
        "IPX4",
        "5 " + "a" * 20,
        "1 " * 40,
    ],
)
def test_what_is_no_single_number(text: str) -> None:
    assert read_amount(text) is None
