"""Where it is known whether a batch has padding, nothing looks into its mask, and every number stays the same."""

from dataclasses import replace

import pytest
import torch
from tiny_models import LAST, batch_of, random_rows, rows_of_lengths, structures, tiny_model

from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.forward import model_inputs, run_model

ROWS = {True: random_rows(6), False: rows_of_lengths([7, 7, 7])}


@pytest.mark.parametrize("has_padding", [True, False])
@pytest.mark.parametrize("is_fast", [True, False])
def test_the_outputs_are_those_of_the_plain_mask(model, has_padding, is_fast):
    if is_fast:
        use_fast_dropout(model)
    batch = batch_of(ROWS[has_padding], model)
    known = replace(batch, has_padding=has_padding)
    plain, found = (run_model(model, one, LAST) for one in (batch, known))
    assert torch.equal(plain.logits, found.logits)
    assert all(torch.equal(plain.hidden[layer], found.hidden[layer]) for layer in plain.hidden)
    assert ("attention_mask" in model_inputs(model, known)) == has_padding


@pytest.mark.parametrize("has_padding", [True, False])
def test_so_are_those_of_candidates(family, has_padding):
    shared = tiny_model(family, seed=1)
    use_fast_dropout(shared)
    elastic = ElasticModel(shared, structures((100, 40)))
    batch = batch_of(ROWS[has_padding], shared)
    known = replace(batch, has_padding=has_padding)
    plain, found = (elastic.run(40, elastic.embed(one), one) for one in (batch, known))
    assert torch.equal(plain.logits, found.logits)


def test_attention_that_takes_other_masks_makes_its_own(model):
    model.config._attn_implementation = "eager"
    known = replace(batch_of(ROWS[True], model), has_padding=True)
    assert model_inputs(model, known)["attention_mask"] is known.mask
