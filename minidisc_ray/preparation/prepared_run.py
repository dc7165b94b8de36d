"""A checked recipe with everything that is known before the run starts."""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.identity import digest, without_student
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.storage import SHARED_FOLDER
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows, Rows, Splits, encode
from minidisc_ray.files.storage import Storage
from minidisc_ray.preparation.checkpoint_student import CheckpointStudent
from minidisc_ray.preparation.sizes import kept_layers, planned_structure, planned_student
from minidisc_ray.schedules import Plan
from minidisc_ray.schedules.expected import expected_percent, expected_scale
from minidisc_ray.schedules.plan import FIRST_STUDENT, PROBE, STUDENT, DistilStep, Trial


@dataclass(frozen=True)
class PreparedRun:
    """A checked recipe with its rows, plan, identity and folders.

    Attributes:
        config: the resolved recipe.
        storage: the recipe's storage; a process that receives the run opens its own.
        splits: rows for training, selection and validation.
        tokenizer: the teacher's.
        plan: the schedule's steps.
        shape: the teacher's sizes.
        identity: everything that can change the numbers.
        name: the run's name, which is its folder's.
        teacher_is_fine_tuned: whether the teacher came with a trained head.
        checkpoint_student: the student if it has its own checkpoint; None if it is cut from another model.
        encoded: splits encoded so far, by name.
    """

    config: RunConfig
    storage: Storage = field(compare=False, repr=False)
    splits: Splits
    tokenizer: PreTrainedTokenizerBase
    plan: Plan
    shape: EncoderShape
    identity: dict[str, object]
    name: str
    teacher_is_fine_tuned: bool
    checkpoint_student: CheckpointStudent | None = None
    encoded: dict[str, EncodedRows] = field(default_factory=dict, compare=False, repr=False)

    @property
    def task(self) -> Task:
        """The resolved task."""
        return self.splits.task

    @property
    def run_folder(self) -> Path:
        """The run's folder; for a bucket, this node's copy of it."""
        return self.storage.root / self.name

    @property
    def shared_folder(self) -> Path:
        """The folder of artifacts that runs share."""
        return self.storage.root / SHARED_FOLDER

    @property
    def ledger(self) -> Ledger:
        """The ledger of devices held for this run."""
        return Ledger(self.storage, self.run_folder / "ledger.jsonl")

    def wait_for_storage(self) -> None:
        """From now on wait for an unreachable storage, for as long as the recipe says."""
        self.storage.wait_up_to(self.config.compute.storage_patience_seconds)

    @property
    def pad_token_id(self) -> int:
        """The tokenizer's padding token."""
        return int(self.tokenizer.pad_token_id)

    @property
    def teacher_key(self) -> str:
        """A hash of everything that can change the teacher."""
        parts = ("numerics", "contents", "task", "data", "teacher", "finetune", "protocol", "precision", "seed")
        return digest(without_student({part: self.identity[part] for part in parts}))

    @property
    def importance_key(self) -> str:
        """A hash of everything that can change the importance scores."""
        pruning = self.config.pruning
        if pruning.importance == "magnitude":
            return digest([self.teacher_key, "magnitude"])
        if pruning.importance_rows != "auto":
            return digest([self.teacher_key, pruning.importance_rows])
        # The number of rows sampled depends on which units the ranking keeps for the student.
        return digest([self.teacher_key, "auto", pruning.ranking, self.plan.student_percent])

    @property
    def teacher_folder(self) -> Path:
        """The folder of the teacher and its record."""
        return self.shared_folder / f"teacher-{self.teacher_key}"

    @property
    def importance_folder(self) -> Path:
        """The folder of the importance scores and their record."""
        return self.shared_folder / f"importance-{self.importance_key}"

    @property
    def train(self) -> EncodedRows:
        """The encoded training split."""
        return self._encode_once("train", self.splits.train)

    @property
    def selection(self) -> EncodedRows:
        """The encoded selection split."""
        return self._encode_once("selection", self.splits.selection)

    @property
    def validation(self) -> dict[str, EncodedRows]:
        """The encoded validation sets."""
        return {name: self._encode_once(f"validation/{name}", rows) for name, rows in self.splits.validation.items()}

    def _encode_once(self, name: str, rows: Rows) -> EncodedRows:
        if name not in self.encoded:
            self.encoded[name] = self.encode(rows)
        return self.encoded[name]

    def encode(self, rows: Rows) -> EncodedRows:
        """Encode rows; encodings are cached in the shared folder if a run has created it."""
        cache = self.shared_folder / "encodings" if self.shared_folder.is_dir() else None
        if cache is not None:
            self.storage.refuse_links(cache)
        return encode(rows, self.tokenizer, self.config.data.max_length, cache)

    def structure(self, scale_percent: int) -> Structure:
        """A structure of the right size for counting, before importance decides what each layer loses."""
        return planned_structure(self.config, self.shape, scale_percent)

    @property
    def student_shape(self) -> EncoderShape:
        """Unpruned sizes of the student: the teacher's, unless the student has its own checkpoint."""
        return self.shape if self.checkpoint_student is None else self.checkpoint_student.shape

    def expected_shape(self, stage: str) -> EncoderShape:
        """Unpruned sizes of the models that a stage trains."""
        return self.student_shape if stage in (STUDENT, FIRST_STUDENT, PROBE) else self.shape

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The teacher's layers that the student is made of; all of them for a pruned student."""
        return kept_layers(self.config, self.shape)

    def expected_structure(self, trial: Trial, step: DistilStep) -> Structure:
        """A structure of the right size for counting, for the model that a step of a trial makes."""
        if step.makes_student and self.checkpoint_student is not None:
            return self.checkpoint_student.structure
        if step.continues is not None:
            first = trial.step(step.continues)
            assert isinstance(first, DistilStep)
            return self.expected_structure(trial, first)
        if step.makes_student:
            return planned_student(self.config, self.shape, expected_percent(self.plan, trial, step.source))
        return self.structure(expected_scale(self.plan, trial, step.scale))
