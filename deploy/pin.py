"""Pins what the images install, with the digests of all its files, by pyproject.toml and constraints.txt.

python deploy/pin.py
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy/requirements"
# Of each image the extras that it has, beside the base.
IMAGES = {
    "serve": ("cpu", "chinese", "explain", "identity", "metrics", "redis", "sign", "tracing", "triton"),
    "jobs": (
        "cpu",
        "chinese",
        "explain",
        "identity",
        "metrics",
        "redis",
        "sign",
        "tracing",
        "untuned",
        "train",
        "track",
    ),
}
# What models for Triton import where Triton runs, and what builds our own packages.
OTHERS = {"triton": ("faiss-cpu", "numpy", "onnxruntime"), "build": ("setuptools",)}
PYTHON = {"triton": "3.12"}  # of its image; others have that of the tests
OWN = "tandem-client"  # made in the image
# torch comes from an index of builds for processors (see the Dockerfile); what its build for GPUs asks for is left out.
APART = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
HEADER = "# Made by `make pin`: every file of each package by its digest, for `pip install --require-hashes`.\n"


def wanted(image: str) -> list[str]:
    """The requirements that an image begins from."""
    if image in OTHERS:
        return list(OTHERS[image])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    client = tomllib.loads((ROOT / "protos/pyproject.toml").read_text())["project"]
    chosen = (project["optional-dependencies"][extra] for extra in IMAGES[image])
    lines = {*project["dependencies"], *client["dependencies"]}.union(*chosen)
    return sorted(line for line in lines if name_of(line) != OWN)


def name_of(line: str) -> str:
    """The name of the package that a line asks for."""
    return re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")


def pin(image: str) -> None:
    """Writes the file of an image, for Linux and the Python of the images. It names no index."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url"]
    command += [
        "--python-version",
        PYTHON.get(image, "3.11"),
        "--python-platform",
        "linux",
        "--constraints",
        "constraints.txt",
        "-",
    ]
    lines = "\n".join(wanted(image))
    result = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{image}: {result.stderr.strip()}")
    entries = re.findall(r"^\S+==.*(?:\n    .*)*\n", result.stdout, flags=re.M)
    (FOLDER / f"{image}.txt").write_text(HEADER + "".join(entry for entry in entries if not APART.match(entry)))


def main() -> None:
    """Pins all images."""
    FOLDER.mkdir(exist_ok=True)
    for image in (*OTHERS, *IMAGES):
        pin(image)
        print(f"wrote deploy/requirements/{image}.txt")


if __name__ == "__main__":
    main()
