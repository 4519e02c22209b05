"""What a tower's folder and a cross-encoder's have in common: a spec in JSON, a tokenizer, and ONNX files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from tokenizers import Tokenizer

from core.digest import file_digest, value_digest
from core.errors import ModelError
from core.formats import Format

TOKENIZER_FILE = "tokenizer.json"
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of an ONNX file a spec names: never outside its folder

Spec = TypeVar("Spec", bound=BaseModel)


def read_spec(folder: Path, name: str, kind: type[Spec], format: Format) -> Spec:
    """Raises ModelError when the folder holds no such spec, or one this version does not read."""
    path = folder / name
    try:
        data = path.read_bytes()
        if problem := format.problem_of(data, "export the model"):
            raise ModelError(f"{path}: {problem}")
        return kind.model_validate_json(data)
    except FileNotFoundError:
        raise ModelError(f"{folder}: has no {name}; make the folder with `tandem train`, or export a model") from None
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path}: is not a spec that this version reads: {_first_line(error)}") from None


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, without padding and truncation. Raises ModelError when there is none."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: has no {TOKENIZER_FILE}; export the model again")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"{path}: is not a tokenizer: {_first_line(error)}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_files(paths: Sequence[Path]) -> None:
    """Raises ModelError for the first path that is no file."""
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path.parent}: has no {path.name}; export the model again")


def files_digest(paths: Sequence[Path]) -> str:
    """One SHA-256 for the names and contents of files."""
    return value_digest({path.name: file_digest(path) for path in paths})


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    return str(error).splitlines()[0]
