"""Losses of a multi-label task against PyTorch's and transformers' own."""

import pytest
import torch
from objective_kit import OBJECTIVES, pairing
from tiny_models import MULTILABEL, batch_of, random_rows, totals_of
from torch.nn import functional

from minidisc_ray.configs import objective as configs
from minidisc_ray.core.divergence import soft_binary_cross_entropy, soft_cross_entropy
from minidisc_ray.models.forward import run_model
from minidisc_ray.objectives.labels import label_losses

# Objectives with a term on predictions, and the temperature and weight of that term.
PREDICTIONS = {
    "kd": (2.0, OBJECTIVES["kd"].logits_weight),
    "pkd": (OBJECTIVES["pkd"].temperature, OBJECTIVES["pkd"].logits_weight),
    "od": (3.0, 1.0),
    "ltsd": (1.0, 1.0),
    "ltsd-weighted": (1.0, 0.5),
    "ckd": (OBJECTIVES["ckd"].temperature, OBJECTIVES["ckd"].logits_weight),
    "tinybert": (OBJECTIVES["tinybert"].temperature, OBJECTIVES["tinybert"].logits_weight),
    "distiller-cosine": (1.0, 1.0),
}


@pytest.fixture
def rows():
    return random_rows(8, MULTILABEL)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_equal_torchs_binary_cross_entropy(name, rows):
    temperature, weight = PREDICTIONS[name]
    pair = pairing(OBJECTIVES[name], task=MULTILABEL)
    pair.objective.set_progress(1.0)
    batch = batch_of(rows, pair.student)
    with torch.no_grad():
        student, teacher = (run_model(model, batch).logits for model in (pair.student, pair.teacher))
        found = pair.terms(batch)["logits"]
    expected = functional.binary_cross_entropy((student / temperature).sigmoid(), (teacher / temperature).sigmoid())
    assert found.item() == pytest.approx(weight * temperature**2 * expected.item(), rel=1e-5)


def test_distillers_mse_compares_logits(rows):
    pair = pairing(OBJECTIVES["distiller-labels"], task=MULTILABEL)
    batch = batch_of(rows, pair.student)
    with torch.no_grad():
        student, teacher = (run_model(model, batch).logits for model in (pair.student, pair.teacher))
        assert pair.terms(batch)["logits"].item() == pytest.approx(functional.mse_loss(student, teacher).item())


def test_labels_equal_the_loss_of_transformers(rows):
    pair = pairing(configs.LabelsConfig(), task=MULTILABEL)
    batch = batch_of(rows, pair.student)
    pair.student.config.problem_type = "multi_label_classification"
    with torch.no_grad():
        expected = pair.student(
            batch.input_ids, attention_mask=batch.mask, token_type_ids=batch.token_types, labels=batch.labels
        ).loss
        found = pair.objective(run_model(pair.student, batch), None, batch, totals_of(batch))["labels"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_rows_losses_add_up(rows):
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    by_row = label_losses(logits, rows.labels, "labels")
    assert by_row.shape == (8,)
    torch.testing.assert_close(by_row.sum(), label_losses(logits, rows.labels, "labels", "sum"))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_label_is_a_choice_of_yes_and_no(temperature):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 4, generator=generator) for _ in range(2))
    # The logits of yes and no: a sigmoid is the softmax of a logit and 0.
    both = [torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (student, teacher)]
    expected = soft_cross_entropy(*both, temperature).mean(dim=-1)
    torch.testing.assert_close(soft_binary_cross_entropy(student, teacher, temperature), expected)
    assert soft_binary_cross_entropy(student.bfloat16(), teacher.bfloat16()).dtype == torch.float32
