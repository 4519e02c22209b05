"""Behaviour files loaded into profiles."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from lifecycle.profiles import import_profiles
from retrieval.profiles.profiles import Profiles, open_profiles
from retrieval.profiles.settings import ProfileSettings
from retrieval.recommend.user import Action, UserEvent

NOW = time.time()


@pytest.fixture
def profiles(tmp_path: Path) -> Any:
    made = open_profiles(ProfileSettings("embedded", tmp_path / "profiles"))
    assert made is not None
    yield made
    made.close()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def csv(path: Path, *lines: str, header: str = "customer_id,article_id,t_dat,event") -> Path:
    path.write_text("\n".join((header, *lines)) + "\n", "utf-8")
    return path


def test_events_of_a_file_are_in_the_profiles_and_loading_it_again_adds_nothing(
    tmp_path: Path, profiles: Profiles
) -> None:
    day = float(int(NOW)) - 86_400
    file = csv(
        tmp_path / "log.csv",
        f"anne,a,{iso(day)},view",
        f"ben,b,{day},add_to_cart",
        f"anne,c,{(day + 5) * 1000:.0f},",
        f"anne,0012,{iso(day + 9)},Purchase",
    )
    for _ in range(2):
        report = import_profiles(file, profiles, "shop")
    assert report.lines() == ["4 rows read, 4 events of 2 shoppers kept"]
    purchase = Action.purchase
    assert profiles.events("shop", "anne") == [
        UserEvent("0012", day + 9, purchase),
        UserEvent("c", day + 5, purchase),
        UserEvent("a", day),
    ]
    assert profiles.events("shop", "ben") == [UserEvent("b", day, Action.cart)]
    assert b"anne" not in b"".join(path.read_bytes() for path in (tmp_path / "profiles").iterdir())


def test_parquet_with_times_of_its_own_type_is_read(tmp_path: Path, profiles: Profiles) -> None:
    moment = datetime.fromtimestamp(int(NOW) - 100, UTC)
    table = pa.table({"who": ["anne"], "sku": [17], "at": pa.array([moment.replace(tzinfo=None)], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "log.parquet")
    import_profiles(tmp_path / "log.parquet", profiles, "shop", ["user=who", "time=at"])
    assert profiles.events("shop", "anne") == [UserEvent("17", float(int(NOW) - 100), Action.purchase)]


def test_rows_that_cannot_be_used_are_counted_by_what_is_wrong_and_name_no_shopper(
    tmp_path: Path, profiles: Profiles
) -> None:
    good = [f"user{i},p{i},{iso(NOW - i)},view" for i in range(40)]
    bad = [
        f",p,{iso(NOW)},view",
        f"secret-one,,{iso(NOW)},view",
        "secret-one,p,,view",
        "secret-one,p,yesterday,view",
        f"secret-one,p,{iso(NOW + 900_000)},view",
        f"secret-one,p,{iso(NOW)},stare",
        f"{'secret-one' * 50},p,{iso(NOW)},view",
    ]
    lines = import_profiles(csv(tmp_path / "log.csv", *good, *bad), profiles, "shop").lines()
    assert lines[0] == "47 rows read, 40 events of 40 shoppers kept"
    assert "1 rows left out: no user, first in row 41" in lines and len(lines) == 7
    assert "2 rows left out: the time cannot be read, or is before 1970 or still to come, first in row 44" in lines
    assert "secret" not in str(lines)
    with pytest.raises(FeedError, match="load it again") as error:
        import_profiles(csv(tmp_path / "bad.csv", *bad), profiles, "shop")
    assert "secret" not in str(error.value)


def test_columns_that_are_missing_are_named_with_what_to_do(tmp_path: Path, profiles: Profiles) -> None:
    file = csv(tmp_path / "log.csv", f"anne,a,{iso(NOW)}", header="customer_id,thing,t_dat")
    with pytest.raises(FeedError, match="--column product=COLUMN"):
        import_profiles(file, profiles, "shop")
    with pytest.raises(FeedError, match="no column gone"):
        import_profiles(file, profiles, "shop", ["product=gone"])
    assert import_profiles(file, profiles, "shop", ["product=thing"]).events == 1
