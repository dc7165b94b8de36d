"""Calls the command line in this process, and makes the small folders that its commands read."""

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_models import tiny_model
from tiny_teacher import TINY_TEACHER
from transformers import PreTrainedTokenizerFast

from minidisc_ray.cli import main
from minidisc_ray.data import builtin_tokenizer

_ONCE = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
RECIPE: dict[str, Any] = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": TINY_TEACHER,
    "schedule": {"kind": "minidisc", "scales": {"kind": "list", "values": [60, 30]}, "num_sampled": 2},
    "pruning": {"neuron_multiple": 1},
    "finetune": {**_ONCE, "num_epochs": 2},
    "distil": _ONCE,
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of a mistake."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("minidisc: ")
        assert "Traceback" not in line
        return line.removeprefix("minidisc: ")


class CommandLine:
    """``minidisc`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        self.capsys.readouterr()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        captured = self.capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    def well(self, *arguments: str | Path) -> str:
        """What a command that succeeds prints."""
        done = self(*arguments)
        assert (done.code, done.err) == (0, ""), (done.code, done.out, done.err)
        return done.out


def write_recipe(path: Path, storage: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**RECIPE, "storage": str(storage), **changes}), encoding="utf-8")
    return path


def write_rows(path: Path, count: int, columns: Sequence[str] = ("text", "label")) -> Path:
    words = ("the film was good", "the story was not good", "the actors were bad", "the plot was never dull")
    rows = [{columns[0]: words[i % 4], **({columns[1]: i % 2} if len(columns) > 1 else {})} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_teacher(folder: Path, pads: bool = True, model_type: str | None = None) -> Path:
    """A BERT with a head of three labels and the built-in words; without padding, or called another type."""
    tiny_model("bert").save_pretrained(folder)
    tokenizer = builtin_tokenizer()
    if not pads:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    if model_type is not None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type, "architectures": None}))
    return folder
