"""The devices that tests run on: a processor always, a GPU where torch sees one."""

import pytest
import torch

_NONE = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")

DEVICES = ["cpu", pytest.param("cuda", marks=_NONE)]
