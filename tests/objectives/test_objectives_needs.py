"""What objectives ask for, who cannot give it, and what is kept of a forward pass."""

from dataclasses import replace

import pytest
import torch
from objective_kit import OBJECTIVES, headless_model, objective_between, pairing, slim_model
from tiny_models import LAYERS, REGRESSION, TASK, batch_of, pair_of, random_rows, tiny_model, totals_of

from minidisc_ray.configs import objective as configs
from minidisc_ray.configs.base import UserError
from minidisc_ray.core.trace import NOTHING, Wanted
from minidisc_ray.models.forward import run_model
from minidisc_ray.objectives import Needs, build_objective


def needs(config, student=None):
    return objective_between(config, tiny_model("bert", seed=2), student or tiny_model("bert", seed=1)).needs()


def test_labels_never_run_a_teacher():
    found = needs(configs.LabelsConfig())
    assert (found.teacher, found.labels) == (NOTHING, True)
    assert not found.teacher


def test_weights_of_zero_ask_for_nothing():
    assert needs(configs.LTSDConfig(hidden_weight=0)).teacher == Wanted(logits=True)
    assert needs(configs.LTSDConfig(logits_weight=0)).teacher == Wanted(hidden=frozenset({LAYERS}))
    assert needs(configs.LTSDConfig(hidden_layers="every_second")).student.hidden == {0, 2}
    assert not needs(configs.KDConfig(logits_weight=0)).teacher
    assert not needs(configs.KDConfig(labels_weight=0)).labels
    assert not needs(configs.PKDConfig(hidden_weight=0)).teacher.hidden
    assert not needs(configs.PKDConfig(logits_weight=0, labels_weight=0)).teacher.logits
    assert not needs(configs.CKDConfig(words_weight=0, layers_weight=0)).teacher.hidden
    assert 0 not in needs(configs.CKDConfig(layers_weight=0)).teacher.hidden
    tiny = needs(configs.TinyBERTConfig(attention_weight=0, hidden_weight=0)).teacher
    assert (tiny.hidden, tiny.queries, tiny.logits) == (frozenset({0}), frozenset(), True)
    assert not needs(configs.TinyBERTConfig(feature_fraction=1)).teacher.logits
    assert needs(configs.TinyBERTConfig(feature_fraction=0)).teacher == Wanted(logits=True)
    only_logits = {"embeddings_weight": 0, "attention_weight": 0, "hidden_weight": 0}
    assert needs(configs.TinyBERTConfig(feature_fraction=1, **only_logits)).teacher == Wanted(logits=True)
    assert not needs(configs.TinyBERTConfig(feature_fraction=0, logits_weight=0)).teacher.logits
    assert needs(configs.DistillerConfig(beta1=0, beta2=0)).teacher == Wanted(hidden=frozenset({1, 2, 3}))
    assert not needs(configs.DistillerConfig(intermediate_weight=0)).teacher.hidden


@pytest.mark.parametrize("weights", [{}, {"words_weight": 0}, {"layers_weight": 0}, {"logits_weight": 0}])
def test_a_weight_of_zero_leaves_its_term_out(weights):
    pair = pairing(configs.CKDConfig(**weights))
    terms = pair.terms(batch_of(random_rows(4), pair.student))
    assert set(terms) == {"logits", "words", "layers"} - {key.removesuffix("_weight") for key in weights}


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"feature_fraction": 0.0}, [{"logits"}] * 3),
        ({"feature_fraction": 1.0}, [{"embeddings", "attention", "hidden"}] * 3),
        ({"feature_fraction": 0.0, "logits_weight": 0}, [{"embeddings", "attention", "hidden"}] * 3),
        ({"embeddings_weight": 0, "attention_weight": 0, "hidden_weight": 0}, [{"logits"}] * 3),
        ({"hidden_weight": 0, "attention_weight": 0}, [{"embeddings"}, {"logits"}, {"logits"}]),
    ],
)
def test_a_phase_of_tinybert_without_terms_leaves_all_steps_to_the_other(settings, seen):
    pair = pairing(configs.TinyBERTConfig(**settings))
    batch = batch_of(random_rows(3), pair.student)
    found = []
    for fraction in (0.0, 0.6, 1.0):
        pair.objective.set_progress(fraction)
        found.append(set(pair.terms(batch)))
    assert found == seen


def test_a_teachers_layer_is_counted_from_either_end():
    for number, layer in ((-1, 3), (-3, 1), (2, 2)):
        config = configs.MiniLMv2Config(num_relation_heads=4, teacher_layer=number)
        assert needs(config).teacher.queries == frozenset({layer})
    assert needs(configs.LTADConfig()).student == Wanted(
        queries=frozenset({3}), keys=frozenset({3}), values=frozenset({3})
    )


def test_pruned_heads_get_a_further_module_that_reads_the_last_hidden_states():
    for config in (configs.LTADConfig(), configs.MiniLMConfig(), configs.DirectMiniLMConfig()):
        assert needs(config, headless_model()).student == Wanted(hidden=frozenset({3}))
    always = configs.LTADConfig(extra_attention="always")
    assert needs(always).student == Wanted(hidden=frozenset({3}))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_trace_holds_what_is_asked_for_and_nothing_else(name):
    takes_slim = name not in ("hs-cosine", "ltsd-layers")
    pair = pairing(OBJECTIVES[name], student=slim_model() if takes_slim else None)
    batch = batch_of(random_rows(3), pair.student)
    for model, wanted in (
        (pair.teacher, pair.objective.needs().teacher),
        (pair.student, pair.objective.needs().student),
    ):
        trace = run_model(model, batch, wanted)
        for part in ("hidden", "queries", "keys", "values"):
            assert set(getattr(trace, part)) == getattr(wanted, part)
    assert all(not module._forward_hooks for module in pair.student.modules())


def test_needs_of_several_add_up():
    one = Needs(Wanted(logits=True), Wanted(hidden=frozenset({1})), rows=3)
    other = Needs(Wanted(hidden=frozenset({2})), Wanted(hidden=frozenset({3})), labels=True)
    assert one | other == Needs(Wanted(True, frozenset({2})), Wanted(hidden=frozenset({1, 3})), labels=True, rows=3)


def refusal(config, teacher=None, student=None, task=TASK):
    teacher, student = teacher or tiny_model("bert", task, seed=2), student or tiny_model("bert", task, seed=1)
    with pytest.raises(UserError) as caught:
        objective_between(config, teacher, student, task)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals_name_the_model_or_task_and_what_is_needed():
    for mapping in ("last", "skip", "uniform"):
        text = refusal(configs.PKDConfig(mapping=mapping), teacher=slim_model())
        assert mapping in text
        assert "the student has 3 layers, the teacher only 2" in text
        assert "the tiny student" in text
        assert "the tiny teacher" in text
    text = refusal(configs.HSConfig(linear_map=False), student=slim_model())
    assert "the tiny student) is 16 wide and the teacher (the tiny teacher) 32" in text
    text = refusal(configs.LTADConfig(num_relation_heads=32), student=slim_model())
    assert "32 does not divide 16, the width of the queries of the tiny student" in text
    text = refusal(configs.LTADConfig(extra_attention="never"), student=headless_model())
    assert "extra_attention: never" in text
    assert "the tiny student" in text
    text = refusal(configs.MiniLMConfig(), teacher=headless_model())
    assert "heads of the teacher (the tiny teacher) are pruned" in text
    for layer in (0, 4, -4):
        text = refusal(configs.MiniLMv2Config(num_relation_heads=4, teacher_layer=layer))
        assert f"objective.teacher_layer: {layer} is no layer of the teacher (the tiny teacher)" in text
    text = refusal(configs.DistillerConfig(intermediate={"kind": "mse"}), task=REGRESSION)
    assert "objective.prediction: ce" in text
    assert "tiny is a regression" in text
    assert refusal(configs.SumConfig(parts=({"objective": configs.HSConfig(linear_map=False)},)), student=slim_model())


def test_a_teacher_that_was_a_student_is_spoken_for_by_its_own_attention_module():
    """T -> A -> S: the module trained with A gives A's relations when A teaches, and stays as it is."""
    config = configs.LTADConfig(num_relation_heads=16)
    assistant, student = headless_model(), headless_model()
    first = objective_between(config, tiny_model("bert", seed=2), assistant, seed=1)
    parts = {name: part.detach().clone() for name, part in first.named_parameters() if part.requires_grad}
    assert parts
    pair = pair_of(assistant, student)
    second = build_objective(config, replace(pair, teacher=replace(pair.teacher, was_distilled=True)))
    second.follow(parts)
    frozen = {name: part for name, part in second.named_parameters() if not part.requires_grad}
    trained = {name: part for name, part in second.named_parameters() if part.requires_grad}
    assert len(frozen) == len(trained) == len(parts) == 6
    for name, part in parts.items():
        assert torch.equal(trained[name], part)
        assert torch.equal(frozen[name.replace("student_source", "teacher_source")], part)
    batch = batch_of(random_rows(4), student)
    with torch.no_grad():
        trace = run_model(assistant, batch, second.needs().teacher)
        value = sum(second(trace, trace, batch, totals_of(batch)).values())
    assert float(value) == pytest.approx(0.0, abs=1e-5), "student and module start where the assistant ended"


def test_where_an_objective_settles():
    def final_phase_start(config):
        return objective_between(config, tiny_model("bert", seed=2), tiny_model("bert", seed=1)).final_phase_start()

    assert final_phase_start(configs.LTSDConfig()) == 0.0
    assert final_phase_start(configs.TinyBERTConfig(feature_fraction=0.4)) == 0.4
    assert final_phase_start(configs.TinyBERTConfig(feature_fraction=0.4, logits_weight=0)) == 0.0
    tiny = {"objective": configs.TinyBERTConfig(feature_fraction=0.5)}
    other = {"objective": configs.KDConfig()}
    assert final_phase_start(configs.SumConfig(parts=(tiny, other))) == 0.5
    assert final_phase_start(configs.SequenceConfig(phases=(other, tiny))) == 0.75
    assert final_phase_start(configs.SequenceConfig(phases=(tiny, other, other))) == pytest.approx(2 / 3)


def test_configs_refuse_what_matches_nothing():
    for config_class in (configs.LTSDConfig, configs.KDConfig, configs.TinyBERTConfig, configs.CKDConfig):
        keys = [name for name in config_class.model_fields if name.endswith("_weight")]
        with pytest.raises(ValueError, match="at least one must be positive"):
            config_class(**dict.fromkeys(keys, 0))
    with pytest.raises(ValueError, match="at least one must be positive"):
        configs.DistillerConfig(intermediate_weight=0, beta1=0, gamma1=0)
