"""Speed of a sandwich step against a textbook step and matrix products:  python benchmarks/sandwich_step.py .

A step has the teacher's forward pass, forward and backward passes of seven candidates (50, 40, 30, 20, 15, 10 and 5%),
dropout, clipping and AdamW, on MRPC batches of 16 rows. Two ratios are printed:

(a) seconds of a textbook step (gates as masks on the full model, rows padded to 128, PyTorch's dropout and AdamW) over
    seconds of the step;
(b) seconds of float32 matrix products with the step's FLOPs over seconds of the step.

The three are timed in turns on each batch, so that a drift of the machine's speed affects all.
Needs MINIDISC_DATA and MINIDISC_MODELS.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, optim
from torch.nn.functional import pad
from transformers import PreTrainedModel

from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.flops import inference_flops, training_flops
from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.structure import Structure, UnitRanking, rank_units, structure_at
from minidisc_ray.core.trace import Batch, Totals
from minidisc_ray.data import EncodedRows, collate, encode, epoch_batches, load_splits
from minidisc_ray.models.dropout import seed_dropout, use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.gates import Gates, gated
from minidisc_ray.models.loading import load_teacher, load_tokenizer
from minidisc_ray.models.surgery import cut, reorder_
from minidisc_ray.objectives.ltsd import LTSDObjective
from minidisc_ray.training.importance import measure_importance
from minidisc_ray.training.loop import build_optimizer
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers

SCALES = (50, 40, 30, 20, 15, 10, 5)
BATCH_SIZE = 16
TEXTBOOK_LENGTH = 128
TRAINING = TrainingConfig(batch_size=BATCH_SIZE)
MATMUL_SIZE = 1024


@dataclass
class Setting:
    """The teacher, rows and structures that both kinds of step use."""

    teacher: PreTrainedModel
    rows: EncodedRows
    pad_token_id: int
    objective: LTSDObjective
    heads: UnitRanking
    neurons: UnitRanking
    structures: dict[int, Structure]


@dataclass
class Measured:
    """Seconds of each batch for "ours", "textbook" and "matmul", and the longest row of each batch."""

    times: dict[str, list[float]]
    lengths: list[int]

    def ratios(self, way: str) -> list[float]:
        """Seconds of ``way`` over ours, for each batch."""
        return [theirs / ours for theirs, ours in zip(self.times[way], self.times["ours"], strict=True)]


def main() -> None:
    """Time the three in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15, help="number of timed batches")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    found = measure(arguments.steps, arguments.threads)
    print(f"{arguments.steps} MRPC batches of {BATCH_SIZE}, longest row {min(found.lengths)}-{max(found.lengths)} "
          f"tokens, {arguments.threads} threads, torch {torch.__version__}")  # fmt: skip
    for name, values in found.times.items():
        median, low, high = (1e3 * value for value in (statistics.median(values), min(values), max(values)))
        print(f"{name:9} {median:8.1f} ms (median; {low:.1f} to {high:.1f})")
    textbook, matmul = found.ratios("textbook"), found.ratios("matmul")
    print(f"(a) {statistics.median(textbook):.1f}x faster than the textbook way "
          f"({min(textbook):.1f} to {max(textbook):.1f})")  # fmt: skip
    print(f"(b) {statistics.median(matmul):.0%} of the machine's matmul speed "
          f"({min(matmul):.0%} to {max(matmul):.0%})")  # fmt: skip


def measure(num_steps: int, num_threads: int) -> Measured:
    """Time ``num_steps`` batches; needs MINIDISC_DATA and MINIDISC_MODELS."""
    torch.set_num_threads(num_threads)
    setting = prepare()
    ours, textbook, matmul = SandwichStep(setting), TextbookStep(setting), matrix_product()
    batches = epoch_batches(setting.rows.lengths, BATCH_SIZE, seed=0, epoch=0)[: num_steps + 2]
    times: dict[str, list[float]] = {"ours": [], "textbook": [], "matmul": []}
    for number, indices in enumerate(batches):
        seconds = {
            "ours": timed(lambda indices=indices: ours(indices)),
            "textbook": timed(lambda indices=indices: textbook(indices)),
            "matmul": ours.flops(indices) / (2 * MATMUL_SIZE**3) * timed(matmul),
        }
        if number >= 2:  # the first two warm up allocators and kernels
            for name, value in seconds.items():
                times[name].append(value)
    return Measured(times, [int(setting.rows.lengths[indices].max()) for indices in batches[2:]])


def prepare() -> Setting:
    """MRPC rows, a pretrained teacher, and structures from its measured importance."""
    config = resolve(
        {
            "task": "mrpc",
            "data": {"kind": "files", "folder": "${MINIDISC_DATA}/mrpc"},
            "teacher": {"kind": "pretrained", "path": "${MINIDISC_MODELS}/minilm-l6"},
        }
    )
    splits = load_splits(config)
    tokenizer = load_tokenizer(config.teacher)  # type: ignore[arg-type]
    rows = encode(splits.train, tokenizer, config.data.max_length, None)
    teacher = load_teacher(config.teacher, splits.task, seed=0)  # type: ignore[arg-type]
    importance = measure_importance(
        teacher, rows, torch.arange(64), splits.task, int(tokenizer.pad_token_id), Workers(), _ignore
    )
    heads, neurons = rank_units(importance.heads, "global"), rank_units(importance.neurons, "global")
    structures = {scale: structure_at(heads, neurons, scale) for scale in SCALES}
    shape = shape_of(teacher)
    side = Side("the teacher", shape.num_layers, shape.hidden_size, shape.num_heads, shape.head_size)
    objective = LTSDObjective(LTSDConfig(), Pair(side, side, splits.task))
    return Setting(teacher.eval(), rows, int(tokenizer.pad_token_id), objective, heads, neurons, structures)


class SandwichStep:
    """The package's step, including the teacher's forward pass."""

    def __init__(self, setting: Setting, scales: Sequence[int] = SCALES) -> None:
        self.setting, self.scales = setting, scales
        ordered = copy.deepcopy(setting.teacher)
        reorder_(ordered, setting.heads, setting.neurons)
        shared = cut(ordered, setting.structures[scales[0]]).train()
        use_fast_dropout(shared)
        self.elastic = ElasticModel(shared, {scale: setting.structures[scale] for scale in scales})
        self.elastic.train()
        self.optimizer = build_optimizer(shared.parameters(), TRAINING)
        self.shape = shape_of(shared)
        # A cache of zero bytes: the teacher runs in every step, as in the first epoch.
        self.teacher = TeacherOutputs(
            setting.teacher,
            setting.rows,
            setting.objective.needs().teacher,
            setting.pad_token_id,
            Workers(),
            "float32",
            0,
        )

    def __call__(self, indices: Tensor) -> None:
        """Take one step."""
        setting = self.setting
        batch = collate(setting.rows, indices, setting.pad_token_id)
        totals = _totals(batch)
        self.elastic.gradients.zero_()
        seed_dropout(0)
        target = self.teacher.trace(batch)
        embedded = self.elastic.embed(batch)
        leaf = embedded.detach().requires_grad_()
        wanted = setting.objective.needs().student
        for scale in self.scales:
            trace = self.elastic.run(scale, leaf, batch, wanted)
            terms = setting.objective(trace, target, batch, totals)
            (sum(terms.values()) / len(self.scales)).backward()  # type: ignore[union-attr]
        embedded.backward(leaf.grad)
        norm = float(torch.linalg.vector_norm(self.elastic.gradients.buffer))
        if norm > TRAINING.max_gradient_norm:
            self.elastic.gradients.buffer.mul_(TRAINING.max_gradient_norm / norm)
        self.optimizer.step()

    def flops(self, indices: Tensor) -> int:
        """The step's FLOPs in closed form."""
        rows, length = len(indices), int(self.setting.rows.lengths[indices].max())
        candidates = sum(training_flops(self.shape, s, rows, length) for s in self.setting.structures.values())
        return candidates + inference_flops(self.shape, self.shape.full(), rows, length)


def gates_of(structure: Structure, heads: UnitRanking, neurons: UnitRanking) -> Gates:
    """Gates for a dense model in its original order: one where a structure keeps a unit, else zero, (1, units)."""
    return Gates(_masks(heads, structure.heads), _masks(neurons, structure.neurons))


def _masks(ranking: UnitRanking, counts: tuple[int, ...]) -> list[Tensor]:
    masks = []
    for order, count in zip(ranking.order, counts, strict=True):
        mask = torch.zeros(1, len(order))
        mask[0, list(order[:count])] = 1.0
        masks.append(mask)
    return masks


def _padded(batch: Batch, pad_token_id: int) -> Batch:
    """The same rows padded to ``TEXTBOOK_LENGTH``."""
    missing = (0, TEXTBOOK_LENGTH - batch.length)
    return replace(
        batch,
        input_ids=pad(batch.input_ids, missing, value=pad_token_id),
        mask=pad(batch.mask, missing),
        token_types=None if batch.token_types is None else pad(batch.token_types, missing),
    )


class TextbookStep:
    """A step with gates as masks on the full model, rows padded to 128, and PyTorch's dropout and AdamW."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        # Another step froze the teacher, so that its copy is frozen too.
        self.model = copy.deepcopy(setting.teacher).requires_grad_().train()
        self.gates: Sequence[Gates] = [
            gates_of(structure, setting.heads, setting.neurons) for structure in setting.structures.values()
        ]
        self.optimizer = optim.AdamW(self.model.parameters(), lr=TRAINING.learning_rate)

    def __call__(self, indices: Tensor) -> None:
        """Take one step."""
        setting = self.setting
        batch = _padded(collate(setting.rows, indices, setting.pad_token_id), setting.pad_token_id)
        self.optimizer.zero_grad()
        with torch.no_grad():
            target = run_model(setting.teacher, batch, setting.objective.needs().teacher)
        for gates in self.gates:
            with gated(self.model, gates):
                terms = setting.objective(
                    run_model(self.model, batch, setting.objective.needs().student), target, batch, _totals(batch)
                )
            (sum(terms.values()) / len(self.gates)).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), TRAINING.max_gradient_norm)
        self.optimizer.step()


def matrix_product() -> Callable[[], None]:
    """A square float32 matrix product, for the speed of this machine."""
    left, right = torch.randn(MATMUL_SIZE, MATMUL_SIZE), torch.randn(MATMUL_SIZE, MATMUL_SIZE)
    out = torch.empty(MATMUL_SIZE, MATMUL_SIZE)

    def multiply() -> None:
        torch.mm(left, right, out=out)

    return multiply


def timed(action: Callable[[], None]) -> float:
    """Mean seconds of an action, repeated for at least 0.1 s."""
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < 0.1:
        action()
        count += 1
    return (time.perf_counter() - start) / count


def _ignore(done: int, count: int) -> None:
    """Ignore progress."""


def _totals(batch: Batch) -> Totals:
    return Totals(rows=batch.rows, tokens=int(batch.mask.sum()))


if __name__ == "__main__":
    for variable in ("MINIDISC_DATA", "MINIDISC_MODELS"):
        if not Path(os.environ.get(variable, "/nowhere")).is_dir():
            raise SystemExit(f"{variable} is not set to a folder")
    main()
