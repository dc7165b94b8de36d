import pytest
import torch
from tiny_models import (
    HEADS,
    LAYERS,
    NEURONS,
    REGRESSION,
    TASK,
    batch_of,
    max_difference,
    pad_id,
    random_rows,
    tiny_model,
)
from torch.nn import functional

from minidisc_ray.data import EncodedRows, collate
from minidisc_ray.models.families import encoder_layers, family_of, linear_at
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.gates import Gates, gated, open_gates
from minidisc_ray.training.importance import measure_importance
from minidisc_ray.training.workers import Workers

ROWS = 9


def measure(model, rows: EncodedRows, indices=None, task=TASK):
    indices = torch.arange(len(rows)) if indices is None else indices
    return measure_importance(model, rows, indices, task, pad_id(model), Workers(), lambda done, count: None)


def slow_loop(model, rows, task):
    """One example, and one shared gate a unit, at a time: |dL/dgate| averaged over examples, in float64."""
    model = model.double()
    heads, neurons = torch.zeros(LAYERS, HEADS).double(), torch.zeros(LAYERS, NEURONS).double()
    for index in range(len(rows)):
        batch = collate(rows, torch.tensor([index]), pad_id(model))
        head_gates = [torch.ones(1, HEADS, dtype=torch.float64, requires_grad=True) for _ in range(LAYERS)]
        neuron_gates = [torch.ones(1, NEURONS, dtype=torch.float64, requires_grad=True) for _ in range(LAYERS)]
        with gated(model, Gates(head_gates, neuron_gates)):
            logits = run_model(model, batch).logits
        if task.is_regression:
            loss = functional.mse_loss(logits[:, 0], batch.labels.double())
        else:
            loss = functional.cross_entropy(logits, batch.labels)
        gradients = torch.autograd.grad(loss, [*head_gates, *neuron_gates])
        heads += torch.stack(gradients[:LAYERS])[:, 0].abs()
        neurons += torch.stack(gradients[LAYERS:])[:, 0].abs()
    return heads / len(rows), neurons / len(rows)


@pytest.mark.parametrize("task", [TASK, REGRESSION], ids=["classes", "values"])
def test_gate_gradients_equal_a_slow_loop_over_examples(family, task):
    rows = random_rows(ROWS, task)
    found = measure(tiny_model(family, task), rows, task=task)
    heads, neurons = slow_loop(tiny_model(family, task), rows, task)
    torch.testing.assert_close(torch.stack(found.heads), heads, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(torch.stack(found.neurons), neurons, rtol=1e-4, atol=1e-7)
    assert (heads > 0).all()
    assert found.heads[0].dtype == torch.float64
    # The absolute value of the mean would be another thing: gradients of examples cancel.
    batch = batch_of(rows, model := tiny_model(family, task))
    gates = open_gates(model, batch.rows)
    with gated(model, gates):
        logits = run_model(model, batch).logits
    loss = (
        logits.square().sum() if task.is_regression else functional.cross_entropy(logits, batch.labels, reduction="sum")
    )
    cancelled = torch.autograd.grad(loss, gates.heads)[0].sum(0).abs() / ROWS
    assert max_difference(cancelled.double(), heads[0]) > 1e-4


def test_importance_is_invariant_to_padding_and_to_the_order_of_rows(model):
    rows = random_rows(40)  # more than one batch, so that the order changes who is padded with whom
    first = measure(model, rows)
    second = measure(model, rows, torch.randperm(40, generator=torch.Generator().manual_seed(3)))
    for one, other in zip((*first.heads, *first.neurons), (*second.heads, *second.neurons), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    short, long = batch_of(random_rows(5), model), batch_of(random_rows(5), model, pad_to=128)
    gradients = []
    for batch in (short, long):
        gates = open_gates(model, batch.rows)
        with gated(model, gates):
            loss = functional.cross_entropy(run_model(model, batch).logits, batch.labels, reduction="sum")
        gradients.append(torch.autograd.grad(loss, [*gates.heads, *gates.neurons]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_only_the_given_rows_count(model):
    rows = random_rows(8)
    some = measure(model, rows, torch.tensor([0, 3]))
    assert max_difference(some.heads[0], measure(model, rows).heads[0]) > 1e-6
    each = [measure(model, rows, torch.tensor([index])) for index in (0, 3)]
    torch.testing.assert_close(some.heads[0], (each[0].heads[0] + each[1].heads[0]) / 2, rtol=1e-4, atol=1e-7)


def test_importance_runs_in_eval_mode_and_leaves_no_gate_behind(model):
    rows = random_rows(6)
    model.train()
    first, second = measure(model, rows), measure(model, rows)
    assert torch.equal(first.heads[0], second.heads[0])
    family = family_of(model.config.model_type)
    for layer in encoder_layers(model):
        assert not linear_at(layer, family.attention_output)._forward_pre_hooks
        assert not linear_at(layer, family.down)._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_heads_gate_at_zero_removes_its_share_alone(model):
    """Zeroing the gate of one head equals zeroing that head's columns of the output projection."""
    batch = batch_of(random_rows(4), model)
    gates = open_gates(model, batch.rows)
    with torch.no_grad():
        gates.heads[1][:, 2] = 0.0
        gates.neurons[0][:, 7] = 0.0
        with gated(model, gates):
            found = run_model(model, batch).logits
        family, layers = family_of(model.config.model_type), encoder_layers(model)
        linear_at(layers[1], family.attention_output).weight[:, 16:24] = 0.0
        linear_at(layers[0], family.down).weight[:, 7] = 0.0
        assert max_difference(found, run_model(model, batch).logits) < 1e-5
