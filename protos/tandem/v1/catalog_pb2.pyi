from google.protobuf import struct_pb2 as _struct_pb2
from tandem.v1 import search_pb2 as _search_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChangeOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_OUTCOME_UNSPECIFIED: _ClassVar[ChangeOutcome]
    CHANGE_OUTCOME_APPLIED: _ClassVar[ChangeOutcome]
    CHANGE_OUTCOME_UNCHANGED: _ClassVar[ChangeOutcome]
    CHANGE_OUTCOME_STALE: _ClassVar[ChangeOutcome]
    CHANGE_OUTCOME_MISSING: _ClassVar[ChangeOutcome]
    CHANGE_OUTCOME_REJECTED: _ClassVar[ChangeOutcome]
CHANGE_OUTCOME_UNSPECIFIED: ChangeOutcome
CHANGE_OUTCOME_APPLIED: ChangeOutcome
CHANGE_OUTCOME_UNCHANGED: ChangeOutcome
CHANGE_OUTCOME_STALE: ChangeOutcome
CHANGE_OUTCOME_MISSING: ChangeOutcome
CHANGE_OUTCOME_REJECTED: ChangeOutcome

class UpsertRequest(_message.Message):
    __slots__ = ("catalog", "request_id", "products")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    request_id: str
    products: _containers.RepeatedCompositeFieldContainer[ProductUpsert]
    def __init__(self, catalog: _Optional[str] = ..., request_id: _Optional[str] = ..., products: _Optional[_Iterable[_Union[ProductUpsert, _Mapping]]] = ...) -> None: ...

class ProductUpsert(_message.Message):
    __slots__ = ("product_id", "version", "product", "row", "popularity")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    POPULARITY_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    version: int
    product: _search_pb2.Product
    row: _struct_pb2.Struct
    popularity: float
    def __init__(self, product_id: _Optional[str] = ..., version: _Optional[int] = ..., product: _Optional[_Union[_search_pb2.Product, _Mapping]] = ..., row: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., popularity: _Optional[float] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("catalog", "request_id", "products")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    request_id: str
    products: _containers.RepeatedCompositeFieldContainer[ProductDelete]
    def __init__(self, catalog: _Optional[str] = ..., request_id: _Optional[str] = ..., products: _Optional[_Iterable[_Union[ProductDelete, _Mapping]]] = ...) -> None: ...

class ProductDelete(_message.Message):
    __slots__ = ("product_id", "version")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    version: int
    def __init__(self, product_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class UpdateFieldsRequest(_message.Message):
    __slots__ = ("catalog", "request_id", "products")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    request_id: str
    products: _containers.RepeatedCompositeFieldContainer[FieldsUpdate]
    def __init__(self, catalog: _Optional[str] = ..., request_id: _Optional[str] = ..., products: _Optional[_Iterable[_Union[FieldsUpdate, _Mapping]]] = ...) -> None: ...

class FieldsUpdate(_message.Message):
    __slots__ = ("product_id", "version", "fields")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    version: int
    fields: _struct_pb2.Struct
    def __init__(self, product_id: _Optional[str] = ..., version: _Optional[int] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class UpsertResponse(_message.Message):
    __slots__ = ("request_id", "catalog", "revision", "results", "warnings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    catalog: str
    revision: int
    results: _containers.RepeatedCompositeFieldContainer[ChangeResult]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., catalog: _Optional[str] = ..., revision: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ChangeResult, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("request_id", "catalog", "revision", "results", "warnings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    catalog: str
    revision: int
    results: _containers.RepeatedCompositeFieldContainer[ChangeResult]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., catalog: _Optional[str] = ..., revision: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ChangeResult, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateFieldsResponse(_message.Message):
    __slots__ = ("request_id", "catalog", "revision", "results", "warnings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    catalog: str
    revision: int
    results: _containers.RepeatedCompositeFieldContainer[ChangeResult]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., catalog: _Optional[str] = ..., revision: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ChangeResult, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ChangeResult(_message.Message):
    __slots__ = ("product_id", "outcome", "reason", "detail", "dropped")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    outcome: ChangeOutcome
    reason: str
    detail: str
    dropped: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, product_id: _Optional[str] = ..., outcome: _Optional[_Union[ChangeOutcome, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., dropped: _Optional[_Iterable[str]] = ...) -> None: ...

class ChangeRequest(_message.Message):
    __slots__ = ("key", "upsert", "delete", "update_fields")
    KEY_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    key: str
    upsert: UpsertRequest
    delete: DeleteRequest
    update_fields: UpdateFieldsRequest
    def __init__(self, key: _Optional[str] = ..., upsert: _Optional[_Union[UpsertRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., update_fields: _Optional[_Union[UpdateFieldsRequest, _Mapping]] = ...) -> None: ...

class ChangeResponse(_message.Message):
    __slots__ = ("key", "sequence", "upsert", "delete", "update_fields", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: str
    sequence: int
    upsert: UpsertResponse
    delete: DeleteResponse
    update_fields: UpdateFieldsResponse
    error: _search_pb2.CallError
    def __init__(self, key: _Optional[str] = ..., sequence: _Optional[int] = ..., upsert: _Optional[_Union[UpsertResponse, _Mapping]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping]] = ..., update_fields: _Optional[_Union[UpdateFieldsResponse, _Mapping]] = ..., error: _Optional[_Union[_search_pb2.CallError, _Mapping]] = ...) -> None: ...
