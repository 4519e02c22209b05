"""Which columns of a behaviour file are what: by names in use, or as the caller says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import FeedError

# Names in use, the first that a file has counts. Those of the public sets of H&M, RetailRocket, YooChoose, Instacart,
# RecSys challenges, Google Analytics and User Behavior Insights are among them.
_ALIASES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "customer_id", "client_id", "visitor_id", "visitorid", "shopper_id", "userid"),
    "product": ("product", "product_id", "article_id", "item_id", "itemid", "sku", "object_id", "aid", "id"),
    "time": ("time", "timestamp", "event_time", "t_dat", "date", "datetime", "ts", "created_at", "order_date"),
    "action": ("action", "action_name", "event", "event_type", "event_name", "type", "behavior", "behaviour"),
    "price": ("price", "unit_price", "amount"),
    "channel": ("channel", "sales_channel_id", "sales_channel"),
}
REQUIRED = ("user", "product", "time")
SEGMENT = "segment"
_SEGMENTS = ("age", "segment", "gender")
_MOST_SEGMENTS = 8


@dataclass(frozen=True, slots=True)
class BehaviourColumns:
    """The file's column of each field that it has, and the columns of users' segments, by the segments' names."""

    fields: Mapping[str, str]
    segments: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """All columns to read, each once."""
        return list(dict.fromkeys([*self.fields.values(), *self.segments.values()]))


def choose_columns(path: Path, names: Sequence[str], given: Sequence[str] = ()) -> BehaviourColumns:
    """The columns of a file that has these names; `given` are `field=column`, where they differ from those in use.

    A field that is none of those of behaviour is a segment of users. Raises FeedError for a column that the file lacks,
    and where user, product or time have none.
    """
    chosen = dict(_split(text) for text in given)
    if missing := [column for column in chosen.values() if column and column not in names]:
        raise FeedError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
    lower = {name.lower(): name for name in reversed(names)}
    fields: dict[str, str] = {}
    for field, aliases in _ALIASES.items():
        column = chosen.pop(field, None)
        if column is None:
            column = next((lower[alias] for alias in aliases if alias in lower), "")
        if column:
            fields[field] = column
    if absent := [field for field in REQUIRED if field not in fields]:
        raise FeedError(
            f"{path}: no column is the {' or the '.join(absent)}; name it, as in --column {absent[0]}=COLUMN: the file "
            f"has {', '.join(names)}"
        )
    segments = {name: lower[name] for name in _SEGMENTS if name in lower and lower[name] not in fields.values()}
    segments |= chosen
    segments = {name: column for name, column in segments.items() if column}
    if len(segments) > _MOST_SEGMENTS:
        raise FeedError(f"{path}: {len(segments)} segments of users; name at most {_MOST_SEGMENTS}")
    return BehaviourColumns(fields, segments)


def _split(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not field or not equals:
        raise FeedError(f"--column {text}: write FIELD=COLUMN, such as user=customer_id")
    return field.strip().lower(), column.strip()
