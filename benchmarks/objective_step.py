"""Time and memory of a training step with each objective, relative to L_TSD at the same structure.

    MINIDISC_DATA=... MINIDISC_MODELS=... python benchmarks/objective_step.py --steps 20

MRPC rows, a 10% student of the 6-layer MiniLM and its teacher, whose forward pass is part of every step. Objectives
are timed in turns on the same batches, so that other load on the machine affects all. Memory is the peak that a step
adds, measured for each objective in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.structure import Structure, rank_units, structure_at
from minidisc_ray.core.trace import Totals
from minidisc_ray.data import EncodedRows, collate, encode, epoch_batches, load_splits
from minidisc_ray.models.dropout import seed_dropout, use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import load_teacher, load_tokenizer
from minidisc_ray.models.surgery import cut, reorder_
from minidisc_ray.preparation.objective import stage_objective
from minidisc_ray.training.learner import Learner
from minidisc_ray.training.loop import build_optimizer
from minidisc_ray.training.step_meter import WARM_UP_STEPS, StepMeter
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers

SCALE = 10
OBJECTIVES = {
    "L_TSD": "{kind: ltsd}",
    "FT": "{kind: labels}",
    "KD": "{kind: kd}",
    "PKD": "{kind: pkd}",
    "CKD": "{kind: ckd}",
    "L_TAD (32 heads)": "{kind: ltad}",
    "MiniLM": "{kind: minilm}",
    "MiniLMv2 (48 heads)": "{kind: minilmv2}",
    "DirectMiniLM": "{kind: directminilm}",
    "OD": "{kind: od}",
    "HS single": "{kind: hs, mapping: single}",
    "HS uniform + last": "{kind: hs, mapping: uniform_last}",
    "DistilBERT's sum": (
        "{kind: sum, parts: [{objective: {kind: od, temperature: 2}}, {objective: {kind: labels}}, "
        "{objective: {kind: hs, mapping: single, measure: cosine, linear_map: false}}]}"
    ),
    "Distiller MSE": "{kind: distiller, intermediate: mse}",
    "Distiller L2": "{kind: distiller, intermediate: l2}",
    "Distiller cosine": "{kind: distiller, intermediate: cosine}",
    "Distiller PKD": "{kind: distiller, intermediate: pkd}",
    "Distiller CE": "{kind: distiller, intermediate: ce}",
    "TinyBERT features *": "{kind: tinybert, feature_fraction: 1.0}",
    "Distiller EMD *": "{kind: distiller, intermediate: mse, mapping: emd}",
    "MI-0.9 MLP *": "{kind: distiller, intermediate: {kind: mi_alpha, critic: mlp}}",
    "MI-0.9 transformer *": "{kind: distiller, intermediate: mi_alpha}",
}


class Stepper:
    """Training steps of a student with one objective."""

    def __init__(self, objective: str, batch_size: int) -> None:
        root, models = os.environ["MINIDISC_DATA"], os.environ["MINIDISC_MODELS"]
        raw = {
            "task": "mrpc",
            "data": {"kind": "files", "folder": f"{root}/mrpc"},
            "teacher": {"kind": "pretrained", "path": f"{models}/minilm-l6"},
        }
        config = resolve(raw, [f"objective={objective}"])
        self.training = TrainingConfig(batch_size=batch_size)
        splits = load_splits(config)
        tokenizer = load_tokenizer(config.teacher)  # type: ignore[arg-type]
        self.rows: EncodedRows = encode(splits.train, tokenizer, config.data.max_length, None)
        teacher = load_teacher(config.teacher, splits.task, seed=0)  # type: ignore[arg-type]
        shape = shape_of(teacher)
        generator = torch.Generator().manual_seed(0)
        heads = rank_units(
            [torch.rand(shape.num_heads, generator=generator) for _ in range(shape.num_layers)], "global"
        )
        neurons = rank_units(
            [torch.rand(shape.intermediate_size, generator=generator) for _ in range(shape.num_layers)], "global"
        )
        structure: Structure = structure_at(heads, neurons, SCALE)
        ordered = load_teacher(config.teacher, splits.task, seed=0)  # type: ignore[arg-type]
        reorder_(ordered, heads, neurons)
        student = cut(ordered, structure).train()
        use_fast_dropout(student)
        built = stage_objective(config, shape, splits.task, shape.full(), [structure], was_distilled=False)
        pad, wanted = int(tokenizer.pad_token_id), built.needs().teacher
        self.learner = Learner(
            elastic=ElasticModel(student, {SCALE: structure}),
            objective=built,
            # A cache of zero bytes: the teacher runs in every step, as in the first epoch.
            teacher=TeacherOutputs(teacher, self.rows, wanted, pad, Workers(), "float32", 0) if wanted else None,
            scales_of_step=lambda step: (SCALE,),  # noqa: ARG005
            selection_score=lambda scores: 0.0,  # noqa: ARG005
            task=splits.task,
            selection=self.rows,
            pad_token_id=pad,
            workers=Workers(),
            precision="float32",
        )
        self.learner.elastic.train()
        self.optimizer = build_optimizer(self.learner.trained().values(), self.training)

    def __call__(self, indices: Tensor) -> None:
        """Take one step."""
        learner = self.learner
        for gradients in learner.gradients:
            gradients.zero_()
        seed_dropout(0)
        batch = collate(self.rows, indices, learner.pad_token_id)
        learner.backward(batch, Totals(rows=batch.rows, tokens=int(batch.mask.sum())), step=0)
        self.optimizer.step()

    def batches(self, count: int) -> list[Tensor]:
        """The first batches of an epoch."""
        return list(epoch_batches(self.rows.lengths, self.training.batch_size, 0, 0))[:count]


def main() -> None:
    """Time the objectives in turns, measure memory in separate processes, and print ratios to L_TSD."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="number of timed batches")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", help="objectives to measure in addition to L_TSD")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(json.dumps(_memory(arguments.memory_of, arguments.batch_size, arguments.steps)))
        return
    names = [name for name in OBJECTIVES if not arguments.only or name in arguments.only or name == "L_TSD"]
    steppers = {name: Stepper(OBJECTIVES[name], arguments.batch_size) for name in names}
    batches = steppers["L_TSD"].batches(arguments.steps + WARM_UP_STEPS)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for place, indices in enumerate(batches):
        for name, step in steppers.items():
            start = time.perf_counter()
            step(indices)
            if place >= WARM_UP_STEPS:
                seconds[name].append(time.perf_counter() - start)
    memory = {name: _memory_in_process(name, arguments) for name in names}
    _print(seconds, memory, arguments)


def _memory(name: str, batch_size: int, steps: int) -> int | None:
    step = Stepper(OBJECTIVES[name], batch_size)
    meter = StepMeter(torch.device("cpu"))
    for indices in meter.watch(step.batches(steps + WARM_UP_STEPS)):
        step(indices)
    for indices in meter.watch(step.batches(steps)):
        step(indices)
    return meter.memory_bytes


def _memory_in_process(name: str, arguments: argparse.Namespace) -> int | None:
    command = [sys.executable, __file__, "--memory-of", name, "--steps", "8", "--threads", str(arguments.threads)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: int | None = json.loads(found.stdout.strip().splitlines()[-1])
    return measured


def _print(seconds: dict[str, list[float]], memory: dict[str, int | None], arguments: argparse.Namespace) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("Objective")
    for title in ("Step, ms", "Time", "of pairs, 10th to 90th", "Memory, MiB", "Memory"):
        table.add_column(title, justify="right")
    base, base_memory = seconds["L_TSD"], memory["L_TSD"]
    for name, found in seconds.items():
        ratios = sorted(one / other for one, other in zip(found, base, strict=True))
        used = memory[name]
        table.add_row(
            name,
            f"{1000 * statistics.median(found):.0f}",
            f"{statistics.median(ratios):.2f}x",
            f"{ratios[len(ratios) // 10]:.2f} to {ratios[-1 - len(ratios) // 10]:.2f}",
            "" if used is None else f"{used / 2**20:.0f}",
            "" if used is None or not base_memory else f"{used / base_memory:.2f}x",
        )
    print(
        f"{len(base)} MRPC batches of {arguments.batch_size}, {SCALE}% student, {arguments.threads} threads, "
        f"torch {torch.__version__}; medians, time as the median ratio to L_TSD on the same batch\n"
    )
    Console(width=120).print(table)
    print("\n* expected to cost more: MI-alpha, EMD, attention maps")


if __name__ == "__main__":
    main()
