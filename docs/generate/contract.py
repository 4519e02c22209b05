"""The gRPC contract as a page: services, messages and enums of the .proto files, with their comments."""

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
_FOLDER = "tandem/v1"
_MESSAGES, _ENUMS, _SERVICES, _MEMBERS = 4, 5, 6, 2  # field numbers of descriptors, by which comments are addressed
_TYPES = FieldDescriptorProto.Type

Place = tuple[int, ...]
Comments = dict[Place, str]


def contract_page() -> str:
    """The page of all files."""
    files = read_descriptors()
    comments = [
        {tuple(place.path): place.leading_comments for place in file.source_code_info.location} for file in files
    ]
    both = list(zip(files, comments, strict=True))
    links = [f"[`{file.name}`](../../protos/{file.name})" for file in files]
    return page(
        notice(f"`protos/{_FOLDER}/*.proto`"),
        "# The gRPC contract",
        f"Package `{files[0].package}`, from {', '.join(links)}. Fields and methods are only ever added: numbers "
        "and names keep their meaning.",
        *(
            part
            for file, notes in both
            for index, each in enumerate(file.service)
            for part in _service(each, (_SERVICES, index), notes)
        ),
        "## Messages",
        *(
            part
            for file, notes in both
            for index, each in enumerate(file.message_type)
            for part in _message(each, (_MESSAGES, index), notes)
        ),
        "## Enums",
        *(
            part
            for file, notes in both
            for index, each in enumerate(file.enum_type)
            for part in _enum(each, (_ENUMS, index), notes)
        ),
    )


def read_descriptors() -> list[FileDescriptorProto]:
    """The descriptors of all files, that of searches first, comments included. Raises RuntimeError where protoc refuses
    one."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    names = [f"{_FOLDER}/{path.name}" for path in (PROTOS / _FOLDER).glob("*.proto")]
    names.sort(key=lambda name: (not name.endswith("/search.proto"), name))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptors"
        flags = [f"-I{PROTOS}", f"-I{well_known}", "--include_source_info", f"--descriptor_set_out={output}"]
        if protoc.main(["protoc", *flags, *names]) != 0:
            raise RuntimeError("protoc refuses a .proto file; run `make lint`, which shows why")
        files = {file.name: file for file in FileDescriptorSet.FromString(output.read_bytes()).file}
    return [files[name] for name in names]


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
