"""The gRPC contract as a page: services, messages and enums of the .proto file, with its comments."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from docs.generate.markdown import notice, page, paragraph, table

PROTOS = Path(__file__).resolve().parents[2] / "protos"
PROTO = "tandem/v1/search.proto"
_MESSAGES, _ENUMS, _SERVICES, _MEMBERS = 4, 5, 6, 2  # field numbers of descriptors, by which comments are addressed
_TYPES = FieldDescriptorProto.Type

Place = tuple[int, ...]
Comments = dict[Place, str]


def contract_page() -> str:
    """The page of `PROTO`."""
    file = read_descriptor()
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    return page(
        notice(f"`protos/{PROTO}`"),
        "# The gRPC contract",
        f"Package `{file.package}`, from [`{PROTO}`](../../protos/{PROTO}). Fields and methods are only ever added: "
        "numbers and names keep their meaning.",
        *(part for index, each in enumerate(file.service) for part in _service(each, (_SERVICES, index), comments)),
        "## Messages",
        *(
            part
            for index, each in enumerate(file.message_type)
            for part in _message(each, (_MESSAGES, index), comments)
        ),
        "## Enums",
        *(part for index, each in enumerate(file.enum_type) for part in _enum(each, (_ENUMS, index), comments)),
    )


def read_descriptor() -> FileDescriptorProto:
    """The descriptor of `PROTO`, comments included. Raises RuntimeError where protoc refuses the file."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptors"
        flags = [f"-I{PROTOS}", f"-I{well_known}", "--include_source_info", f"--descriptor_set_out={output}"]
        if protoc.main(["protoc", *flags, PROTO]) != 0:
            raise RuntimeError(f"protoc refuses {PROTO}; run `make lint`, which shows why")
        return FileDescriptorSet.FromString(output.read_bytes()).file[0]


def _service(service: ServiceDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"## {service.name}"
    yield _text(comments, place)
    for index, method in enumerate(service.method):
        yield f"### {service.name}.{method.name}"
        request = ("stream of " if method.client_streaming else "") + _link(method.input_type)
        answered = ("stream of " if method.server_streaming else "") + _link(method.output_type)
        yield f"Request: {request}. Response: {answered}."
        yield _text(comments, (*place, _MEMBERS, index))


def _message(message: DescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {message.name}"
    yield _text(comments, place)
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    yield table(
        ("field", "number", "type", "meaning"),
        (
            (f"`{field.name}`", str(field.number), _type(field, entries), _cell(comments, (*place, _MEMBERS, index)))
            for index, field in enumerate(message.field)
        ),
    )


def _enum(enum: EnumDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {enum.name}"
    yield _text(comments, place)
    yield table(
        ("value", "number", "meaning"),
        (
            (f"`{value.name}`", str(value.number), _cell(comments, (*place, _MEMBERS, index)))
            for index, value in enumerate(enum.value)
        ),
    )


def _type(field: FieldDescriptorProto, entries: dict[str, DescriptorProto]) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        return "map of {} to {}".format(*(_type(part, {}) for part in entry.field))
    name = _link(field.type_name) if field.type_name else f"`{_TYPES.Name(field.type).removeprefix('TYPE_').lower()}`"
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _link(type_name: str) -> str:
    """A type of this file as a link to its heading, any other by its full name."""
    package, _, name = type_name.strip(".").rpartition(".")
    return f"[{name}](#{name.lower()})" if package.startswith("tandem.") else f"`{package}.{name}`"


def _text(comments: Comments, place: Place) -> str:
    """The comment as it was written, less the space that begins each of its lines."""
    return "\n".join(_lines(comments, place))


def _cell(comments: Comments, place: Place) -> str:
    return paragraph(" ".join(_lines(comments, place)))


def _lines(comments: Comments, place: Place) -> Iterable[str]:
    return (line.removeprefix(" ").rstrip() for line in comments.get(place, "").splitlines())
