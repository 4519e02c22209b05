"""Reads the google.rpc.Status that a failed call carries, by the fields that this service fills."""

from collections.abc import Iterator
from functools import cache

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.message import DecodeError, Message

_STATUS_KEY = "grpc-status-details-bin"
_FIELD = descriptor_pb2.FieldDescriptorProto
# Numbers and types as google/rpc/status.proto and google/rpc/error_details.proto define them.
_MESSAGES = {
    "Status": [("details", 3, _FIELD.LABEL_REPEATED, ".google.protobuf.Any")],
    "RetryInfo": [("retry_delay", 1, _FIELD.LABEL_OPTIONAL, ".google.protobuf.Duration")],
    "BadRequest": [("field_violations", 1, _FIELD.LABEL_REPEATED, ".google.rpc.FieldViolation")],
    "FieldViolation": [("field", 1, _FIELD.LABEL_OPTIONAL, ""), ("description", 2, _FIELD.LABEL_OPTIONAL, "")],
}


def retry_delay(metadata: dict[str, str | bytes]) -> float | None:
    """The RetryInfo's delay in seconds; None where the trailing metadata has none that can be read."""
    for info in _details(metadata, "RetryInfo"):
        delay = info.retry_delay  # type: ignore[attr-defined]
        return float(delay.seconds + delay.nanos / 1e9)
    return None


def field_violations(metadata: dict[str, str | bytes]) -> list[tuple[str, str]]:
    """The BadRequest's fields with what is wrong with each."""
    return [
        (violation.field, violation.description)
        for request in _details(metadata, "BadRequest")
        for violation in request.field_violations  # type: ignore[attr-defined]
    ]


def _details(metadata: dict[str, str | bytes], name: str) -> Iterator[Message]:
    types = _types()
    data = metadata.get(_STATUS_KEY, b"")
    try:
        status = types["Status"].FromString(data if isinstance(data, bytes) else b"")
        for detail in status.details:  # type: ignore[attr-defined]
            if detail.type_url.rpartition("/")[2] == f"google.rpc.{name}":
                yield types[name].FromString(detail.value)
    except DecodeError:
        return


@cache
def _types() -> dict[str, type[Message]]:
    """The messages, in a pool of their own: googleapis-common-protos may be installed beside, and is not needed."""
    file = descriptor_pb2.FileDescriptorProto(name="tandem/client/status.proto", package="google.rpc", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, type_name in fields:
            kind = _FIELD.TYPE_MESSAGE if type_name else _FIELD.TYPE_STRING
            message.field.add(name=field, number=number, label=label, type=kind, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        file.dependency.append(module.DESCRIPTOR.name)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}")) for name in _MESSAGES
    }
