"""The options of every command that calls a service: a key or a token, and files of TLS."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import TandemError

_API_KEY = "TANDEM_API_KEY"
_MOST_CHARACTERS = 16 << 10
_KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="TANDEM_API_KEY_FILE",
        show_envvar=False,
        help=f"File of a key or token; or set {_API_KEY} to it.",
    ),
]
_Tls = Annotated[
    bool, typer.Option("--tls", envvar="TANDEM_TLS", show_envvar=False, help="Encrypt, by a CA that is known.")
]
_Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="TANDEM_CA", show_envvar=False, help="Encrypt, by the CAs in this PEM file."),
]
_Certificate = Annotated[
    Path | None,
    typer.Option(
        "--client-certificate",
        envvar="TANDEM_CLIENT_CERTIFICATE",
        show_envvar=False,
        help="PEM file of a certificate, where the service asks for one.",
    ),
]
_Key = Annotated[
    Path | None,
    typer.Option(
        "--client-key", envvar="TANDEM_CLIENT_KEY", show_envvar=False, help="PEM file of the certificate's key."
    ),
]
_Plaintext = Annotated[
    bool, typer.Option("--plaintext", help="Send the key in the clear, as where a mesh encrypts.", show_default=False)
]
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "api_key_file": (_KeyFile, None),
    "tls": (_Tls, False),
    "ca": (_Ca, None),
    "client_certificate": (_Certificate, None),
    "client_key": (_Key, None),
    "plaintext": (_Plaintext, False),
}


def calls_service(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options, which `lifecycle.client.connect` uses while it runs."""
    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, kind, default=value, annotation=form) for name, (form, value) in _OPTIONS.items()]

    @wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in _OPTIONS}
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a failure is one line
        from lifecycle.client import Credentials, showing

        token = read_api_key(given["api_key_file"])
        tls = (given["tls"], given["ca"], given["client_certificate"], given["client_key"])
        with showing(Credentials(token, *tls, given["plaintext"])):
            command(**arguments)

    parameters = [one.replace(kind=kind) for one in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*parameters, *added]}
    return run


def read_api_key(file: Path | None) -> str:
    """The key in the file, else in the environment; empty where there is none. Raises TandemError, without the key."""
    if file is None:
        text, place = os.environ.get(_API_KEY, ""), _API_KEY
    else:
        place = str(file)
        try:
            with file.open(encoding="ascii") as lines:
                text = lines.read(_MOST_CHARACTERS)
        except UnicodeDecodeError:
            raise TandemError(f"{file} holds no key") from None
        except OSError as error:
            raise TandemError(f"{file}: cannot be read: {error.strerror}") from None
        if not text.strip():
            raise TandemError(f"{file} is empty; put a key there, as `tandem keys add` prints it")
    text = text.strip()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise TandemError(f"{place} holds no key: one has letters, digits, dots, dashes and underscores")
    return text
