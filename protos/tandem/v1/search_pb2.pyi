import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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

class SearchRequest(_message.Message):
    __slots__ = ("query", "top_k", "catalog", "language", "country", "product_mask", "experiment", "explain")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_MASK_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    query: str
    top_k: int
    catalog: str
    language: str
    country: str
    product_mask: _field_mask_pb2.FieldMask
    experiment: ExperimentContext
    explain: bool
    def __init__(self, query: _Optional[str] = ..., top_k: _Optional[int] = ..., catalog: _Optional[str] = ..., language: _Optional[str] = ..., country: _Optional[str] = ..., product_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., experiment: _Optional[_Union[ExperimentContext, _Mapping]] = ..., explain: _Optional[bool] = ...) -> None: ...

class ExperimentContext(_message.Message):
    __slots__ = ("experiment_id", "variant_id")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    VARIANT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    variant_id: str
    def __init__(self, experiment_id: _Optional[str] = ..., variant_id: _Optional[str] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "catalog", "hits", "overlay_revision", "stages", "degraded", "experiment", "searched_query")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_REVISION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_QUERY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    catalog: str
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    overlay_revision: int
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    degraded: _containers.RepeatedCompositeFieldContainer[Degradation]
    experiment: ExperimentContext
    searched_query: str
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., catalog: _Optional[str] = ..., hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., overlay_revision: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., degraded: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., experiment: _Optional[_Union[ExperimentContext, _Mapping]] = ..., searched_query: _Optional[str] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("product_id", "rank", "score", "stage_scores", "product", "reasons")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    STAGE_SCORES_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    rank: int
    score: float
    stage_scores: _containers.RepeatedCompositeFieldContainer[StageScore]
    product: Product
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    def __init__(self, product_id: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., stage_scores: _Optional[_Iterable[_Union[StageScore, _Mapping]]] = ..., product: _Optional[_Union[Product, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...

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
