"""The engine that sends its work to a Triton server."""

from core.errors import MissingPackageError

try:
    import tritonclient.grpc  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingPackageError("Triton", "triton") from error
