from types import SimpleNamespace

import pytest
import torch
from tiny_models import batch_of, max_difference, random_rows, tiny_model
from torch import nn

from minidisc_ray.models.dropout import FastDropout, attention_forward, fast_dropout, seed_dropout, use_fast_dropout
from minidisc_ray.models.forward import run_model


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_rate_and_scaling(probability):
    seed_dropout(0)
    values = torch.ones(400, 501)
    dropped = fast_dropout(values, probability)
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(1 - probability, abs=0.005)
    assert dropped[kept].unique().tolist() == pytest.approx([1 / (1 - probability)], rel=2e-4)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)


def test_entries_are_dropped_independently():
    seed_dropout(0)
    kept = (fast_dropout(torch.ones(1000, 1000), 0.5) != 0).float()
    assert float(kept.mean(0).std()) == pytest.approx(0.5 / 1000**0.5, rel=0.15)  # binomial, no stripes
    assert float(kept.mean(1).std()) == pytest.approx(0.5 / 1000**0.5, rel=0.15)
    assert float((kept[:, 1:] * kept[:, :-1]).mean()) == pytest.approx(0.25, abs=0.003)


def test_masks_follow_the_seed_and_move_on():
    values = torch.ones(3, 7, 5)
    seed_dropout(7)
    first, second = fast_dropout(values, 0.5), fast_dropout(values, 0.5)
    seed_dropout(7)
    assert torch.equal(first, fast_dropout(values, 0.5))
    assert not torch.equal(first, second)
    seed_dropout(8)
    assert not torch.equal(first, fast_dropout(values, 0.5))


def test_gradients_pass_through_what_was_kept():
    seed_dropout(0)
    values = torch.ones(50, 50, requires_grad=True)
    dropped = fast_dropout(values, 0.25)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


def test_off_in_eval_and_at_zero():
    values = torch.ones(10, 10)
    module = FastDropout(0.5)
    assert not torch.equal(module(values), values)
    assert module.eval()(values) is values
    assert FastDropout(0.0)(values) is values


@pytest.mark.parametrize("probability", [1e-7, 0.999999])
def test_probabilities_next_to_the_ends_stay_finite(probability):
    assert torch.isfinite(fast_dropout(torch.ones(1000), probability)).all()


def attention(mask, dropout, scaling=None):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 6, 8, generator=generator) for _ in range(3))
    module = SimpleNamespace(is_causal=False, training=True)
    return attention_forward(module, query, key, value, mask, dropout, scaling)[0], (query, key, value)


@pytest.mark.parametrize("scaling", [None, 0.2])
@pytest.mark.parametrize("kind", ["none", "bool", "additive"])
def test_dropping_next_to_nothing_equals_fused_attention(kind, scaling):
    allowed = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    allowed[0, ..., 4:] = False
    mask = {"none": None, "bool": allowed, "additive": torch.zeros(2, 1, 6, 6).masked_fill(~allowed, -1e9)}[kind]
    slow, (query, key, value) = attention(mask, 1e-9, scaling)
    fused, _ = attention(mask, 0.0, scaling)
    reference = nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scaling).transpose(1, 2)
    assert slow.shape == (2, 6, 4, 8)
    assert max_difference(slow, fused) < 1e-5
    assert max_difference(slow, reference) < 1e-5


def test_attention_drops_probabilities_but_never_reaches_a_masked_token():
    allowed = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    allowed[:, ..., 3:] = False
    seed_dropout(0)
    dropped, (query, key, value) = attention(allowed, 0.5)
    whole, _ = attention(allowed, 0.0)
    assert max_difference(dropped, whole) > 0.1
    seed_dropout(0)
    value[:, :, 3:] = 1e6
    again, _ = attention_forward(SimpleNamespace(is_causal=False), query, key, value, allowed, 0.5)
    assert max_difference(dropped, again) == 0.0


def test_every_dropout_of_a_model_is_replaced_and_its_rate_kept(model):
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    batch = batch_of(random_rows(5), model)
    before = run_model(model, batch).logits
    use_fast_dropout(model)
    found = [module for module in model.modules() if isinstance(module, FastDropout)]
    assert [module.p for module in found] == rates
    assert len(rates) >= 3
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    assert max_difference(run_model(model, batch).logits, before) < 1e-5
    model.train()
    seed_dropout(1)
    first, second = run_model(model, batch).logits, run_model(model, batch).logits
    seed_dropout(1)
    assert torch.equal(first, run_model(model, batch).logits)
    assert max_difference(first, second) > 1e-3


def test_a_rate_of_zero_makes_training_mode_the_same_as_eval(model):
    batch = batch_of(random_rows(5), model)
    before = run_model(model, batch).logits
    use_fast_dropout(model, 0.0)
    assert max_difference(run_model(model.train(), batch).logits, before) < 1e-5


def test_attention_probabilities_are_dropped_in_every_family(family):
    """With all other dropouts at zero, training mode still draws: attention is not left out."""
    model = tiny_model(family)
    use_fast_dropout(model)
    for name, module in model.named_modules():
        if isinstance(module, FastDropout) and not name.endswith(("attention.self.dropout", "attention.dropout")):
            module.p = 0.0
    batch = batch_of(random_rows(5), model)
    model.train()
    seed_dropout(0)
    assert max_difference(run_model(model, batch).logits, run_model(model, batch).logits) > 1e-4
