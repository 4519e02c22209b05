from pathlib import Path

import numpy as np
from recommendations import make_rows, segment_of

from catalog.popularity import PopularityScale
from catalog.view import CatalogView
from retrieval.recommend.groups import Groups


def test_members_of_groups_are_found_in_every_segment(tmp_path: Path) -> None:
    scale = PopularityScale(np.arange(3.0))
    base = segment_of(tmp_path, make_rows([9, 1, 2, 10, 0]), "base")  # groups g3 g0 g0 g3 g0
    fresh = segment_of(tmp_path, make_rows([11, 30]), "fresh", scale)  # g3 g10
    view = CatalogView(base, (fresh,), None, revision=1)
    # p11 of the fresh segment and p9 are of g3, p1 and p2 of g0: the first row of a group stands for it.
    rows, places = Groups().members(view, np.array([5, 0, 1, 2]))
    assert rows.tolist() == [0, 3, 5, 1, 2, 4] and places.tolist() == [0, 0, 0, 2, 2, 2]
    rows, places = Groups().members(view, np.array([6]))
    assert rows.tolist() == [6] and places.tolist() == [0]
    rows, places = Groups().members(view, np.zeros(0, np.int64))
    assert not len(rows) and not len(places)


def test_a_release_without_columns_has_no_groups(tmp_path: Path) -> None:
    from builders import write_columns

    from catalog.segment import make_segment
    from catalog.table import ProductTable

    view = CatalogView(make_segment(ProductTable(write_columns(tmp_path / "a.arrow", make_rows([1, 2])))))
    assert not len(Groups().members(view, np.array([0]))[0])
