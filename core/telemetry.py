"""Nothing of ours phones home: the switches of the libraries that would.

ONNX Runtime's official builds for Linux keep an identifier of the machine below HOME and upload events, unless a switch
is set before they are imported; so `core`, which all packages import first, sets it.
"""

import os

_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def disable_telemetry() -> None:
    """Switches telemetry off for this process and for those it starts, overriding the environment."""
    os.environ.update(_SWITCHES)
