"""What compression of a trained model saves and costs: fewer layers, neurons, tokens and bits, in one table.

    python -m benchmarks.compression ranker --model models/ranker --encoder models/encoder \
        --catalog FILE --judgments FILE [--mapping FILE] --work FOLDER [--epochs 1]

Students are made in WORK by `tandem compress` unless they are there already, so that a run that was stopped goes on.
`--beside NAME=FOLDER` adds a student that something else made, such as a recipe its ranker to serve. Then all are
timed in turn, one thread each, beside the model as it is and its other int8 kinds; OpenVINO takes part where it is
installed. Parameters and results go to `benchmarks/results/compression_<kind>.json`.
"""

import argparse
import logging
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.common import save
from benchmarks.openvino_model import OpenVinoModel, is_installed
from benchmarks.quantization import FIXED, variants
from core.errors import TandemError
from encoder.train.export import PooledEncoder, example_inputs, load_encoder
from engine.onnx.session import SEGMENTS
from evaluation.judgments import load_judgments
from lifecycle.cli.progress import Bars
from lifecycle.tracking.tracker import NullTracker
from lifecycle.training.compression import ROW_FILE, StudentData, compress_model, make_trial
from lifecycle.training.data import Inputs, read_data
from lifecycle.training.record import Kind
from lifecycle.training.scoring import TowerSimilarity
from lifecycle.training.trial import RankerTrial, Subject, TowerTrial, compare_subjects
from ranker.train.export import Logits, load_ranker
from training.compress import Distillation, teacher_checkpoint
from training.examples import select_split
from training.export import quiet_libraries, write_fp32

WHOLE = "as it is"
# Name -> what is kept. A vocabulary needs no distillation: the remaining tokens keep their vectors.
STUDENTS: dict[str, dict[str, Any]] = {
    "4 layers": {"layers": 4},
    "3 layers": {"layers": 3},
    "2 layers": {"layers": 2},
    "half of the neurons": {"ffn_share": 0.5},
    "tokens of the shop": {"trim_vocabulary": True, "epochs": 0},
    "3 layers, half of the neurons, tokens of the shop": {"layers": 3, "ffn_share": 0.5, "trim_vocabulary": True},
}
QUERY_STUDENTS: dict[str, dict[str, Any]] = {
    f"{count} layers for queries alone": {"layers": count, "side": "query"} for count in (4, 3, 2)
}
_CALIBRATION = 100


def main() -> None:
    """Makes what is not made yet, tries all, and saves the table."""
    options = _options()
    logging.disable(logging.WARNING)  # the quantisers log every node
    kind: Kind = options.kind
    bars = Bars(Console(stderr=True))
    inputs = Inputs(options.catalog, options.mapping, _judgments(options), options.encoder)
    students = STUDENTS | (QUERY_STUDENTS if kind == "encoder" else {})
    chosen = {name: what for name, what in students.items() if not options.only or name in options.only}
    for name, what in chosen.items():
        folder = _folder(options.work, name)
        if not (folder / ROW_FILE).is_file():
            print(f"making: {name}", flush=True)
            schedule = {"epochs": options.epochs, "threads": options.threads} | what
            material = StudentData(options.candidates, options.products)
            compress_model(kind, options.model, inputs, material, folder, schedule, bars, NullTracker())
    similarity = TowerSimilarity(options.encoder) if options.encoder else None
    shop = read_data(inputs, bars)
    settings = Distillation(validation_pairs=options.validation_pairs)
    trial = make_trial(kind, select_split(shop.judgments, shop.texts, "valid"), shop.texts, settings, similarity)
    subjects = {WHOLE: trial.subject(options.model)}
    subjects |= {name: trial.subject(_folder(options.work, name)) for name in chosen}
    subjects |= {name: trial.subject(folder) for name, folder in options.beside}
    subjects |= _other_kinds(kind, trial, options.model, options.work, subjects[WHOLE])
    rows = compare_subjects(trial, subjects, WHOLE, options.repeats)
    for name, row in rows.items():
        print(f"{name}: {row.line()}")
    parameters = {
        "model": options.model.name,
        "epochs": options.epochs,
        "students": chosen,
        "beside": [name for name, _ in options.beside],
        "train_queries": options.train_queries,
        "candidates": options.candidates,
        "products": options.products,
        "validation_pairs": options.validation_pairs,
        "threads": 1,
        "repeats": options.repeats,
        "openvino": version("openvino") if is_installed() else None,
    }
    print(save(options.name or f"compression_{kind}", parameters, {name: row.as_json() for name, row in rows.items()}))


def _judgments(options: argparse.Namespace) -> Path:
    """The file itself, or one beside the students that has fewer queries to train on."""
    if options.train_queries is None:
        return cast(Path, options.judgments)
    table = load_judgments(options.judgments)
    train = pc.equal(table["split"], "train")
    queries = table.filter(train)["query"].unique().to_pylist()
    sample = [queries[place] for place in np.random.default_rng(0).permutation(len(queries))[: options.train_queries]]
    options.work.mkdir(parents=True, exist_ok=True)
    target: Path = options.work / "judgments.parquet"
    pq.write_table(table.filter(pc.or_(pc.invert(train), pc.is_in(table["query"], pa.array(sample)))), target)
    return target


def _folder(work: Path, name: str) -> Path:
    return work / name.replace(",", "").replace(" ", "_")


def _other_kinds(
    kind: Kind, trial: RankerTrial | TowerTrial, model: Path, work: Path, whole: Subject
) -> dict[str, Subject]:
    """The checkpoint of the model itself in fp32, in the int8 kinds of `benchmarks.quantization`, and by OpenVINO."""
    exact = work / "fp32.onnx"
    _write_exact(kind, model, exact)
    part = whole.parts["pair" if kind == "ranker" else "item"]
    segments = part.segments[:_CALIBRATION] if part.segments is not None else None
    subjects: dict[str, Subject] = {}
    for name, write in variants(part.tokens[:_CALIBRATION], segments).items():
        if "blocks" in name:
            continue
        target = work / f"{name.partition(' (')[0].replace(' ', '_').replace(',', '')}.onnx"
        write(exact, target)
        subjects[f"ONNX Runtime: {name}"] = trial.subject(model, target)
        if name == FIXED and is_installed():
            subjects[f"OpenVINO: {name}"] = trial.subject(model, target, OpenVinoModel)
    if is_installed():
        for precision in ("f32", "bf16"):
            load = partial(OpenVinoModel, precision=precision)
            subjects[f"OpenVINO: {precision}"] = trial.subject(model, exact, load)
    return subjects


def _write_exact(kind: Kind, folder: Path, target: Path) -> None:
    checkpoint = str(teacher_checkpoint(folder, target.parent))
    inputs = example_inputs()
    with quiet_libraries():
        if kind == "encoder":
            write_fp32(PooledEncoder(load_encoder(checkpoint)), inputs, target)
            return
        model = load_ranker(checkpoint)
        if getattr(model.config, "type_vocab_size", 1) > 1:
            inputs[SEGMENTS] = (inputs["input_ids"] > 2).long()
        write_fp32(Logits(model), inputs, target)


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not name or not separator or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: give a name, =, and the folder of a student")
    return name, Path(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("encoder", "ranker"))
    parser.add_argument("--model", type=Path, required=True, help="folder that `tandem train` left")
    parser.add_argument("--encoder", type=Path, help="for the ranker: towers whose similarity it builds on")
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--judgments", type=Path, required=True)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the students; those there are not made again"
    )
    parser.add_argument("--only", action="append", help="name of a student to make; default: all")
    parser.add_argument(
        "--beside", action="append", default=[], type=_named, metavar="NAME=FOLDER", help="of a student that is made"
    )
    parser.add_argument("--train-queries", type=int, help="so many of them, drawn; default: all")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--validation-pairs", type=int, default=4000)
    parser.add_argument("--threads", type=int, help="for making students; default: one a core")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--name", help="of the results file")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
