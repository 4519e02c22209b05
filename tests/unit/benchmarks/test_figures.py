"""The README's table and plot are those of the results."""

import pytest

from benchmarks.figures import PLOT, README, plot, read_rows, table, with_table

ROW = {"speeds": {"1": {"queries_per_s": 10.04}, "8": {"queries_per_s": 20.06, "p99_ms": 1234.5}}}
ROWS = {"tandem, as served": {**ROW, "products_per_s": 999.6, "peak_mib": 470.2}}


def test_a_row_shows_what_was_measured() -> None:
    assert table(ROWS).splitlines()[-1] == "| **Tandem, as served** | 10.0 | 20.1 | 1,234 | 1,000 | 470 |"


def test_the_plot_names_the_program_and_its_rate() -> None:
    text = plot(ROWS)
    assert "Tandem, as served" in text and ">20.1<" in text


def test_the_table_replaces_what_stands_between_the_marks() -> None:
    text = with_table("a\n<!-- figures -->\nold\n<!-- /figures -->\nb\n", ROWS)
    assert text == f"a\n<!-- figures -->\n{table(ROWS)}\n<!-- /figures -->\nb\n"
    with pytest.raises(ValueError, match="no marks"):
        with_table("a\n", ROWS)


def test_readme_and_plot_are_those_of_the_results() -> None:
    """Run `python -m benchmarks.figures` where they are not."""
    rows, readme = read_rows(), README.read_text("utf-8")
    assert with_table(readme, rows) == readme
    assert PLOT.read_text("utf-8") == plot(rows)
