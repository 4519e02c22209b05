"""The options of `tandem search`."""

from typing import Annotated, Literal

import typer

from core.plan import MAX_TOP_K
from lifecycle.cli.options import duration, finite

DEFAULT_GROUP = "item_group_id"
_MOST_VARIANTS, _MOST_WORDS = 20, 10

TopK = Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to return.")]
SearchedCatalog = Annotated[str, typer.Option(help="Catalog; default: the only one served.")]
FilterText = Annotated[
    str | None, typer.Option("--filter", help="Which products may be returned, as in: price < 50 AND brand = Bosch.")
]
Facets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD[:N]",
        help="Count a field over all that matches: its N most frequent values, or ranges between borders, as in "
        "price:0,20,50. May be repeated.",
    ),
]
MultiSelect = Annotated[
    bool, typer.Option("--multi-select", help="Facets leave out the conditions of --filter on their own field.")
]
Sort = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD", help="Order by a field, -FIELD for the highest first. May be repeated."),
]
GroupField = Annotated[
    str | None, typer.Option(metavar="FIELD", help=f"Return groups of equal values, such as {DEFAULT_GROUP}.")
]
Variants = Annotated[
    int,
    typer.Option(
        min=0,
        max=_MOST_VARIANTS,
        help=f"Further products of each group; without --group, of those of {DEFAULT_GROUP}.",
    ),
]
TotalOption = Annotated[
    Literal["exact", "at-least"] | None,
    typer.Option(help="Count what matches; at-least may be too low with an approximate index, and says so."),
]
Page = Annotated[str, typer.Option(metavar="TOKEN", help="The next page, with the other options as they were.")]
Match = Annotated[
    Literal["relevant", "all"],
    typer.Option(help="Match what the query is about, or all that passes the filter."),
]
DiversityStrength = Annotated[
    float, typer.Option(min=0, max=1, callback=finite, help="How much difference counts beside relevance.")
]
Caps = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=N", help="At most N of the first 50 hits share a value. May be repeated."),
]
UnderstandingOption = Annotated[
    Literal["soft", "hard", "off"],
    typer.Option(help="What the query states moves products (soft), is a condition (hard), or is ignored (off)."),
]
Verbatim = Annotated[
    bool, typer.Option("--verbatim", help="Search the query as typed, uncorrected and without rewrites.")
]
LeastRevision = Annotated[
    int, typer.Option(min=0, help="Revision that the answer has to have at least, as `tandem upsert` prints it.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Print what each feature added to the score.")]
ExplainWords = Annotated[
    int, typer.Option(min=0, max=_MOST_WORDS, help="Print how much each word counts, of so many first hits.")
]
Language = Annotated[str, typer.Option(help="Language of the query, such as en; default: the catalog's.")]
Country = Annotated[str, typer.Option(help="Country of the shopper, such as IE; default: the catalog's.")]
Fields = Annotated[
    list[str] | None,
    typer.Option(metavar="NAMES", help="Fields of the hits, as in brand,color; * for all. May be repeated."),
]
Timeout = Annotated[
    float, typer.Option(callback=duration, help="Seconds for the connection, and again for the search.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]
