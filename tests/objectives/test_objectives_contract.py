"""One base case that every objective keeps, then each against PyTorch's own losses."""

from dataclasses import replace

import pytest
import torch
from tiny_models import (
    REGRESSION,
    TASK,
    batch_of,
    max_difference,
    random_rows,
    rows_of_lengths,
    tiny_model,
    totals_of,
)
from torch.nn import functional

from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.core.trace import Trace
from minidisc_ray.data import collate
from minidisc_ray.models.forward import run_model
from minidisc_ray.objectives import LabelObjective, LTSDObjective, build_objective


class ObjectiveContract:
    """What every objective keeps. Subclasses name one; nothing else is needed to put it under test."""

    task = TASK

    def objective(self):
        raise NotImplementedError

    @pytest.fixture
    def student(self):
        return tiny_model("bert", self.task, seed=1)

    @pytest.fixture
    def teacher(self):
        return tiny_model("bert", self.task, seed=2)

    @pytest.fixture
    def rows(self):
        return random_rows(8, self.task)

    def terms(self, student, teacher, batch, totals=None):
        with torch.no_grad():
            target = run_model(teacher, batch) if self.objective().needs().teacher else None
        return self.objective()(run_model(student, batch), target, batch, totals or totals_of(batch))

    def value(self, *arguments):
        return torch.stack(list(self.terms(*arguments).values())).sum()

    def test_padding_never_counts(self, student, teacher, rows):
        short, long = batch_of(rows, student), batch_of(rows, student, pad_to=128)
        assert short.length < 20
        torch.testing.assert_close(self.value(student, teacher, short), self.value(student, teacher, long))

    def test_order_of_rows_never_counts(self, student, teacher, rows):
        order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
        shuffled = collate(rows, order, 0)
        torch.testing.assert_close(
            self.value(student, teacher, batch_of(rows, student)), self.value(student, teacher, shuffled)
        )

    def test_parts_add_up(self, student, teacher, rows):
        whole = batch_of(rows, student)
        parts = [collate(rows, torch.tensor([index]), 0) for index in range(8)]
        total = sum(self.value(student, teacher, part, totals_of(whole)) for part in parts)
        torch.testing.assert_close(total, self.value(student, teacher, whole))
        assert len({part.length for part in parts}) > 1

    def test_gradients_go_to_the_student_alone(self, student, teacher, rows):
        batch = batch_of(rows, student)
        before = [parameter.detach().clone() for parameter in teacher.parameters()]
        self.value(student, teacher, batch).backward()
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert all(torch.equal(*pair) for pair in zip(before, teacher.parameters(), strict=True))
        assert sum(p.grad is not None and bool(p.grad.any()) for p in student.parameters()) > 30

    @pytest.mark.parametrize("lengths", [[1], [9], [1, 1, 1], [1, 12]])
    def test_finite_on_the_smallest_batches(self, student, teacher, lengths):
        batch = batch_of(rows_of_lengths(lengths, self.task), student)
        value = self.value(student, teacher, batch)
        value.backward()
        assert torch.isfinite(value)
        assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)

    def test_huge_logits_stay_finite(self, student, teacher, rows):
        batch = batch_of(rows, student)
        with torch.no_grad():
            for model in (student, teacher):
                next(reversed(list(model.parameters()))).add_(torch.tensor([3e4] + [0.0] * (self.task.num_labels - 1)))
        assert torch.isfinite(self.value(student, teacher, batch))

    def test_terms_are_scalars_in_float32(self, student, teacher, rows):
        for term in self.terms(student, teacher, batch_of(rows, student)).values():
            assert term.shape == ()
            assert term.dtype == torch.float32
            assert term.item() > 0


class DistillationContract(ObjectiveContract):
    """What is at its minimum when the student equals its teacher."""

    def minimum(self, trace: Trace, batch) -> dict[str, float]:
        raise NotImplementedError

    def test_a_student_that_equals_its_teacher_is_at_the_minimum(self, teacher, rows):
        batch = batch_of(rows, teacher)
        target = run_model(teacher, batch)
        target = Trace(target.logits.detach(), target.last_hidden.detach())
        student = Trace(target.logits.clone().requires_grad_(), target.last_hidden.clone().requires_grad_())
        terms = self.objective()(student, target, batch, totals_of(batch))
        assert {name: term.item() for name, term in terms.items()} == pytest.approx(
            self.minimum(target, batch), abs=1e-6
        )
        torch.stack(list(terms.values())).sum().backward()
        assert max_difference(student.logits.grad, torch.zeros_like(student.logits)) < 1e-7
        if student.last_hidden.grad is not None:
            assert not student.last_hidden.grad.any()

    def test_any_step_away_from_the_minimum_costs(self, teacher, rows):
        batch = batch_of(rows, teacher)
        target = run_model(teacher, batch)
        best = sum(self.objective()(target, target, batch, totals_of(batch)).values())
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            away = replace(target, logits=target.logits + 0.1 * torch.randn(target.logits.shape, generator=generator))
            assert sum(self.objective()(away, target, batch, totals_of(batch)).values()) > best


class TestLTSD(DistillationContract):
    def objective(self):
        return LTSDObjective(LTSDConfig(), self.task.is_regression)

    def minimum(self, trace, batch):
        probabilities = trace.logits.softmax(-1)
        return {"logits": float(-(probabilities * probabilities.log()).sum(-1).mean()), "hidden": 0.0}

    def test_against_torch(self, student, teacher, rows):
        batch = batch_of(rows, student)
        one, other = run_model(student, batch), run_model(teacher, batch)
        terms = self.objective()(one, other, batch, totals_of(batch))
        torch.testing.assert_close(terms["logits"], functional.cross_entropy(one.logits, other.logits.softmax(-1)))
        real = batch.mask.bool()
        torch.testing.assert_close(terms["hidden"], functional.mse_loss(one.last_hidden[real], other.last_hidden[real]))


class TestWeightedLTSD(TestLTSD):
    def objective(self):
        return LTSDObjective(LTSDConfig(logits_weight=0.5, hidden_weight=3.0), self.task.is_regression)

    def minimum(self, trace, batch):
        return {"logits": 0.5 * super().minimum(trace, batch)["logits"], "hidden": 0.0}

    def test_against_torch(self, student, teacher, rows):
        plain = TestLTSD().terms(student, teacher, batch_of(rows, student))
        weighted = self.terms(student, teacher, batch_of(rows, student))
        torch.testing.assert_close(weighted["logits"], 0.5 * plain["logits"])
        torch.testing.assert_close(weighted["hidden"], 3.0 * plain["hidden"])


class TestRegressionLTSD(DistillationContract):
    task = REGRESSION

    def objective(self):
        return build_objective(LTSDConfig(), is_regression=True)

    def minimum(self, trace, batch):
        return {"logits": 0.0, "hidden": 0.0}

    def test_against_torch(self, student, teacher, rows):
        batch = batch_of(rows, student)
        one, other = run_model(student, batch), run_model(teacher, batch)
        terms = self.objective()(one, other, batch, totals_of(batch))
        torch.testing.assert_close(terms["logits"], functional.mse_loss(one.logits, other.logits))


class TestLabels(ObjectiveContract):
    def objective(self):
        return LabelObjective(self.task.is_regression)

    def test_against_torch(self, student, teacher, rows):
        batch = batch_of(rows, student)
        trace = run_model(student, batch)
        found = self.objective()(trace, None, batch, totals_of(batch))["labels"]
        torch.testing.assert_close(found, functional.cross_entropy(trace.logits, batch.labels))

    def test_sure_and_right_is_the_minimum(self, student, rows):
        batch = batch_of(rows, student)
        logits = (50.0 * functional.one_hot(batch.labels, 3).float()).requires_grad_()
        loss = self.objective()(Trace(logits, torch.zeros(0)), None, batch, totals_of(batch))["labels"]
        loss.backward()
        assert loss.item() < 1e-6
        assert float(logits.grad.abs().max()) < 1e-6


class TestRegressionLabels(ObjectiveContract):
    task = REGRESSION

    def objective(self):
        return LabelObjective(is_regression=True)

    def test_against_torch(self, student, teacher, rows):
        batch = batch_of(rows, student)
        trace = run_model(student, batch)
        found = self.objective()(trace, None, batch, totals_of(batch))["labels"]
        torch.testing.assert_close(found, functional.mse_loss(trace.logits[:, 0], batch.labels))

    def test_the_labels_themselves_are_the_minimum(self, student, rows):
        batch = batch_of(rows, student)
        logits = batch.labels.unsqueeze(-1).clone().requires_grad_()
        loss = self.objective()(Trace(logits, torch.zeros(0)), None, batch, totals_of(batch))["labels"]
        loss.backward()
        assert loss.item() == 0.0
        assert not logits.grad.any()


def test_needs_follow_the_weights():
    def needs(**weights):
        return LTSDObjective(LTSDConfig(**weights), is_regression=False).needs()

    assert (needs().teacher_logits, needs().teacher_hidden) == (True, True)
    assert not needs(hidden_weight=0).teacher_hidden
    assert not needs(logits_weight=0).teacher_logits
    assert needs(hidden_weight=0).teacher
    assert not LabelObjective(is_regression=False).needs().teacher


def test_a_weight_of_zero_leaves_its_term_out():
    student, batch = tiny_model("bert"), batch_of(random_rows(3), tiny_model("bert"))
    trace = run_model(student, batch)
    for weights, left in (({"hidden_weight": 0}, {"logits"}), ({"logits_weight": 0}, {"hidden"})):
        objective = LTSDObjective(LTSDConfig(**weights), is_regression=False)
        assert set(objective(trace, trace, batch, totals_of(batch))) == left
