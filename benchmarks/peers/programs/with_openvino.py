"""The same program in int8 by OpenVINO: sentence-transformers' backend, quantised as its documentation shows."""

import csv
import os
import threading
from pathlib import Path
from typing import Any

from benchmarks.peers.programs.loop import Task, main
from benchmarks.peers.programs.plain import PlainProgram

_CALIBRATED = 300  # texts, the backend's own number
_COLUMN = "text"


class OpenVinoProgram(PlainProgram):
    """Models in static int8, calibrated on titles of the catalog; OpenVINO takes all cores by itself."""

    packages: tuple[str, ...] = (
        "sentence-transformers",
        "transformers",
        "optimum-intel",
        "openvino",
        "nncf",
        "faiss-cpu",
    )

    def __init__(self, task: Task) -> None:
        os.environ["HF_DATASETS_OFFLINE"] = "1"
        self._lock = threading.Lock()  # a compiled model has one request, which two threads may not share
        super().__init__(task)

    def load(self, kind: Any, folder: str) -> Any:
        """The model of a folder, beside whose weights the int8 file is left."""
        from optimum.intel import OVQuantizationConfig
        from sentence_transformers import export_static_quantized_openvino_model

        file = Path(folder) / "openvino" / "openvino_model_qint8_quantized.xml"
        if not file.is_file():
            exported = kind(folder, device="cpu", backend="openvino", model_kwargs={"export": True})
            export_static_quantized_openvino_model(
                exported,
                OVQuantizationConfig(),
                folder,
                dataset_name=str(self._calibration(Path(folder))),
                dataset_config_name="default",
                dataset_split="train",
                column_name=_COLUMN,
            )
        return kind(folder, device="cpu", backend="openvino", model_kwargs={"file_name": f"openvino/{file.name}"})

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """See `PlainProgram.search`; one query at a time."""
        with self._lock:
            return super().search(query, k, depth)

    def _calibration(self, folder: Path) -> Path:
        place = folder / "calibration"
        place.mkdir(exist_ok=True)
        with (place / "train.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[_COLUMN], *([text] for text in self.task.texts[:_CALIBRATED])])
        return place


if __name__ == "__main__":
    main(OpenVinoProgram)
