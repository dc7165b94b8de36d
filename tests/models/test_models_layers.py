"""Models of fewer layers: what they compute, what they weigh, and how they are found again."""

import json

import pytest
import torch
from storage_kit import LOCAL
from tiny_models import (
    HEADS,
    NEURONS,
    ODD,
    SPARSE,
    batch_of,
    max_difference,
    random_rows,
    rankings,
    structures,
    tiny_model,
)
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification

from minidisc_ray.core.flops import encoder_parameters, forward_macs, kept_share, total_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.families import encoder_layers, shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, reorder_, take_layers

TOLERANCE = 1e-6
SOURCES = {"dense": None, "plain": structures((60,))[60], "sparse": SPARSE, "odd": ODD}
TAKEN = [(0,), (2,), (0, 2), (1, 2), (0, 1, 2)]


def source_of(family, structure):
    model = tiny_model(family)
    if structure is None:
        return model
    reorder_(model, *rankings())
    return cut(model, structure)


def logits_without(model, skipped, batch):
    """The slow reference: the model itself, with each skipped layer giving back what it was given."""

    def give_back(layer, arguments, keywords, output):
        given = arguments[0] if arguments else keywords["hidden_states"]
        return (given, *output[1:]) if isinstance(output, tuple) else given

    handles = [encoder_layers(model)[i].register_forward_hook(give_back, with_kwargs=True) for i in skipped]
    logits = run_model(model, batch).logits
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("kept", TAKEN)
@pytest.mark.parametrize("source", SOURCES)
def test_a_model_of_some_layers_computes_what_the_whole_does_without_the_others(family, source, kept):
    model = source_of(family, SOURCES[source])
    batch = batch_of(random_rows(5), model)
    smaller = take_layers(model, kept)
    whole = structure_of(model.config)
    assert len(encoder_layers(smaller)) == smaller.config.num_hidden_layers == len(kept)
    assert structure_of(smaller.config) == Structure(
        whole.scale_percent, tuple(whole.heads[i] for i in kept), tuple(whole.neurons[i] for i in kept)
    )
    skipped = sorted({0, 1, 2} - set(kept))
    expected = logits_without(model, skipped, batch)
    assert max_difference(run_model(smaller, batch).logits, expected) < TOLERANCE
    if skipped:
        assert max_difference(run_model(model, batch).logits, expected) > 1e-3


def test_the_source_is_neither_changed_nor_shared(model):
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    smaller = take_layers(model, (0, 2))
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.add_(1.0)
    assert model.config.num_hidden_layers == 3
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("kept", [(), (2, 0), (0, 0), (0, 3), (-1,)])
def test_layers_are_those_there_in_order(model, kept):
    with pytest.raises(AssertionError, match="layers"):
        take_layers(model, kept)


def test_width_is_cut_after_depth(family):
    dense = tiny_model(family)
    reorder_(dense, *rankings())
    structure = Structure(25, (2, 0), (16, 8))
    batch = batch_of(random_rows(5), dense)
    narrow_first = take_layers(cut(dense, Structure(40, (2, 1, 0), (16, 3, 8))), (0, 2))
    shallow_first = cut(take_layers(dense, (0, 2)), structure)
    assert structure_of(shallow_first.config) == structure
    assert max_difference(run_model(shallow_first, batch).logits, run_model(narrow_first, batch).logits) < TOLERANCE


@pytest.mark.parametrize("source", SOURCES)
def test_a_saved_model_of_some_layers_loads_as_it_was(family, source, tmp_path):
    student = take_layers(source_of(family, SOURCES[source]), (0, 2)).eval()
    batch = batch_of(random_rows(5), student)
    expected = run_model(student, batch).logits
    save_model(LOCAL, student, builtin_tokenizer(), tmp_path / "student")
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["n_layers" if family == "distilbert" else "num_hidden_layers"] == 2
    assert len(config["minidisc_layers"]) == 2
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert type(loaded) is type(student)
    assert structure_of(loaded.config) == structure_of(student.config)
    assert max_difference(run_model(loaded.eval(), batch).logits, expected) < TOLERANCE
    loaded.save_pretrained(tmp_path / "again")
    assert max_difference(run_model(load_model(tmp_path / "again"), batch).logits, expected) < TOLERANCE


@pytest.mark.parametrize("source", SOURCES)
def test_the_closed_form_counts_a_model_of_some_layers_from_the_shape_of_the_whole(family, source):
    model = source_of(family, SOURCES[source])
    student = take_layers(model, (0, 2))
    student.set_attn_implementation("eager")
    structure, batch = structure_of(student.config), batch_of(random_rows(4), student)
    for shape in (shape_of(model), shape_of(student)):
        assert total_parameters(shape, structure) == sum(parameter.numel() for parameter in student.parameters())
        in_layers = [parameter for layer in encoder_layers(student) for parameter in layer.parameters()]
        assert encoder_parameters(shape, structure) == sum(parameter.numel() for parameter in in_layers)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run_model(student, batch)
        assert counter.get_total_flops() == 2 * forward_macs(shape, structure, batch.rows, batch.length)
    share = kept_share(shape_of(model), structure)
    assert share == {"heads": sum(structure.heads) / (3 * HEADS), "neurons": sum(structure.neurons) / (3 * NEURONS)}


def test_a_model_of_some_layers_trains_as_any_other(family):
    student = take_layers(tiny_model(family), (0, 2)).requires_grad_(True)
    structure = structure_of(student.config)
    elastic = ElasticModel(student, {50: structure})
    batch = batch_of(random_rows(5), student)
    logits = elastic.run(50, elastic.embed(batch), batch).logits
    assert max_difference(logits, run_model(cut(elastic.shared, elastic.structures[50]), batch).logits) < TOLERANCE
    logits.square().sum().backward()
    assert elastic.gradients.buffer.abs().sum() > 0
