"""Which device is taken, what a GPU that cannot be used says, and packages that write over each other."""

import pytest

from core.errors import TandemError
from engine import device
from engine.device import check_packages, chosen_device


def test_processors_are_taken_without_a_look_at_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_gpu_problem", lambda: pytest.fail("looked"))
    assert chosen_device("cpu") == "cpu"


@pytest.mark.parametrize("lacking", ["", "NVIDIA's driver shows no GPU here"])
def test_auto_takes_what_is_there_and_cuda_insists(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    monkeypatch.setattr(device, "_gpu_problem", lambda: lacking)
    assert chosen_device("auto") == ("cpu" if lacking else "cuda")
    if lacking:
        with pytest.raises(TandemError, match="device cuda: NVIDIA's driver shows no GPU here; or take --device cpu"):
            chosen_device("cuda")
    else:
        assert chosen_device("cuda") == "cuda"


def test_what_is_lacking_is_looked_for_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_driver_sees_gpu", lambda: False)
    assert "driver" in device._gpu_problem()
    monkeypatch.setattr(device, "_driver_sees_gpu", lambda: True)
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert "tandem-retrieval[gpu]" in device._gpu_problem()
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "built without CUDA" in device._gpu_problem()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert device._gpu_problem() == ""


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert not device._driver_sees_gpu()


def test_packages_that_write_over_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages()  # those of this environment do not
    for there in (["faiss-cpu", "faiss-gpu"], ["onnxruntime", "onnxruntime-gpu"], ["faiss-gpu", "faiss-gpu-cu12"]):
        monkeypatch.setattr(device, "_installed", there.__contains__)
        with pytest.raises(TandemError, match=f"{there[0]} and {there[1]} are both installed") as error:
            check_packages()
        assert "\n" not in str(error.value)
    monkeypatch.setattr(device, "_installed", ["faiss-gpu", "onnxruntime"].__contains__)
    check_packages()
