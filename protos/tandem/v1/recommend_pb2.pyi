from google.protobuf import field_mask_pb2 as _field_mask_pb2
from tandem.v1 import search_pb2 as _search_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProductRelation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCT_RELATION_UNSPECIFIED: _ClassVar[ProductRelation]
    PRODUCT_RELATION_SIMILAR: _ClassVar[ProductRelation]
    PRODUCT_RELATION_BOUGHT_TOGETHER: _ClassVar[ProductRelation]

class RecommendationPath(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMENDATION_PATH_UNSPECIFIED: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_HISTORY: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_ONE_PRODUCT: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_UNKNOWN_USER: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_PRODUCT: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_NEW_PRODUCT: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_UNKNOWN_PRODUCT: _ClassVar[RecommendationPath]
    RECOMMENDATION_PATH_POPULAR: _ClassVar[RecommendationPath]
PRODUCT_RELATION_UNSPECIFIED: ProductRelation
PRODUCT_RELATION_SIMILAR: ProductRelation
PRODUCT_RELATION_BOUGHT_TOGETHER: ProductRelation
RECOMMENDATION_PATH_UNSPECIFIED: RecommendationPath
RECOMMENDATION_PATH_HISTORY: RecommendationPath
RECOMMENDATION_PATH_ONE_PRODUCT: RecommendationPath
RECOMMENDATION_PATH_UNKNOWN_USER: RecommendationPath
RECOMMENDATION_PATH_PRODUCT: RecommendationPath
RECOMMENDATION_PATH_NEW_PRODUCT: RecommendationPath
RECOMMENDATION_PATH_UNKNOWN_PRODUCT: RecommendationPath
RECOMMENDATION_PATH_POPULAR: RecommendationPath

class RecommendRequest(_message.Message):
    __slots__ = ("top_k", "catalog", "language", "country", "product_mask", "experiment", "filter", "facets", "sort", "total", "page_token", "group_by", "diversity", "user", "product", "popular", "least_revision", "explain")
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
    USER_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    POPULAR_FIELD_NUMBER: _ClassVar[int]
    LEAST_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    catalog: str
    language: str
    country: str
    product_mask: _field_mask_pb2.FieldMask
    experiment: _search_pb2.ExperimentContext
    filter: _search_pb2.Filter
    facets: _containers.RepeatedCompositeFieldContainer[_search_pb2.FacetRequest]
    sort: _containers.RepeatedCompositeFieldContainer[_search_pb2.SortKey]
    total: _search_pb2.TotalMode
    page_token: str
    group_by: _search_pb2.GroupBy
    diversity: _search_pb2.Diversity
    user: _search_pb2.UserContext
    product: ProductSubject
    popular: PopularSubject
    least_revision: int
    explain: bool
    def __init__(self, top_k: _Optional[int] = ..., catalog: _Optional[str] = ..., language: _Optional[str] = ..., country: _Optional[str] = ..., product_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., experiment: _Optional[_Union[_search_pb2.ExperimentContext, _Mapping]] = ..., filter: _Optional[_Union[_search_pb2.Filter, _Mapping]] = ..., facets: _Optional[_Iterable[_Union[_search_pb2.FacetRequest, _Mapping]]] = ..., sort: _Optional[_Iterable[_Union[_search_pb2.SortKey, _Mapping]]] = ..., total: _Optional[_Union[_search_pb2.TotalMode, str]] = ..., page_token: _Optional[str] = ..., group_by: _Optional[_Union[_search_pb2.GroupBy, _Mapping]] = ..., diversity: _Optional[_Union[_search_pb2.Diversity, _Mapping]] = ..., user: _Optional[_Union[_search_pb2.UserContext, _Mapping]] = ..., product: _Optional[_Union[ProductSubject, _Mapping]] = ..., popular: _Optional[_Union[PopularSubject, _Mapping]] = ..., least_revision: _Optional[int] = ..., explain: _Optional[bool] = ...) -> None: ...

class ProductSubject(_message.Message):
    __slots__ = ("product_id", "relation")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    relation: ProductRelation
    def __init__(self, product_id: _Optional[str] = ..., relation: _Optional[_Union[ProductRelation, str]] = ...) -> None: ...

class PopularSubject(_message.Message):
    __slots__ = ("segments",)
    class SegmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.ScalarMap[str, str]
    def __init__(self, segments: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "catalog", "hits", "overlay_revision", "stages", "degraded", "experiment", "total", "next_page_token", "facets", "groups", "rules", "filter", "path", "sources", "exploration", "products_used", "unknown_products")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_REVISION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_USED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    catalog: str
    hits: _containers.RepeatedCompositeFieldContainer[_search_pb2.Hit]
    overlay_revision: int
    stages: _containers.RepeatedCompositeFieldContainer[_search_pb2.Stage]
    degraded: _containers.RepeatedCompositeFieldContainer[_search_pb2.Degradation]
    experiment: _search_pb2.ExperimentContext
    total: _search_pb2.Total
    next_page_token: str
    facets: _containers.RepeatedCompositeFieldContainer[_search_pb2.Facet]
    groups: _search_pb2.Total
    rules: _containers.RepeatedCompositeFieldContainer[_search_pb2.RuleEffect]
    filter: _search_pb2.FilterReport
    path: RecommendationPath
    sources: _containers.RepeatedScalarFieldContainer[str]
    exploration: _containers.RepeatedCompositeFieldContainer[ExplorationSlot]
    products_used: int
    unknown_products: int
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., catalog: _Optional[str] = ..., hits: _Optional[_Iterable[_Union[_search_pb2.Hit, _Mapping]]] = ..., overlay_revision: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[_search_pb2.Stage, _Mapping]]] = ..., degraded: _Optional[_Iterable[_Union[_search_pb2.Degradation, _Mapping]]] = ..., experiment: _Optional[_Union[_search_pb2.ExperimentContext, _Mapping]] = ..., total: _Optional[_Union[_search_pb2.Total, _Mapping]] = ..., next_page_token: _Optional[str] = ..., facets: _Optional[_Iterable[_Union[_search_pb2.Facet, _Mapping]]] = ..., groups: _Optional[_Union[_search_pb2.Total, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[_search_pb2.RuleEffect, _Mapping]]] = ..., filter: _Optional[_Union[_search_pb2.FilterReport, _Mapping]] = ..., path: _Optional[_Union[RecommendationPath, str]] = ..., sources: _Optional[_Iterable[str]] = ..., exploration: _Optional[_Iterable[_Union[ExplorationSlot, _Mapping]]] = ..., products_used: _Optional[int] = ..., unknown_products: _Optional[int] = ...) -> None: ...

class ExplorationSlot(_message.Message):
    __slots__ = ("product_id", "rank", "propensity")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    rank: int
    propensity: float
    def __init__(self, product_id: _Optional[str] = ..., rank: _Optional[int] = ..., propensity: _Optional[float] = ...) -> None: ...

class ForgetUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ForgetUserResponse(_message.Message):
    __slots__ = ("request_id", "profiles_deleted")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILES_DELETED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    profiles_deleted: int
    def __init__(self, request_id: _Optional[str] = ..., profiles_deleted: _Optional[int] = ...) -> None: ...
