"""The same program in int8: sentence-transformers' own ONNX backend, quantised as its documentation recommends."""

import platform
from pathlib import Path
from typing import Any

from benchmarks.peers.programs.loop import main
from benchmarks.peers.programs.plain import PlainProgram

# Of the processors' instructions that quantisation supports, the best first.
_KINDS = {"avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2"}


class OnnxProgram(PlainProgram):
    """Models in dynamic int8, of the kind for this processor; ONNX Runtime takes all cores by itself."""

    packages: tuple[str, ...] = ("sentence-transformers", "transformers", "optimum-onnx", "onnxruntime", "faiss-cpu")

    def load(self, kind: Any, folder: str) -> Any:
        """The model of a folder, beside whose weights the int8 file is left."""
        from sentence_transformers import export_dynamic_quantized_onnx_model

        processor = processor_kind()
        file = Path(folder) / "onnx" / f"model_qint8_{processor}.onnx"
        if not file.is_file():
            exported = kind(folder, device="cpu", backend="onnx", model_kwargs={"export": True})
            export_dynamic_quantized_onnx_model(exported, processor, folder)
        return kind(folder, device="cpu", backend="onnx", model_kwargs={"file_name": f"onnx/{file.name}"})


def processor_kind() -> str:
    """What of `export_dynamic_quantized_onnx_model` fits this processor."""
    if platform.machine() in ("aarch64", "arm64"):
        return "arm64"
    flags = Path("/proc/cpuinfo").read_text().split()
    return next((kind for flag, kind in _KINDS.items() if flag in flags), "avx2")


if __name__ == "__main__":
    main(OnnxProgram)
