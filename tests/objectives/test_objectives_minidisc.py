"""The contract for MiniDisc's objectives."""

from dataclasses import replace

import pytest
import torch
from objective_contract import CrossEntropyContract, LabelledContract, ObjectiveContract, entropy
from objective_kit import equal_traces, slim_model
from tiny_models import totals_of

from minidisc_ray.configs.base import UserError


class TestLabels(ObjectiveContract):
    name = "labels"

    def test_a_student_that_equals_its_teacher_is_at_the_minimum(self, pair, batch):
        """There is no teacher: being sure and right is the minimum."""
        logits = (50.0 * torch.nn.functional.one_hot(batch.labels, 3).float()).requires_grad_()
        student, _ = equal_traces(pair, batch)
        loss = pair.objective(replace(student, logits=logits), None, batch, totals_of(batch))["labels"]
        loss.backward()
        assert loss.item() < 1e-6
        assert float(logits.grad.abs().max()) < 1e-6


class TestLTSD(CrossEntropyContract):
    name = "ltsd"


class TestWeightedLTSD(CrossEntropyContract):
    name = "ltsd-weighted"

    def minimum(self, terms, target, batch):
        return {"logits": 0.5 * entropy(target.logits), "hidden": 0.0}


class TestLTSDOfEverySecondLayer(CrossEntropyContract):
    name = "ltsd-layers"

    def test_a_student_of_fewer_layers_heads_and_another_width(self):
        with pytest.raises(UserError, match=r"^objective\.hidden_layers: every_second needs as many layers in the"):
            self.pairing(student=slim_model())


class TestLTAD(ObjectiveContract):
    name = "ltad"


class TestKD(LabelledContract):
    name = "kd"
    temperature = 2.0


class TestPKD(LabelledContract):
    name = "pkd"


class TestPKDOfAllTokens(CrossEntropyContract):
    name = "pkd-all"


class TestCKD(CrossEntropyContract):
    name = "ckd"


class TestTinyBERT(ObjectiveContract):
    name = "tinybert"

    def test_predictions_follow_features(self, pair, batch):
        seen = []
        for fraction in (0.0, 0.49, 0.5, 1.0):
            pair.objective.set_progress(fraction)
            seen.append(set(pair.terms(batch)))
        assert seen == [{"embeddings", "attention", "hidden"}] * 2 + [{"logits"}] * 2


class TestMiniLM(ObjectiveContract):
    name = "minilm"
