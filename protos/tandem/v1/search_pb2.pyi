import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UserAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USER_ACTION_UNSPECIFIED: _ClassVar[UserAction]
    USER_ACTION_VIEW: _ClassVar[UserAction]
    USER_ACTION_CART: _ClassVar[UserAction]
    USER_ACTION_PURCHASE: _ClassVar[UserAction]

class TotalMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOTAL_MODE_UNSPECIFIED: _ClassVar[TotalMode]
    TOTAL_MODE_EXACT: _ClassVar[TotalMode]
    TOTAL_MODE_AT_LEAST: _ClassVar[TotalMode]

class MatchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MATCH_MODE_UNSPECIFIED: _ClassVar[MatchMode]
    MATCH_MODE_ALL: _ClassVar[MatchMode]

class UnderstandingMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNDERSTANDING_MODE_UNSPECIFIED: _ClassVar[UnderstandingMode]
    UNDERSTANDING_MODE_HARD: _ClassVar[UnderstandingMode]
    UNDERSTANDING_MODE_OFF: _ClassVar[UnderstandingMode]

class TotalRelation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOTAL_RELATION_UNSPECIFIED: _ClassVar[TotalRelation]
    TOTAL_RELATION_EXACT: _ClassVar[TotalRelation]
    TOTAL_RELATION_AT_LEAST: _ClassVar[TotalRelation]

class Availability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AVAILABILITY_UNSPECIFIED: _ClassVar[Availability]
    AVAILABILITY_IN_STOCK: _ClassVar[Availability]
    AVAILABILITY_OUT_OF_STOCK: _ClassVar[Availability]
    AVAILABILITY_PREORDER: _ClassVar[Availability]
    AVAILABILITY_BACKORDER: _ClassVar[Availability]

class DegradationReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_REASON_UNSPECIFIED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_RERANK_REDUCED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_RERANK_SKIPPED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_RERANK_FAILED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_LEXICAL_FAILED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_DENSE_FAILED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_ENGINE_FALLBACK: _ClassVar[DegradationReason]
    DEGRADATION_REASON_RESPONSE_TRUNCATED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_EXPLANATION_SKIPPED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_SOURCE_FAILED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_PROFILE_FAILED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_RERANK_SHED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_SOURCE_SHED: _ClassVar[DegradationReason]

class SuggestionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUGGESTION_KIND_UNSPECIFIED: _ClassVar[SuggestionKind]
    SUGGESTION_KIND_QUERY: _ClassVar[SuggestionKind]
    SUGGESTION_KIND_PRODUCT_TYPE: _ClassVar[SuggestionKind]
    SUGGESTION_KIND_BRAND: _ClassVar[SuggestionKind]
    SUGGESTION_KIND_TITLE: _ClassVar[SuggestionKind]
    SUGGESTION_KIND_PHRASE: _ClassVar[SuggestionKind]
USER_ACTION_UNSPECIFIED: UserAction
USER_ACTION_VIEW: UserAction
USER_ACTION_CART: UserAction
USER_ACTION_PURCHASE: UserAction
TOTAL_MODE_UNSPECIFIED: TotalMode
TOTAL_MODE_EXACT: TotalMode
TOTAL_MODE_AT_LEAST: TotalMode
MATCH_MODE_UNSPECIFIED: MatchMode
MATCH_MODE_ALL: MatchMode
UNDERSTANDING_MODE_UNSPECIFIED: UnderstandingMode
UNDERSTANDING_MODE_HARD: UnderstandingMode
UNDERSTANDING_MODE_OFF: UnderstandingMode
TOTAL_RELATION_UNSPECIFIED: TotalRelation
TOTAL_RELATION_EXACT: TotalRelation
TOTAL_RELATION_AT_LEAST: TotalRelation
AVAILABILITY_UNSPECIFIED: Availability
AVAILABILITY_IN_STOCK: Availability
AVAILABILITY_OUT_OF_STOCK: Availability
AVAILABILITY_PREORDER: Availability
AVAILABILITY_BACKORDER: Availability
DEGRADATION_REASON_UNSPECIFIED: DegradationReason
DEGRADATION_REASON_RERANK_REDUCED: DegradationReason
DEGRADATION_REASON_RERANK_SKIPPED: DegradationReason
DEGRADATION_REASON_RERANK_FAILED: DegradationReason
DEGRADATION_REASON_LEXICAL_FAILED: DegradationReason
DEGRADATION_REASON_DENSE_FAILED: DegradationReason
DEGRADATION_REASON_ENGINE_FALLBACK: DegradationReason
DEGRADATION_REASON_RESPONSE_TRUNCATED: DegradationReason
DEGRADATION_REASON_EXPLANATION_SKIPPED: DegradationReason
DEGRADATION_REASON_SOURCE_FAILED: DegradationReason
DEGRADATION_REASON_PROFILE_FAILED: DegradationReason
DEGRADATION_REASON_RERANK_SHED: DegradationReason
DEGRADATION_REASON_SOURCE_SHED: DegradationReason
SUGGESTION_KIND_UNSPECIFIED: SuggestionKind
SUGGESTION_KIND_QUERY: SuggestionKind
SUGGESTION_KIND_PRODUCT_TYPE: SuggestionKind
SUGGESTION_KIND_BRAND: SuggestionKind
SUGGESTION_KIND_TITLE: SuggestionKind
SUGGESTION_KIND_PHRASE: SuggestionKind

class SearchRequest(_message.Message):
    __slots__ = ("query", "top_k", "catalog", "language", "country", "product_mask", "experiment", "filter", "facets", "sort", "total", "page_token", "group_by", "diversity", "understanding", "match", "verbatim", "user", "least_revision", "explain_words", "explain")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_MASK_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    UNDERSTANDING_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    VERBATIM_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    LEAST_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_WORDS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    query: str
    top_k: int
    catalog: str
    language: str
    country: str
    product_mask: _field_mask_pb2.FieldMask
    experiment: ExperimentContext
    filter: Filter
    facets: _containers.RepeatedCompositeFieldContainer[FacetRequest]
    sort: _containers.RepeatedCompositeFieldContainer[SortKey]
    total: TotalMode
    page_token: str
    group_by: GroupBy
    diversity: Diversity
    understanding: UnderstandingMode
    match: MatchMode
    verbatim: bool
    user: UserContext
    least_revision: int
    explain_words: int
    explain: bool
    def __init__(self, query: _Optional[str] = ..., top_k: _Optional[int] = ..., catalog: _Optional[str] = ..., language: _Optional[str] = ..., country: _Optional[str] = ..., product_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., experiment: _Optional[_Union[ExperimentContext, _Mapping]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., facets: _Optional[_Iterable[_Union[FacetRequest, _Mapping]]] = ..., sort: _Optional[_Iterable[_Union[SortKey, _Mapping]]] = ..., total: _Optional[_Union[TotalMode, str]] = ..., page_token: _Optional[str] = ..., group_by: _Optional[_Union[GroupBy, _Mapping]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., understanding: _Optional[_Union[UnderstandingMode, str]] = ..., match: _Optional[_Union[MatchMode, str]] = ..., verbatim: _Optional[bool] = ..., user: _Optional[_Union[UserContext, _Mapping]] = ..., least_revision: _Optional[int] = ..., explain_words: _Optional[int] = ..., explain: _Optional[bool] = ...) -> None: ...

class UserContext(_message.Message):
    __slots__ = ("user_id", "products", "segments", "remember", "strength")
    class SegmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    REMEMBER_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    products: _containers.RepeatedCompositeFieldContainer[UserProduct]
    segments: _containers.ScalarMap[str, str]
    remember: bool
    strength: float
    def __init__(self, user_id: _Optional[str] = ..., products: _Optional[_Iterable[_Union[UserProduct, _Mapping]]] = ..., segments: _Optional[_Mapping[str, str]] = ..., remember: _Optional[bool] = ..., strength: _Optional[float] = ...) -> None: ...

class UserProduct(_message.Message):
    __slots__ = ("product_id", "time", "action")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    time: _timestamp_pb2.Timestamp
    action: UserAction
    def __init__(self, product_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., action: _Optional[_Union[UserAction, str]] = ...) -> None: ...

class ExperimentContext(_message.Message):
    __slots__ = ("experiment_id", "variant_id")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    VARIANT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    variant_id: str
    def __init__(self, experiment_id: _Optional[str] = ..., variant_id: _Optional[str] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("equal", "one_of", "range", "exists", "negation", "all_of", "any_of")
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    NEGATION_FIELD_NUMBER: _ClassVar[int]
    ALL_OF_FIELD_NUMBER: _ClassVar[int]
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    equal: EqualCondition
    one_of: OneOfCondition
    range: RangeCondition
    exists: str
    negation: Filter
    all_of: FilterList
    any_of: FilterList
    def __init__(self, equal: _Optional[_Union[EqualCondition, _Mapping]] = ..., one_of: _Optional[_Union[OneOfCondition, _Mapping]] = ..., range: _Optional[_Union[RangeCondition, _Mapping]] = ..., exists: _Optional[str] = ..., negation: _Optional[_Union[Filter, _Mapping]] = ..., all_of: _Optional[_Union[FilterList, _Mapping]] = ..., any_of: _Optional[_Union[FilterList, _Mapping]] = ...) -> None: ...

class FilterList(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class EqualCondition(_message.Message):
    __slots__ = ("field", "value")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    field: str
    value: FilterValue
    def __init__(self, field: _Optional[str] = ..., value: _Optional[_Union[FilterValue, _Mapping]] = ...) -> None: ...

class OneOfCondition(_message.Message):
    __slots__ = ("field", "values")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field: str
    values: _containers.RepeatedCompositeFieldContainer[FilterValue]
    def __init__(self, field: _Optional[str] = ..., values: _Optional[_Iterable[_Union[FilterValue, _Mapping]]] = ...) -> None: ...

class RangeCondition(_message.Message):
    __slots__ = ("field", "at_least", "above", "at_most", "below")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    field: str
    at_least: FilterValue
    above: FilterValue
    at_most: FilterValue
    below: FilterValue
    def __init__(self, field: _Optional[str] = ..., at_least: _Optional[_Union[FilterValue, _Mapping]] = ..., above: _Optional[_Union[FilterValue, _Mapping]] = ..., at_most: _Optional[_Union[FilterValue, _Mapping]] = ..., below: _Optional[_Union[FilterValue, _Mapping]] = ...) -> None: ...

class FilterValue(_message.Message):
    __slots__ = ("text", "number", "boolean", "time")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    text: str
    number: float
    boolean: bool
    time: _timestamp_pb2.Timestamp
    def __init__(self, text: _Optional[str] = ..., number: _Optional[float] = ..., boolean: _Optional[bool] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FacetRequest(_message.Message):
    __slots__ = ("field", "limit", "exclude_own_filter", "borders", "interval", "prefix")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_OWN_FILTER_FIELD_NUMBER: _ClassVar[int]
    BORDERS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    field: str
    limit: int
    exclude_own_filter: bool
    borders: _containers.RepeatedScalarFieldContainer[float]
    interval: float
    prefix: str
    def __init__(self, field: _Optional[str] = ..., limit: _Optional[int] = ..., exclude_own_filter: _Optional[bool] = ..., borders: _Optional[_Iterable[float]] = ..., interval: _Optional[float] = ..., prefix: _Optional[str] = ...) -> None: ...

class SortKey(_message.Message):
    __slots__ = ("field", "descending")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    field: str
    descending: bool
    def __init__(self, field: _Optional[str] = ..., descending: _Optional[bool] = ...) -> None: ...

class GroupBy(_message.Message):
    __slots__ = ("field", "variants")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    field: str
    variants: int
    def __init__(self, field: _Optional[str] = ..., variants: _Optional[int] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("strength", "caps")
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    CAPS_FIELD_NUMBER: _ClassVar[int]
    strength: float
    caps: _containers.RepeatedCompositeFieldContainer[Cap]
    def __init__(self, strength: _Optional[float] = ..., caps: _Optional[_Iterable[_Union[Cap, _Mapping]]] = ...) -> None: ...

class Cap(_message.Message):
    __slots__ = ("field", "most")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    field: str
    most: int
    def __init__(self, field: _Optional[str] = ..., most: _Optional[int] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "catalog", "hits", "overlay_revision", "stages", "degraded", "experiment", "searched_query", "total", "next_page_token", "facets", "groups", "rules", "redirect", "understanding", "filter", "personalisation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_REVISION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_QUERY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_FIELD_NUMBER: _ClassVar[int]
    UNDERSTANDING_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PERSONALISATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    catalog: str
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    overlay_revision: int
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    degraded: _containers.RepeatedCompositeFieldContainer[Degradation]
    experiment: ExperimentContext
    searched_query: str
    total: Total
    next_page_token: str
    facets: _containers.RepeatedCompositeFieldContainer[Facet]
    groups: Total
    rules: _containers.RepeatedCompositeFieldContainer[RuleEffect]
    redirect: str
    understanding: Understanding
    filter: FilterReport
    personalisation: Personalisation
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., catalog: _Optional[str] = ..., hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., overlay_revision: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., degraded: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., experiment: _Optional[_Union[ExperimentContext, _Mapping]] = ..., searched_query: _Optional[str] = ..., total: _Optional[_Union[Total, _Mapping]] = ..., next_page_token: _Optional[str] = ..., facets: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., groups: _Optional[_Union[Total, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[RuleEffect, _Mapping]]] = ..., redirect: _Optional[str] = ..., understanding: _Optional[_Union[Understanding, _Mapping]] = ..., filter: _Optional[_Union[FilterReport, _Mapping]] = ..., personalisation: _Optional[_Union[Personalisation, _Mapping]] = ...) -> None: ...

class Personalisation(_message.Message):
    __slots__ = ("strength", "products", "unknown_products", "reason")
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    strength: float
    products: int
    unknown_products: int
    reason: str
    def __init__(self, strength: _Optional[float] = ..., products: _Optional[int] = ..., unknown_products: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Total(_message.Message):
    __slots__ = ("value", "relation")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    value: int
    relation: TotalRelation
    def __init__(self, value: _Optional[int] = ..., relation: _Optional[_Union[TotalRelation, str]] = ...) -> None: ...

class FilterReport(_message.Message):
    __slots__ = ("passing", "execution")
    PASSING_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    passing: int
    execution: str
    def __init__(self, passing: _Optional[int] = ..., execution: _Optional[str] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("field", "values", "ranges", "more_values", "missing", "statistics", "relation")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    MORE_VALUES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    field: str
    values: _containers.RepeatedCompositeFieldContainer[FacetValue]
    ranges: _containers.RepeatedCompositeFieldContainer[FacetRange]
    more_values: int
    missing: int
    statistics: NumberStatistics
    relation: TotalRelation
    def __init__(self, field: _Optional[str] = ..., values: _Optional[_Iterable[_Union[FacetValue, _Mapping]]] = ..., ranges: _Optional[_Iterable[_Union[FacetRange, _Mapping]]] = ..., more_values: _Optional[int] = ..., missing: _Optional[int] = ..., statistics: _Optional[_Union[NumberStatistics, _Mapping]] = ..., relation: _Optional[_Union[TotalRelation, str]] = ...) -> None: ...

class FacetValue(_message.Message):
    __slots__ = ("value", "count")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    value: str
    count: int
    def __init__(self, value: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class FacetRange(_message.Message):
    __slots__ = ("at_least", "below", "count")
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    at_least: float
    below: float
    count: int
    def __init__(self, at_least: _Optional[float] = ..., below: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class NumberStatistics(_message.Message):
    __slots__ = ("least", "most")
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    least: float
    most: float
    def __init__(self, least: _Optional[float] = ..., most: _Optional[float] = ...) -> None: ...

class RuleEffect(_message.Message):
    __slots__ = ("rule_id", "action", "detail")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    action: str
    detail: str
    def __init__(self, rule_id: _Optional[str] = ..., action: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Understanding(_message.Message):
    __slots__ = ("product_types", "attributes", "negations", "price")
    PRODUCT_TYPES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    NEGATIONS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    product_types: _containers.RepeatedCompositeFieldContainer[PredictedType]
    attributes: _containers.RepeatedCompositeFieldContainer[StatedAttribute]
    negations: _containers.RepeatedScalarFieldContainer[str]
    price: PriceRange
    def __init__(self, product_types: _Optional[_Iterable[_Union[PredictedType, _Mapping]]] = ..., attributes: _Optional[_Iterable[_Union[StatedAttribute, _Mapping]]] = ..., negations: _Optional[_Iterable[str]] = ..., price: _Optional[_Union[PriceRange, _Mapping]] = ...) -> None: ...

class PredictedType(_message.Message):
    __slots__ = ("product_type", "confidence")
    PRODUCT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    product_type: str
    confidence: float
    def __init__(self, product_type: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class StatedAttribute(_message.Message):
    __slots__ = ("field", "value", "words", "confidence")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    field: str
    value: str
    words: str
    confidence: float
    def __init__(self, field: _Optional[str] = ..., value: _Optional[str] = ..., words: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class PriceRange(_message.Message):
    __slots__ = ("at_least", "at_most")
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    at_least: Money
    at_most: Money
    def __init__(self, at_least: _Optional[_Union[Money, _Mapping]] = ..., at_most: _Optional[_Union[Money, _Mapping]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("product_id", "rank", "score", "stage_scores", "product", "reasons", "group", "words", "moves")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    STAGE_SCORES_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    rank: int
    score: float
    stage_scores: _containers.RepeatedCompositeFieldContainer[StageScore]
    product: Product
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    group: Group
    words: _containers.RepeatedCompositeFieldContainer[WordContribution]
    moves: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, product_id: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., stage_scores: _Optional[_Iterable[_Union[StageScore, _Mapping]]] = ..., product: _Optional[_Union[Product, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., group: _Optional[_Union[Group, _Mapping]] = ..., words: _Optional[_Iterable[_Union[WordContribution, _Mapping]]] = ..., moves: _Optional[_Iterable[str]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("value", "size", "variants")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    value: str
    size: int
    variants: _containers.RepeatedCompositeFieldContainer[Hit]
    def __init__(self, value: _Optional[str] = ..., size: _Optional[int] = ..., variants: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ...) -> None: ...

class WordContribution(_message.Message):
    __slots__ = ("word", "from_query", "contribution")
    WORD_FIELD_NUMBER: _ClassVar[int]
    FROM_QUERY_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    word: str
    from_query: bool
    contribution: float
    def __init__(self, word: _Optional[str] = ..., from_query: _Optional[bool] = ..., contribution: _Optional[float] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("feature", "value", "contribution", "feature_id")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_ID_FIELD_NUMBER: _ClassVar[int]
    feature: str
    value: float
    contribution: float
    feature_id: str
    def __init__(self, feature: _Optional[str] = ..., value: _Optional[float] = ..., contribution: _Optional[float] = ..., feature_id: _Optional[str] = ...) -> None: ...

class StageScore(_message.Message):
    __slots__ = ("stage", "score", "rank")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    stage: str
    score: float
    rank: int
    def __init__(self, stage: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ...) -> None: ...

class Product(_message.Message):
    __slots__ = ("title", "description", "brand", "product_type", "price", "availability", "color", "size", "material", "gtin", "item_group_id", "image_link", "link", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MATERIAL_FIELD_NUMBER: _ClassVar[int]
    GTIN_FIELD_NUMBER: _ClassVar[int]
    ITEM_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    brand: str
    product_type: str
    price: Money
    availability: Availability
    color: str
    size: str
    material: str
    gtin: str
    item_group_id: str
    image_link: str
    link: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., brand: _Optional[str] = ..., product_type: _Optional[str] = ..., price: _Optional[_Union[Money, _Mapping]] = ..., availability: _Optional[_Union[Availability, str]] = ..., color: _Optional[str] = ..., size: _Optional[str] = ..., material: _Optional[str] = ..., gtin: _Optional[str] = ..., item_group_id: _Optional[str] = ..., image_link: _Optional[str] = ..., link: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Money(_message.Message):
    __slots__ = ("currency_code", "units", "nanos")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    units: int
    nanos: int
    def __init__(self, currency_code: _Optional[str] = ..., units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "duration", "candidates_in", "candidates_out")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_IN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_OUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    duration: _duration_pb2.Duration
    candidates_in: int
    candidates_out: int
    def __init__(self, name: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., candidates_in: _Optional[int] = ..., candidates_out: _Optional[int] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: DegradationReason
    detail: str
    def __init__(self, reason: _Optional[_Union[DegradationReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class BatchSearchRequest(_message.Message):
    __slots__ = ("key", "search")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    key: str
    search: SearchRequest
    def __init__(self, key: _Optional[str] = ..., search: _Optional[_Union[SearchRequest, _Mapping]] = ...) -> None: ...

class BatchSearchResponse(_message.Message):
    __slots__ = ("key", "sequence", "response", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: str
    sequence: int
    response: SearchResponse
    error: CallError
    def __init__(self, key: _Optional[str] = ..., sequence: _Optional[int] = ..., response: _Optional[_Union[SearchResponse, _Mapping]] = ..., error: _Optional[_Union[CallError, _Mapping]] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class SuggestRequest(_message.Message):
    __slots__ = ("prefix", "limit", "catalog")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    limit: int
    catalog: str
    def __init__(self, prefix: _Optional[str] = ..., limit: _Optional[int] = ..., catalog: _Optional[str] = ...) -> None: ...

class SuggestResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "catalog", "suggestions", "corrected_prefix")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_PREFIX_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    catalog: str
    suggestions: _containers.RepeatedCompositeFieldContainer[Suggestion]
    corrected_prefix: str
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., catalog: _Optional[str] = ..., suggestions: _Optional[_Iterable[_Union[Suggestion, _Mapping]]] = ..., corrected_prefix: _Optional[str] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ("text", "kind", "count")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    text: str
    kind: SuggestionKind
    count: int
    def __init__(self, text: _Optional[str] = ..., kind: _Optional[_Union[SuggestionKind, str]] = ..., count: _Optional[int] = ...) -> None: ...
