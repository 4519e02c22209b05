"""A virtual environment for each peer, made once: no peer's pins bind another's, nor Tandem's."""

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from core.errors import TandemError

_STAMP = "installed.txt"
TORCH = "torch==2.13.0"


class PeerFailed(TandemError):
    """A peer cannot be installed or did not do its work; the others go on."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of `benchmarks/peers/programs`, the name of its table row, and what pip installs beside torch.

    `removed` are packages that come along, are not used and keep others from being imported.
    """

    name: str
    module: str
    requirements: tuple[str, ...]
    removed: tuple[str, ...] = ()

    def make(self, folder: Path, torch_index: str | None = None) -> Path:
        """The interpreter of its environment below the folder, which is made unless it has what is required.

        Raises PeerFailed with pip's last line of output.
        """
        place = (folder / self.module).absolute()
        python, stamp, wanted = place / "bin" / "python", place / _STAMP, "\n".join((TORCH, *self.requirements))
        if stamp.is_file() and stamp.read_text() == wanted:
            return python
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        self._pip(
            python, "install", "--progress-bar", "off", *(["--index-url", torch_index] if torch_index else []), TORCH
        )
        self._pip(python, "install", "--progress-bar", "off", TORCH, *self.requirements)
        if self.removed:
            self._pip(python, "uninstall", "--yes", *self.removed)
        stamp.write_text(wanted)
        return python

    def _pip(self, python: Path, verb: str, *arguments: str) -> None:
        command = [str(python), "-m", "pip", "--disable-pip-version-check", verb, "--quiet", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerFailed(f"could not be installed: {last_line(done.stderr)}")


def last_line(text: str) -> str:
    """The last line that is not blank: where pip and Python print the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


PLAIN = Peer(
    "sentence-transformers",
    "plain",
    ("sentence-transformers==6.2.0", "transformers==5.23.0", "faiss-cpu==1.15.1", "numpy==2.4.6"),
)
# The same program in int8: what a sceptic of a comparison with fp32 asks for first.
ONNX = Peer(
    "onnx-int8",
    "with_onnx",
    (
        *("sentence-transformers==5.7.0", "transformers==4.57.6", "optimum==2.1.0", "optimum-onnx==0.1.0"),
        *("onnx==1.23.2", "onnxruntime==1.32.0", "faiss-cpu==1.15.1", "numpy==2.4.6"),
    ),
)
OPENVINO = Peer(
    "openvino-int8",
    "with_openvino",
    (
        *("sentence-transformers==6.2.0", "transformers==5.5.4", "optimum==2.3.0", "optimum-intel==2.2.0"),
        *("openvino==2026.4.1", "nncf==3.4.0", "datasets==5.0.1", "faiss-cpu==1.15.1", "numpy==2.4.6"),
    ),
    removed=("torchvision",),  # its build for CUDA does not load beside torch's for processors
)
SAME_PROGRAM = (PLAIN, ONNX, OPENVINO)
PEERS = (
    *SAME_PROGRAM,
    # It pins sentence-transformers below 4 and numpy below 2 itself.
    Peer("infinity", "with_infinity", ("infinity-emb[torch]==0.0.78", "transformers==4.57.6", "faiss-cpu==1.15.1")),
    Peer(
        "lancedb",
        "with_lancedb",
        ("lancedb==0.40.0", "sentence-transformers==6.2.0", "transformers==5.23.0", "numpy==2.4.6"),
    ),
    Peer("txtai", "with_txtai", ("txtai==9.14.0", "transformers==5.23.0", "faiss-cpu==1.15.1", "numpy==2.4.6")),
)


def chosen(names: list[str]) -> list[Peer]:
    """The peers of these modules, in the table's order. Raises TandemError for one that there is not."""
    known = {peer.name: peer for peer in PEERS}
    if unknown := [name for name in names if name not in known]:
        raise TandemError(f"{unknown[0]}: no such peer; there are {', '.join(known)}")
    return [peer for name, peer in known.items() if name in names]


def make_all(
    peers: list[Peer], folder: Path, torch_index: str | None, in_place: bool, failed: dict[str, str]
) -> dict[Peer, Path]:
    """The peers' interpreters; `in_place` runs the straightforward program with this Python, which has its libraries.

    Peers that cannot be installed are recorded in `failed`, by name.
    """
    pythons = {}
    for peer in peers:
        try:
            own = in_place and peer is PLAIN
            pythons[peer] = Path(sys.executable) if own else peer.make(folder, torch_index)
        except PeerFailed as error:
            failed[peer.name] = str(error)
    return pythons
