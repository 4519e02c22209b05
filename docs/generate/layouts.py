"""What the page of benchmarks shows of each: tables by the name of the module that measured, in their order.

Others have the default, which is readable where results are rows by name.
"""

from docs.generate.figures import ANY, Table

_QUALITY = ("nDCG@10", "MRR@10", "recall@100", "judged@10", "nDCG@10, judged pool")
_LATENCY = ("p50_ms", "p95_ms", "p99_ms")
_STUDENT = (
    *("bytes", "milliseconds: query", "milliseconds: item", "milliseconds: pair"),
    *("speed: query", "speed: item", "speed: pair", "ndcg", "difference", "low", "high", "closeness"),
)
_RATE = ("offered_per_s", "answered_per_s", *_LATENCY, "error_share", "refused_share", "degraded_share", "ndcg")
_PEER = (
    *("speeds: 1: queries_per_s", "speeds: 1: p50_ms", "speeds: 1: p99_ms"),
    *("speeds: 8: queries_per_s", "speeds: 8: p50_ms", "speeds: 8: p99_ms"),
    *("products_per_s", "peak_mib", "quality: ndcg"),
)
_PEER_NAMES = {
    **{f"speeds: {n}: {field}": f"{clients}: {shown}" for n, clients in (("1", "1 client"), ("8", "8 clients"))
       for field, shown in (("queries_per_s", "queries/s"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"))},
    "products_per_s": "products embedded/s",
    "quality: ndcg": "nDCG@10",
}  # fmt: skip
_GROWTH = (
    *("index_job: seconds", "index_job: peak_rss_mib", "service: after_queries_mib: anon"),
    *("service: after_queries_mib: file", "bytes: products.arrow", "bytes: index.faiss", "bytes: kept embeddings"),
)
_SHARES = {
    f"rows: {share}: over fused": share
    for share in ("share 0.1", "share 0.25", "share 0.5", "share 0.75", "share 1", "served")
}
_ANSWERS = ("offered_per_s", "answered_per_s", "p99_ms")
_ENDED = ("by_deadline_and_10_ms", "by_deadline_and_10_ms_as_sent", "worst_ms_over")
_SYSTEM = ("nDCG@10", "nDCG@10 over untuned", "MRR@10", "recall@100", "nDCG@10, judged pool", "nDCG@10, unseen")


def _peers(part: str) -> tuple[Table, ...]:
    return (
        Table(part.capitalize(), (part, "rows", ANY), ("program",), _PEER, names=_PEER_NAMES),
        Table(
            f"{part.capitalize()}, as ratios", (part, "to sentence-transformers", ANY), ("to sentence-transformers",)
        ),
        Table(f"{part.capitalize()}, as ratios", (part, "to the strongest peer", ANY), ("to the strongest peer",)),
    )


DEFAULT = (Table("", (ANY,), ("result",)),)
LAYOUTS: dict[str, tuple[Table, ...]] = {
    "caches": (
        Table("", (("without",), ANY), ("caches", "run")),
        Table("", (("filling", "with"),), ("caches",)),
        Table("Ratio of queries/s to those without", ("ratio",)),
        Table("Share of lookups that hit", ("hit_rates",)),
    ),
    "change_log": (
        Table("Killed at random moments", ("killed", ANY), ("killed",)),
        Table("Appends of one entry each", ("appends", ANY), ("appends",)),
        Table("Folding", ("folding",)),
    ),
    "compression": (Table("", (ANY,), ("model",), _STUDENT, names={"difference": "nDCG@10 less that of the first"}),),
    "embedding": (Table("", ()),),
    "folds": (Table("", ("systems", ANY), ("system",), _SYSTEM),),
    "fresh": (
        Table("nDCG@10", ("quality",)),
        Table("Searching, processor time", ("searching", ANY), ("fresh segments",)),
        Table("Building and changing, milliseconds", (("building", "changing"),), ("segment",)),
        Table("Merging", ("merging",)),
    ),
    "fusion": (Table("", (ANY,), ("fusion",), (*_QUALITY, "nDCG@10 over reciprocal rank")),),
    "hybrid": (Table("", (ANY,), ("order by",), (*_QUALITY[:4], "nDCG@10 over final")),),
    "load": (
        Table("Rates tried", ("trials", ANY), ("trial",), ("rate", "seconds", "outcome", "calls", *_RATE)),
        Table("", (("beyond",),), ("at twice the rate",), ("rate", "seconds", "outcome", "calls", *_RATE)),
        Table("The whole run", (), (), ("highest_rate", "calls", *_RATE, "client_cores", "server_cores", "valid")),
        Table("Objectives", ("verdict", "findings", ANY), (), ("name", "seen", "limit", "holds")),
    ),
    "losses": (Table("", (ANY,), ("loss",), (*_QUALITY, "nDCG@10 over bce")),),
    "memory": (
        Table("Steps of the index job", ("sizes", ANY, "steps", ANY), ("products", "step")),
        Table("The service", ("sizes", ANY, "service"), ("products",)),
        Table("Grows as a fixed part and so much for a million products", ("growth", _GROWTH), ("measure",)),
    ),
    "million": (
        Table("The chosen index", ("index",), (), (), ("tried", "latency_ms", "exact_latency_ms", "recall_at_100")),
        Table("Latency", ("latency", ANY), ("index",)),
        Table("Memory, MiB", ("memory_mib", ANY), ("index",)),
        Table("", (), (), ("recall_at_100: mean", "recall_at_100: worst_twentieth", "p50_share_of_exact",
                           "embedded", "embed_seconds")),
    ),
    "overhead": (Table("", (ANY,), ("call",)),),
    "overload": (
        Table("", ("loads", ANY), ("load",), (), ("codes", "retry_info_share", "gave_up")),
        Table(
            "An overload ends", ("recovery",), (), ("recovered_after_s", *(f"from_5_s_on: {name}" for name in _ANSWERS))
        ),
        Table(
            "Twice what is answered at best; then as many processes as cores only compute; then they are gone",
            ("neighbour", ANY), ("processes",), (*_ANSWERS, "in_flight"),
        ),
        Table("Deadlines from 1 to 500 ms", ("deadlines",), (), ("calls", "answered_share", *_ENDED)),
    ),
    "peers": (*_peers("rescored"), *_peers("retrieved only")),
    "processes": (
        Table("", ("rows", ANY), ("service",)),
        Table("To one embedded process", ("to_one_embedded_process", ANY), ("service",)),
    ),
    "quality": (Table("", (ANY, "systems", ANY), ("set", "system"), _SYSTEM),),
    "quantization": (Table("", (ANY,), ("kind",)),),
    "roofline": (Table("", ()),),
    "soak": (
        Table("Once all is warm, and at the end", (("memory_mib", "descriptors", "threads"),), ("taken",)),
        Table("Growth an hour", ("growth_an_hour",)),
        Table("", (), (), ("most_memory_mib", "swaps", "changes", "releases_that_answered")),
        Table("Searches", (("first_half", "second_half"),), ("time",)),
        Table("Calls", ("calls", ANY), ("method",)),
    ),
    "triton": (
        Table("", (ANY, ("embedded", "triton")), ("path", "engine"), (), ("answers_each_round",)),
        Table("Triton to embedded", (ANY, "triton_to_embedded"), ("path",)),
    ),
    "recommend": (
        Table("MAP@12 of customers of the day held out", ("MAP@12", ANY, ANY), ("customers", "order by"),
              ("MAP@12", "times popularity", "over bought again or same group: difference",
               "over bought again or same group: p")),
        Table("MAP@12 of lists of new products alone, for those who bought one",
              ("new products", ANY, "MAP@12", ANY, ("popularity", "user tower", "learned order")),
              ("products", "customers", "order by")),
        Table("Diversity, customers with a history", ("diversity", "products of a type, at most", ANY),
              ("products of a type, at most",), (), ("over no cap",)),
    ),
    "rerank_shares": (
        Table("nDCG@10 of fusion alone, and what is added by a share of the cross-encoder", (ANY, ANY),
              ("relevance", "set"), ("queries", "fused", *_SHARES), names=_SHARES),
    ),
    "unseen": (
        Table("nDCG@10 of each shop, and paired with the untuned towers and words fused", ("sets", ANY, "rows", ANY),
              ("set", "order"), ("nDCG@10", "difference")),
        Table("Over all shops, beside the same", ("summary", ANY), ("order",)),
        Table("Milliseconds of a search", ("sets", ANY), ("set",), (), ("rows",)),
    ),
    "suggest": (
        Table("Time of a suggestion", ("latency", ANY), ("what is timed",)),
        Table("MRR@10 on held-out queries", ("quality", ANY), ("typed",)),
    ),
    "columns": (
        Table("Typed columns of a product table", (ANY, "columns"), ("products of",)),
        Table("A mask that is made anew", (ANY, "masks", ANY), ("products of", "condition")),
    ),
    "words": (
        Table("Words alone, beside other libraries", ("engines", ANY), ("engine",)),
        Table("nDCG@10 with typing errors", ("errors", ANY, ANY), ("errors in a query", "order by"),
              ("nDCG@10", "recall@100", "share of clean nDCG@10")),
        Table("Time of each stage of a request", ("cost", ANY), ("stage",)),
        Table("Share of codes whose product comes first", ("codes", ANY, "first"), ("code",)),
    ),
}  # fmt: skip
