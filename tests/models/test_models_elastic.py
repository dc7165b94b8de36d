import pytest
import torch
from tiny_models import (
    LAST,
    LAYERS,
    ODD,
    SPARSE,
    batch_of,
    gates_of,
    max_difference,
    pad_id,
    pair_of,
    random_rows,
    rankings,
    rows_of_lengths,
    structures,
    tiny_model,
    totals_of,
)
from torch.utils.flop_counter import FlopCounterMode

from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.gates import gated
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, prefix, reorder_
from minidisc_ray.objectives.ltsd import LTSDObjective

TOLERANCE = 1e-5
STRUCTURES = {**structures((100, 60, 40)), 30: SPARSE, 20: ODD}


def elastic_of(model, found=None):
    """An elastic model over a reordered model; the largest candidate is the whole of it."""
    reorder_(model, *rankings())
    return ElasticModel(model, found or STRUCTURES)


@pytest.fixture
def batch(model):
    return batch_of(random_rows(5), model)


def test_reordering_leaves_the_function_unchanged_but_moves_weights(model, batch):
    before = run_model(model, batch, LAST)
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    reorder_(model, *rankings())
    after = run_model(model, batch, LAST)
    assert max_difference(before.logits, after.logits) < TOLERANCE
    assert max_difference(before.hidden[LAYERS], after.hidden[LAYERS]) < TOLERANCE
    assert sum(not torch.equal(weights[name], parameter) for name, parameter in model.named_parameters()) >= 3 * 10


def export(elastic, scale):
    """An independent dense model that computes what the candidate computes."""
    return cut(elastic.shared, elastic.structures[scale])


@pytest.mark.parametrize("scale", STRUCTURES)
def test_slices_gates_and_exports_agree(family, scale):
    dense, batch = tiny_model(family), batch_of(random_rows(5), tiny_model(family))
    structure = STRUCTURES[scale]
    with gated(dense, gates_of(structure, *rankings())):
        gates = run_model(dense, batch, LAST)
    open_gates_off = run_model(dense, batch)
    elastic = elastic_of(dense)
    sliced = elastic.run(scale, elastic.embed(batch), batch, LAST)
    exported = run_model(export(elastic, scale), batch, LAST)
    assert structure_of(export(elastic, scale).config) == structure
    real = batch.mask.bool()
    for other in (sliced, exported):
        assert max_difference(gates.logits, other.logits) < TOLERANCE
        assert max_difference(gates.hidden[LAYERS][real], other.hidden[LAYERS][real]) < TOLERANCE
    if scale < 100:  # the gates were not open: otherwise nothing above was tested
        assert max_difference(gates.logits, open_gates_off.logits) > 1e-3


def test_candidates_share_storage_and_exports_do_not(model):
    elastic = elastic_of(model)
    shared = dict(model.named_parameters())
    for name, parameter in elastic._active[40].named_parameters():
        assert parameter.data_ptr() == shared[name].data_ptr() or parameter.numel() == 0
    addresses = {parameter.data_ptr() for parameter in shared.values()}
    assert not any(p.data_ptr() in addresses for p in export(elastic, 40).parameters() if p.numel())


def test_a_change_of_shared_weights_reaches_candidates_but_no_export(model, batch):
    elastic = elastic_of(model)
    exported = export(elastic, 40)
    before = run_model(exported, batch).logits
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert max_difference(before, run_model(exported, batch).logits) == 0.0
    moved = elastic.run(40, elastic.embed(batch), batch).logits
    assert max_difference(moved, before) > 1e-3
    assert max_difference(moved, run_model(export(elastic, 40), batch).logits) < TOLERANCE


PAIR = pair_of(tiny_model("bert"), tiny_model("bert"))


def loss_of(trace, target, batch):
    terms = LTSDObjective(LTSDConfig(), PAIR)(trace, target, batch, totals_of(batch))
    return torch.stack(list(terms.values())).sum()


def target_of(family, batch):
    with torch.no_grad():
        return run_model(tiny_model(family, seed=9), batch, LAST)


@pytest.mark.parametrize("scale", [100, 40, 30, 20])
def test_gradients_stay_in_the_slice_and_equal_those_of_an_export(family, scale):
    elastic = elastic_of(tiny_model(family))
    batch = batch_of(random_rows(5), elastic.shared)
    target = target_of(family, batch)
    exported = export(elastic, scale)
    loss_of(run_model(exported, batch, LAST), target, batch).backward()
    loss_of(elastic.run(scale, elastic.embed(batch), batch, LAST), target, batch).backward()

    shared = dict(elastic.shared.named_parameters())
    seen = 0
    for name, parameter in exported.named_parameters():
        gradient = shared[name].grad.clone()
        inside = prefix(gradient, parameter.shape)
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert max_difference(inside, expected) < TOLERANCE if inside.numel() else True, name
        seen += bool(expected.any())
        inside.zero_()
        assert not gradient.any(), f"{name}: gradient outside the slice"
    assert seen > 20
    assert all(parameter.grad is None for parameter in elastic._active[scale].parameters())


def test_gradients_of_candidates_add_up_to_that_of_the_average_loss(family):
    scales = (100, 40, 20)
    elastic = elastic_of(tiny_model(family))
    batch = batch_of(random_rows(5), elastic.shared)
    target = target_of(family, batch)
    for scale in scales:
        (loss_of(elastic.run(scale, elastic.embed(batch), batch, LAST), target, batch) / len(scales)).backward()

    expected = {name: torch.zeros_like(parameter) for name, parameter in elastic.shared.named_parameters()}
    for scale in scales:
        exported = export(elastic, scale)
        loss_of(run_model(exported, batch, LAST), target, batch).backward()
        for name, parameter in exported.named_parameters():
            if parameter.grad is not None:
                prefix(expected[name], parameter.shape).add_(parameter.grad / len(scales))
    for name, parameter in elastic.shared.named_parameters():
        assert max_difference(parameter.grad, expected[name]) < TOLERANCE, name
    elastic.gradients.zero_()
    assert not any(parameter.grad.any() for parameter in elastic.shared.parameters())


def test_gradients_are_views_of_one_flat_buffer(model):
    elastic = elastic_of(model)
    elastic.gradients.buffer.copy_(torch.arange(len(elastic.gradients.buffer)))
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert torch.equal(flat, elastic.gradients.buffer)


def test_smaller_candidates_cost_proportionally_less(model):
    model.set_attn_implementation("eager")
    elastic = elastic_of(model)
    batch = batch_of(rows_of_lengths([12] * 4), model)
    embedded = elastic.embed(batch).detach()
    shape = shape_of(model)
    counted = {}
    for scale in elastic.structures:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            elastic.run(scale, embedded, batch)
        counted[scale] = counter.get_total_flops()
        # The embeddings come ready made: their projection (ELECTRA) is no candidate's.
        projection = 4 * 12 * shape.embedding_projection * shape.hidden_size
        assert counted[scale] == 2 * (forward_macs(shape, elastic.structures[scale], 4, 12) - projection)
    head = 2 * 4 * shape.head_macs_per_row
    assert (counted[40] - head) / (counted[100] - head) == pytest.approx(0.4, abs=0.03)
    assert counted[100] > counted[60] > counted[40] > counted[30] > counted[20]


def test_dropout_is_switched_everywhere_and_off_in_evaluation(model, batch):
    elastic = elastic_of(model)
    elastic.train()
    drawn = [elastic.run(60, elastic.embed(batch), batch).logits for _ in range(2)]
    assert max_difference(*drawn) > 1e-3
    elastic.train(False)
    fixed = [elastic.run(60, elastic.embed(batch), batch).logits for _ in range(2)]
    assert max_difference(*fixed) == 0.0


def test_padding_never_changes_an_output(model):
    elastic = elastic_of(model)
    rows = random_rows(5)
    short, long = batch_of(rows, model), batch_of(rows, model, pad_to=128)
    real = short.mask.bool()
    for scale in elastic.structures:
        first = elastic.run(scale, elastic.embed(short), short, LAST)
        second = elastic.run(scale, elastic.embed(long), long, LAST)
        assert max_difference(first.logits, second.logits) < TOLERANCE
        assert max_difference(first.hidden[LAYERS][real], second.hidden[LAYERS][:, : short.length][real]) < TOLERANCE


def test_embeddings_are_those_of_the_model(model, batch):
    elastic = elastic_of(model)
    whole = run_model(model, batch).logits
    assert max_difference(elastic.run(100, elastic.embed(batch), batch).logits, whole) < TOLERANCE
    shifted = batch_of(random_rows(5, seed=4), model)
    assert shifted.input_ids.shape != batch.input_ids.shape or not torch.equal(shifted.input_ids, batch.input_ids)
    assert pad_id(model) == model.config.pad_token_id
