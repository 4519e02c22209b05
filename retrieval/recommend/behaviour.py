"""What `tandem train users` learned of products from behaviour, as files of a model set; nothing in them names a user.

    users/behaviour.json   `BehaviourSpec`: format, time, names of segments and channels, what training reported
    users/products.arrow   a row for each product with behaviour, sorted by id: see `PRODUCTS_SCHEMA`
    users/popular.arrow    a row for each list of popular products: see `POPULAR_SCHEMA`
    users/tower/           the user tower, where there is one: `encoder.users.tower.UserTower`
    users/final/           the learned order of recommendations, where there is one: `ranker.recommendation`

Products are numbered by their *places* in `products.arrow`. Places are no rows of a catalog: `Behaviour.places` returns
them by id (-1 where a product has no behaviour), so the same files serve any release, and any revision of one.
Both Arrow files are mapped, so that processes share their memory.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from catalog.arrow_file import first_line, open_batches
from core.digest import file_digest, value_digest
from core.errors import ModelError
from core.formats import BEHAVIOUR

USERS, SPEC_FILE, PRODUCTS_FILE, POPULAR_FILE = "users", "behaviour.json", "products.arrow", "popular.arrow"
TOWER, FINAL = "tower", "final"  # folders inside
DAY = 86_400.0  # seconds
_FEW = 100  # ids that are looked up one by one
CHANNEL = "channel"  # its name among a user's segments
ANY = ""  # the segment, or the channel, of a list over all of them

Relation = Literal["together", "followed"]
RELATIONS: tuple[Relation, ...] = ("together", "followed")
Places: TypeAlias = NDArray[np.int64]
Weights: TypeAlias = NDArray[np.float32]

_NEIGHBOURS = [("together", pa.list_(pa.int32())), ("together_weights", pa.list_(pa.float32()))]
_NEIGHBOURS += [("followed", pa.list_(pa.int32())), ("followed_weights", pa.list_(pa.float32()))]
# `popularity` counts purchases (where there are none, clicks), each 0.5 to the power of its age in half-lives, as of
# the spec's time; `recent` the same with a tenth of the half-life. `sold` and `buyers` are plain counts. `first` and
# `last` are seconds since 1970. `price` is the median that was paid, NaN where none is known. `repurchase` is how many
# times as often as others of its age the product is bought again. Neighbours come best first: `together` were in the
# same baskets, `followed` in later ones.
PRODUCTS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("popularity", pa.float32()),
        ("recent", pa.float32()),
        ("sold", pa.int32()),
        ("buyers", pa.int32()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("price", pa.float32()),
        ("repurchase", pa.float32()),
        *_NEIGHBOURS,
    ]
)
# The most popular products of a segment (`name=value`) and a channel, best first; ANY stands for all. `weights` are as
# `popularity`.
POPULAR_SCHEMA = pa.schema(
    [
        ("segment", pa.string()),
        ("channel", pa.string()),
        ("products", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
    ]
)


class BehaviourSpec(BaseModel):
    """The content of `behaviour.json`. `report` is what training measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = Field(default=1, description="Format of the spec and of the files beside it.")
    time: int = Field(description="Time of the last event, in seconds since 1970: ages count from there.")
    half_life_days: float = Field(gt=0, description="Days after which a purchase counts half in popularity.")
    history_days: float = Field(gt=0, description="Days after which a product of a user's history counts half.")
    most_history: int = Field(ge=1, description="Latest products of a user's history that are read.")
    again_days: tuple[float, ...] = Field(
        description="Upper bounds of the ages, in days and ascending, that `again_rates` are of; the last one is open."
    )
    again_rates: tuple[float, ...] = Field(
        description="Share of users' later visits, by the age of what they had bought, at which they bought it again."
    )
    segments: tuple[str, ...] = Field(
        default=(), description="Segments of users that popular products are known of, as `name=value`."
    )
    channels: tuple[str, ...] = Field(default=(), description="Channels that popular products are known of.")
    encoder: str = Field(description="Digest of the bi-encoder whose item vectors were learned from.")
    report: dict[str, Any] = Field(default={}, description="Report of the training.")

    @model_validator(mode="after")
    def _match_rates(self) -> "BehaviourSpec":
        if not len(self.again_days) == len(self.again_rates) >= 1 or list(self.again_days) != sorted(self.again_days):
            raise ValueError("again_days and again_rates have to be as long, and the days ascending")
        return self


class Neighbours(NamedTuple):
    """The neighbours of m products, best first: those of product i are `places[offsets[i]:offsets[i + 1]]`, with their
    `weights`; `offsets` has shape (m + 1,)."""

    offsets: NDArray[np.int64]
    places: Places
    weights: Weights


class Popular(NamedTuple):
    """Popular products, best first, and their weights, both of shape (k,)."""

    places: Places
    weights: Weights


class Behaviour:
    """See the module. Arrays have shape (n,), n being the products with behaviour; for any number of threads."""

    def __init__(self, folder: Path, spec: BehaviourSpec, products: pa.RecordBatch, popular: pa.RecordBatch) -> None:
        """Use `Behaviour.open`."""
        self.folder = folder
        self.spec = spec
        self._ids: pa.Array = products.column("id")
        self.popularity: Weights = _array(products, "popularity")
        self.recent: Weights = _array(products, "recent")
        self.sold: NDArray[np.int32] = _array(products, "sold")
        self.buyers: NDArray[np.int32] = _array(products, "buyers")
        self.first: NDArray[np.int64] = _array(products, "first")
        self.last: NDArray[np.int64] = _array(products, "last")
        self.price: Weights = _array(products, "price")
        self.repurchase: Weights = _array(products, "repurchase")
        self.popularity_share, self.recent_share = _share(self.popularity), _share(self.recent)
        self._neighbours = {name: _lists(products, name, f"{name}_weights") for name in RELATIONS}
        offsets, places, weights = _lists(popular, "products", "weights")
        keys = zip(popular.column("segment").to_pylist(), popular.column("channel").to_pylist(), strict=True)
        self._popular = {
            key: Popular(places[start:stop], weights[start:stop])
            for key, start, stop in zip(keys, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        }
        named = (places, *(entry.places for entry in self._neighbours.values()))
        inside = all(part.min(initial=0) >= 0 and part.max(initial=-1) < len(self) for part in named)
        ascending = pc.all(pc.less(self._ids[:-1], self._ids[1:])).as_py() is not False
        if not len(self) or not inside or not ascending or (ANY, ANY) not in self._popular:
            raise _damaged(folder, "its files do not agree")

    @classmethod
    def open(cls, folder: Path) -> "Behaviour":
        """Maps what `tandem train users` left in a folder `users`. Raises ModelError where it is something else."""
        spec = _read_spec(folder)
        products, popular = (_read(folder / name, schema) for name, schema in _TABLES.items())
        return cls(folder, spec, products, popular)

    def __len__(self) -> int:
        """Products with behaviour."""
        return len(self._ids)

    def files(self) -> list[Path]:
        """All files of the folder, those of the tower and of the learned order among them."""
        own = [self.folder / name for name in (SPEC_FILE, *_TABLES)]
        inner = (path for name in (TOWER, FINAL) for path in sorted((self.folder / name).glob("*")) if path.is_file())
        return [*own, *(path for path in inner if not path.name.startswith("."))]

    @cached_property
    def digest(self) -> str:
        """The digest of its files."""
        return value_digest([[path.relative_to(self.folder).as_posix(), file_digest(path)] for path in self.files()])

    def places(self, ids: Sequence[str] | pa.Array) -> Places:
        """The places of m products by their ids, shape (m,); -1 where a product has no behaviour.

        A few are looked up one by one, in some 20 microseconds each; many are at once.
        """
        if len(ids) <= _FEW and not isinstance(ids, pa.Array | pa.ChunkedArray):
            return np.fromiter(map(self._place, ids), np.int64, len(ids))
        wanted = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(list(ids), pa.string())
        places = pc.index_in(wanted, value_set=self._ids).fill_null(-1)
        return places.to_numpy(zero_copy_only=False).astype(np.int64)

    def _place(self, wanted: str) -> int:
        place = bisect_left(range(len(self)), wanted, key=lambda at: self._ids[at].as_py())
        return place if place < len(self) and self._ids[place].as_py() == wanted else -1

    def ids(self, places: Places) -> list[str]:
        """The ids of the products at these places, none of them -1."""
        return self._ids.take(pa.array(places)).to_pylist()

    def neighbours(self, relation: Relation, places: Places) -> Neighbours:
        """The neighbours of the products at m places; a place -1 has none."""
        offsets, all_places, weights = self._neighbours[relation]
        known = np.maximum(places, 0)
        starts = np.where(places < 0, 0, offsets[known])
        counts = np.where(places < 0, 0, offsets[known + 1] - starts)
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
        return Neighbours(np.concatenate([[0], ends]), all_places[rows].astype(np.int64), weights[rows])

    def related(self, relation: Relation, places: Places, strengths: Weights) -> Popular:
        """All neighbours of m products, best first, each by the sum of its weights times the products' strengths, (m,).

        Equal scores stand in the order of their places, which is that of their ids: the same on every machine.
        """
        offsets, neighbours, weights = self.neighbours(relation, places)
        products, at = np.unique(neighbours, return_inverse=True)
        scores = np.bincount(at, weights * np.repeat(strengths, np.diff(offsets)), len(products)).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        return Popular(products[order], scores[order])

    def again(self, places: Places, age_days: Weights) -> Weights:
        """How probable it is that each of m products, bought so many days ago, is bought again at a visit; (m,).

        0 where a product has no behaviour.
        """
        bins = np.searchsorted(np.asarray(self.spec.again_days[:-1]), age_days, side="left")
        rates = np.asarray(self.spec.again_rates, np.float32)[bins]
        return np.where(places < 0, 0, np.minimum(1, rates * self.repurchase[np.maximum(places, 0)])).astype(np.float32)

    def list_names(self, segments: Mapping[str, str]) -> tuple[str, str]:
        """The segment and the channel to ask `popular` for, of what is known of a user by name, such as `age` to
        `25-34`. Of several segments with a list, it is the first by name."""
        channel = segments.get(CHANNEL, ANY)
        known = (f"{name}={value}" for name, value in sorted(segments.items()) if name != CHANNEL)
        return next((name for name in known if name in self.spec.segments), ANY), channel

    def popular(self, segment: str = ANY, channel: str = ANY) -> Popular:
        """What is popular with a segment of users in a channel, as far as it is known: else in the channel, else with
        the segment, else with all."""
        for key in ((segment, channel), (ANY, channel), (segment, ANY)):
            if key in self._popular:
                return self._popular[key]
        return self._popular[ANY, ANY]


def write_behaviour(folder: Path, spec: BehaviourSpec, products: pa.Table, popular: pa.Table) -> None:
    """Writes the three files; `products` has to be sorted by id. The spec comes last: it marks the folder as complete.

    Raises ValueError for tables of other schemas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC_FILE).unlink(missing_ok=True)
    for (name, schema), table in zip(_TABLES.items(), (products, popular), strict=True):
        if not table.schema.equals(schema):
            raise ValueError(f"{name} has another schema: {table.schema}")
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema)]:
                writer.write_batch(batch)
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n", "utf-8")


_TABLES = {PRODUCTS_FILE: PRODUCTS_SCHEMA, POPULAR_FILE: POPULAR_SCHEMA}


def _read_spec(folder: Path) -> BehaviourSpec:
    try:
        data = (folder / SPEC_FILE).read_bytes()
        if problem := BEHAVIOUR.problem_of(data, "run `tandem train users`"):
            raise ModelError(f"{folder}: {problem}")
        return BehaviourSpec.model_validate_json(data)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{folder} holds no {SPEC_FILE}; give a folder that `tandem train users` left") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise _damaged(folder, f"{'.'.join(map(str, fault['loc'])) or SPEC_FILE}: {fault['msg']}") from None


def _read(path: Path, schema: pa.Schema) -> pa.RecordBatch:
    try:
        own, batches = open_batches(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, first_line(error)) from None
    if not own.equals(schema) or len(batches) != 1:
        raise _damaged(path, "it has other columns than this version reads")
    return batches[0]


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} is not what this version reads of users' behaviour ({reason}); run `tandem train users`")


def _share(values: Weights) -> Weights:
    """Of the sum of all."""
    total = float(values.sum(dtype=np.float64))
    return (values / total if total > 0 else np.zeros(len(values))).astype(np.float32)


def _array(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    column = batch.column(name)
    return column.to_numpy(zero_copy_only=not column.null_count)


def _lists(batch: pa.RecordBatch, values: str, weights: str) -> Neighbours:
    """Two columns of lists that belong together."""
    first, second = batch.column(values), batch.column(weights)
    offsets, others = (column.offsets.to_numpy().astype(np.int64) for column in (first, second))
    if not np.array_equal(offsets, others) or first.null_count or second.null_count:
        raise ModelError(f"{values} and {weights} do not agree; run `tandem train users` again")
    return Neighbours(offsets, first.values.to_numpy(), second.values.to_numpy())
