"""A teacher that has learned nothing ends its run before anything is paid for what it would teach."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pipeline_kit import prepared_run, stages_of
from safetensors.torch import load_file, save_file
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages._teacher_check import lead_of, refusal_of
from minidisc_ray.run_files.records import read_record

LEARNED = "finetune={num_epochs: 8, batch_size: 16, learning_rate: 3e-3, early_stop_epochs: null}"
STRICT = "teacher.allow_at_chance=false"
TWO = Task("tiny", ("text",), "label", ("no", "yes"), ("accuracy",))


def answers(right: int, rows: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Logits with some right, and labels of which 60 percent are of class 0."""
    labels = np.array([0] * int(0.6 * rows) + [1] * (rows - int(0.6 * rows)))
    given = labels.copy()
    wrong = np.linspace(0, rows - 1, rows - right).astype(int)
    given[wrong] = 1 - given[wrong]
    return np.eye(2)[given], labels


class TestLead:
    @pytest.mark.parametrize(
        ("right", "is_none", "is_significant"), [(55, True, False), (60, True, False), (95, False, True)]
    )
    def test_accuracy(self, right, is_none, is_significant):
        lead = lead_of(TWO, *answers(right), np.zeros(10, dtype=int))
        assert lead.majority == 0.6
        assert lead.is_none == is_none
        assert lead.is_significant == is_significant

    def test_a_small_lead_may_be_chance(self):
        lead = lead_of(TWO, *answers(63), np.zeros(10, dtype=int))
        assert not lead.is_none
        assert not lead.is_significant

    @pytest.mark.parametrize("kind", ["inverted", "always the rare class", "coin flips"])
    def test_f1_of_a_rare_class_hides_no_teacher_at_chance(self, kind):
        """The commonest class scores 0 here, so that any guess would be above it."""
        task = Task("qqp", ("text",), "label", ("no", "yes"), ("f1", "accuracy"))
        generator = np.random.default_rng(0)
        labels = (generator.random(2000) < 0.37).astype(int)
        right = generator.random(2000) < 0.9
        given = {
            "inverted": np.where(right, 1 - labels, labels),
            "always the rare class": np.ones(2000, dtype=int),
            "coin flips": generator.integers(2, size=2000),
        }[kind]
        lead = lead_of(task, np.eye(2)[given], labels, labels)
        assert lead.majority == 0.0
        assert not lead.is_significant
        assert lead.is_none or kind == "coin flips"
        known = lead_of(task, np.eye(2)[np.where(right, labels, 1 - labels)], labels, labels)
        assert known.is_significant

    def test_macro_f1_of_random_answers(self):
        task = Task("three", ("text",), "label", ("a", "b", "c"), ("macro_f1",))
        generator = np.random.default_rng(1)
        labels, given = generator.integers(3, size=(2, 900))
        lead = lead_of(task, np.eye(3)[given], labels, labels)
        assert lead.model > lead.majority
        assert not lead.is_significant

    def test_the_majority_is_that_of_the_selection_rows(self):
        """Train's commonest class is another one here: by it a teacher at chance would pass."""
        logits, labels = answers(60)
        assert lead_of(TWO, logits, labels, np.ones(10, dtype=int)).majority == 0.6

    @pytest.mark.parametrize(("noise", "is_none"), [(0.5, False), (None, True)])
    def test_regression(self, noise, is_none):
        task = Task("tiny", ("text",), "label", (), ("spearman", "pearson"))
        generator = np.random.default_rng(0)
        labels = generator.normal(size=80)
        logits = np.full((80, 1), 2.0) if noise is None else (labels + noise * generator.normal(size=80))[:, None]
        lead = lead_of(task, logits, labels, labels)
        assert lead.majority == 0.0
        assert lead.is_none == is_none


@pytest.fixture(scope="module")
def learned_run(tmp_path_factory):
    """A run whose teacher knows the built-in task, and its result."""
    more = ("data.train_rows=800", "data.selection_fraction=0.3", STRICT, LEARNED)
    prepared = prepared_run(tmp_path_factory.mktemp("runs"), "conventional", more)
    return prepared, run_in_process(prepared)


class TestRuns:
    def test_it_stops_before_anything_else(self, tmp_path):
        prepared = prepared_run(tmp_path, "minidisc", (STRICT, "finetune.learning_rate=1e-9"))
        with pytest.raises(UserError) as caught:
            run_in_process(prepared)
        message = str(caught.value)
        assert message.startswith("teacher: the teacher has learned nothing: its accuracy on the 13 selection rows is ")
        assert message.endswith(
            "; train it longer, or at another learning rate (finetune); "
            "or run anyway with teacher.allow_at_chance: true"
        )
        assert [attempt.name for attempt in stages_of(prepared)] == ["teacher"]
        assert not (prepared.run_folder / "stages").exists() or not list((prepared.run_folder / "stages").iterdir())
        # The teacher is made once: the second try stops as fast, and going on is the same run.
        with pytest.raises(UserError, match="the teacher has learned nothing"):
            run_in_process(prepared)
        assert len(stages_of(prepared)) == 1
        allowed = prepared_run(tmp_path, "minidisc", ("finetune.learning_rate=1e-9",))
        assert (allowed.name, allowed.teacher_folder) == (prepared.name, prepared.teacher_folder)
        result = run_in_process(allowed)
        assert result.teacher_warning.startswith("the teacher has learned nothing: its accuracy on the 13 selection ")
        assert [attempt.name for attempt in stages_of(allowed)][:2] == ["teacher", "importance"]

    def test_a_teacher_that_has_learned_goes_on_without_a_word(self, learned_run):
        prepared, result = learned_run
        assert result.teacher_warning is None
        assert read_record(LOCAL, prepared.teacher_folder).warning is None

    def test_a_lead_that_may_be_chance_is_a_warning_in_log_and_result(self, tmp_path, monkeypatch, caplog):
        prepared = prepared_run(tmp_path, "conventional", (STRICT,))
        labels = prepared.selection.labels.numpy()
        majority = np.bincount(labels).argmax()
        logits = np.zeros((len(labels), 2))
        logits[:, majority] = 1.0
        minority = np.flatnonzero(labels != majority)
        logits[minority[:1]] = np.eye(2)[1 - majority]  # one more than always answering the commonest class
        monkeypatch.setattr("minidisc_ray.pipeline.stages.teacher.selection_logits", lambda context, model: logits)
        caplog.set_level("WARNING", "minidisc_ray")
        result = run_in_process(prepared)
        assert "may be chance: always giving their commonest class scores" in result.teacher_warning
        assert result.teacher_warning in caplog.text


class TestHeadsInAnotherOrder:
    @pytest.fixture
    def learned(self, learned_run, tmp_path):
        """A copy of a classifier that knows the built-in task, to change."""
        return shutil.copytree(learned_run[0].teacher_folder / "model", tmp_path / "model")

    def test_the_order_that_fits_is_named(self, tmp_path, learned):
        weights = load_file(learned / "model.safetensors")
        for part in ("classifier.weight", "classifier.bias"):
            weights[part] = weights[part].flip(0).contiguous()
        save_file(weights, learned / "model.safetensors", {"format": "pt"})
        config = json.loads((learned / "config.json").read_text())
        config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
        (learned / "config.json").write_text(json.dumps(config))
        (learned / "seal.json").unlink()
        own = ("data.train_rows=800", f"teacher={{kind: pretrained, path: {learned}}}")
        with pytest.raises(UserError) as caught:
            run_in_process(prepared_run(tmp_path / "again", "conventional", own))
        message = str(caught.value)
        assert message.startswith(
            "teacher.path: the teacher has learned nothing: its accuracy on the 80 selection rows is "
        )
        assert "; its head fits with its outputs in the order positive, negative (" in message
        assert "so put the rows of its classifier in the task's order (negative, positive)" in message

    def test_two_classes_of_four_that_changed_places(self, tmp_path):
        """Still above the commonest class, so that no chance check would find it."""
        generator = np.random.default_rng(0)
        labels = generator.integers(4, size=400)
        given = np.where(generator.random(400) < 0.9, labels, generator.integers(4, size=400))
        logits = np.eye(4)[np.array([1, 0, 2, 3])[given]]
        task = Task("four", ("text",), "label", ("a", "b", "c", "d"), ("accuracy",))
        prepared = SimpleNamespace(
            task=task,
            config=SimpleNamespace(teacher=PretrainedTeacherConfig(path="here")),
            teacher_is_fine_tuned=True,
            selection=EncodedRows(torch.zeros(400), torch.arange(401), None, torch.from_numpy(labels), 0),
            splits=SimpleNamespace(train=SimpleNamespace(labels=labels)),
        )
        assert lead_of(task, logits, labels, labels).is_significant
        assert "its head fits with its outputs in the order b, a, c, d (" in refusal_of(prepared, logits)
        assert refusal_of(prepared, np.eye(4)[given]) is None, "the order as it is"
        by_luck = refusal_of(prepared, np.eye(4)[generator.integers(4, size=400)])
        assert by_luck is None or "in the order" not in by_luck

    def test_no_order_fits_a_head_of_another_task(self, tmp_path, learned):
        weights = load_file(learned / "model.safetensors")
        torch.manual_seed(0)
        weights["classifier.weight"] = torch.zeros_like(weights["classifier.weight"])
        save_file(weights, learned / "model.safetensors", {"format": "pt"})
        (learned / "seal.json").unlink()
        own = ("data.train_rows=800", f"teacher={{kind: pretrained, path: {learned}}}")
        with pytest.raises(
            UserError, match="its head may be of another task, its weights of another tokenizer, or classes too"
        ):
            run_in_process(prepared_run(tmp_path / "again", "conventional", own))
