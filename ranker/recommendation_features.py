"""The feature schema of the order of recommendations: a name that never changes its meaning for each column.

As with `ranker.features`: a model keeps the names that it was trained on, and takes its columns by name; another
meaning needs another name. Ranks count from 1 among the candidates. NaN is a value that is missing.
"""

from ranker.features import Feature

RECOMMENDATION_FEATURES: tuple[Feature, ...] = (
    Feature(
        "again_probability",
        "bought again",
        0,
        "Probability that the user, who has it, buys it again at a visit, by its age.",
        optional=True,
    ),
    Feature("again_times", "times bought", 0, "How often it is in the user's history."),
    Feature("again_days", "days since bought", 0, "Days since the user last had it in the history.", optional=True),
    Feature("again_action", "strongest action", 0, "The strongest the user did with it: 1 view, 2 cart, 3 purchase."),
    Feature("together_score", "bought together", 0, "How much it is bought together with the history's products."),
    Feature("together_rank", "rank in bought together", 0, "Its rank by `together_score`.", optional=True),
    Feature("followed_score", "bought later", 0, "How much it is bought some time after the history's products."),
    Feature("followed_rank", "rank in bought later", 0, "Its rank by `followed_score`.", optional=True),
    Feature("group_products", "same group", 0, "Products of the history that are other variants of it."),
    Feature("group_days", "days since the group", 0, "Days since the latest of them.", optional=True),
    Feature("type_share", "same type", 0, "Share of the history that is of its product type, by age."),
    Feature("user_cosine", "user tower", 0, "Cosine of its vector and the user tower's.", optional=True),
    Feature("user_rank", "rank by the user tower", 0, "Its rank by `user_cosine`.", optional=True),
    Feature("mean_cosine", "like the history", 0, "Cosine of its vector and the mean of the history's.", optional=True),
    Feature("latest_cosine", "like the latest", 0, "Cosine with the latest product of the history.", optional=True),
    Feature("nearest_cosine", "like the nearest", 0, "Highest cosine with a product of the history.", optional=True),
    Feature("popularity", "popularity", 0, "Share of all purchases, each decayed by its age."),
    Feature("popularity_rank", "rank by popularity", 0, "Its rank by `popularity`."),
    Feature("recent_share", "popular of late", 0, "The same of the latest days alone."),
    Feature("trend", "trend", 0, "`recent_share` by `popularity`.", optional=True),
    Feature("segment_popularity", "popular in the segment", 0, "Share of purchases in the user's segment and channel."),
    Feature("segment_lift", "typical of the segment", 0, "`segment_popularity` by `popularity`.", optional=True),
    Feature("repurchase_factor", "often bought again", 0, "How often it is bought again beside others.", optional=True),
    Feature("days_on_sale", "days on sale", 0, "Days since it was first bought by anybody.", optional=True),
    Feature("days_unsold", "days unsold", 0, "Days since it was last bought by anybody.", optional=True),
    Feature("price_ratio", "price", 0, "Logarithm of its price by the median of the history's.", optional=True),
    Feature("price_level", "price level", 0, "Its price by the median of the candidates'.", optional=True),
    Feature("history_products", "length of the history", 0, "Products of the user's history."),
    Feature("history_days", "days since the last", 0, "Days since the latest of the history.", optional=True),
)
RECOMMENDATION_NAMES = tuple(feature.name for feature in RECOMMENDATION_FEATURES)
RECOMMENDATION_LABELS = {feature.name: feature.label for feature in RECOMMENDATION_FEATURES}
