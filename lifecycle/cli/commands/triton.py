"""`tandem triton`: install a server, prepare the models it serves, run it."""

import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.cores import available_cores
from core.errors import ReleaseError
from core.releases import ReleaseStore
from lifecycle.cli.options import RELEASES, Releases
from lifecycle.cli.terminal import console
from lifecycle.triton_server import FOLDER, triton_server
from lifecycle.triton_server import install as install_server
from retrieval.server.settings import TRITON_FOLDER

triton = typer.Typer(no_args_is_help=True, add_completion=False, help="Serve the models from a Triton server.")

Repository = Annotated[
    Path | None,
    typer.Option(help="Model repository, the folder that Triton reads; default: `triton` among the releases."),
]
Server = Annotated[Path, typer.Option(help="Folder of the server.")]


class Backend(StrEnum):
    """The backends that run the text models in Triton."""

    PYTHON = "python"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


class IndexDevice(StrEnum):
    """The device that searches the index."""

    CPU = "cpu"
    GPU = "gpu"


@triton.command()
def install(server: Server = FOLDER) -> None:
    """Unpack a Triton server, 55 MB to download, into a folder of its own."""
    installed = install_server(server)
    console.print(f"Triton {'unpacked into' if installed else 'is already in'} {server}", highlight=False, markup=False)


@triton.command()
def prepare(
    releases: Releases = RELEASES,
    repository: Repository = None,
    catalog: Annotated[str | None, typer.Option(help="Catalog name; default: all.")] = None,
    release: Annotated[str | None, typer.Option(help="Release; default: the one in service.")] = None,
    backend: Annotated[Backend, typer.Option(help="What runs the towers and the ranker.")] = Backend.PYTHON,
    index_device: Annotated[IndexDevice, typer.Option(help="Where the index is searched.")] = IndexDevice.CPU,
    encode_instances: Annotated[int, typer.Option(min=1, max=64, help="Workers that encode.")] = 1,
    rescore_instances: Annotated[int | None, typer.Option(min=1, max=64, help="Workers that rescore.")] = None,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Requests that may wait for a model.")] = 256,
) -> None:
    """Write the models of the releases in service for Triton, and remove those of releases that are gone."""
    from engine.triton.config import Layout
    from engine.triton.repository import prepare as prepare_models
    from engine.triton.repository import remove_others
    from retrieval.release.engines import release_models

    store = ReleaseStore(releases)
    target = repository or releases / TRITON_FOLDER
    layout = Layout(
        backend=backend.value,
        index_device=index_device.value,
        encode_instances=encode_instances,
        rescore_instances=rescore_instances or available_cores(),
        queue=queue,
    )
    if release is not None and catalog is None:
        catalog = store.named(None)
    for name in [store.named(catalog)] if catalog else store.catalogs() or [store.named(None)]:
        chosen = release or store.current(name)
        assert chosen is not None, "a catalog without a release is not among the store's catalogs"
        models = release_models(store.path(name, chosen), store.verify(name, chosen))
        written = prepare_models(models, target, layout)
        for model in written:
            console.print(f"wrote {target / model}", highlight=False, markup=False, soft_wrap=True)
        if not written:
            console.print(f"release {chosen} is prepared already", highlight=False, markup=False)
        published = {manifest.release_id for manifest in store.manifests(name)}
        for removed in remove_others(target, name, published):
            console.print(f"removed release {removed}", highlight=False, markup=False)


@triton.command()
def run(
    releases: Releases = RELEASES,
    repository: Repository = None,
    server: Server = FOLDER,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of its gRPC service, on this machine alone.")
    ] = 8001,
) -> None:
    """Run a Triton server over the models until Ctrl-C; `tandem serve --engine triton` loads what it needs."""
    target = repository or releases / TRITON_FOLDER
    if not releases.is_dir():
        raise ReleaseError(f"{releases}: no such folder; make a release with `tandem index`")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with triton_server(server, target, port) as started:
        console.print(f"Triton answers on {started.address}", highlight=False, markup=False)
        while started.process.poll() is None:
            time.sleep(0.5)
    console.print(f"Triton ended; {target / 'server.log'} says why", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)
