"""What is kept of a teacher: half as large, near enough for every objective, and within the memory that is free."""

import pytest
import torch
from objective_kit import OBJECTIVES
from tiny_models import LAST, TASK, batch_of, pad_id, pair_of, random_rows, structures, tiny_model, totals_of
from training_kit import learner_of, train_rows, training

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.core.trace import Trace, Wanted
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.objectives import build_objective
from minidisc_ray.training import teacher_outputs
from minidisc_ray.training.teacher_outputs import TeacherOutputs, cache_limit_bytes, cached_bytes, free_memory_bytes
from minidisc_ray.training.workers import Workers


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float16_moves_no_objective_by_a_thousandth(name):
    teacher, student = tiny_model("bert", seed=2), cut(tiny_model("bert", seed=1), structures((100,))[100]).eval()
    torch.manual_seed(0)
    objective = build_objective(OBJECTIVES[name], pair_of(teacher, student))
    needs = objective.needs()
    rows = random_rows(24)
    batch = batch_of(rows, teacher)
    outputs = TeacherOutputs(teacher, rows, needs.teacher or LAST, pad_id(teacher), Workers(), "float32", 2**30)
    assert outputs.is_cached
    with torch.no_grad():
        own = run_model(student, batch, needs.student)
        exact = run_model(teacher, batch, needs.teacher or LAST)
        losses = []
        for trace in (exact, outputs.trace(batch)):
            torch.manual_seed(0)  # some draw negatives
            losses.append(float(sum(objective(own, trace, batch, totals_of(batch)).values())))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_hidden_states_take_two_bytes_and_logits_four():
    teacher, rows = tiny_model("bert"), random_rows(10)
    wanted = Wanted(logits=True, hidden=frozenset({1, 3}), queries=frozenset({2}))
    outputs = TeacherOutputs(teacher, rows, wanted, pad_id(teacher), Workers(), "float32", 2**30)
    tables = outputs._tables.values()
    assert {table.dtype for table in tables} == {torch.float16}
    assert outputs._logits.dtype == torch.float32
    held = sum(table.nbytes for table in (*tables, outputs._logits))
    assert held == cached_bytes(rows, TASK.num_labels, wanted, shape_of(teacher), structure_of(teacher.config))


def test_values_beyond_float16_stay_finite():
    values = torch.tensor([1e6, -1e6, 3.0, 1e-9])
    assert teacher_outputs._rounded(values).tolist() == [65504.0, -65504.0, 3.0, 0.0]


def test_what_is_computed_in_every_step_is_rounded_alike():
    """Whether memory was free changes no number: a run that goes on elsewhere is the same run."""
    cached, computed = learner_of(training()), learner_of(training(), cache_bytes=0)
    assert (cached.teacher.is_cached, computed.teacher.is_cached) == (True, False)
    rows = train_rows()
    batch = batch_of(rows, cached.elastic.shared)
    traces: list[Trace] = [learner.teacher.trace(batch) for learner in (cached, computed)]
    real = batch.mask.bool()
    one, other = (trace.hidden[2][real] for trace in traces)
    assert torch.equal(other, other.half().float())
    assert (one == other).float().mean() > 0.99


class TestLimit:
    def test_as_given(self):
        assert cache_limit_bytes(ComputeConfig(teacher_cache_gib=0.5), 4) == 2**29

    @pytest.mark.parametrize("processes", [1, 4])
    def test_by_default_a_share_of_what_is_free(self, monkeypatch, processes):
        monkeypatch.setattr(teacher_outputs, "free_memory_bytes", lambda: 64 * 2**30)
        assert cache_limit_bytes(ComputeConfig(), processes) == 16 * 2**30 // processes

    def test_bert_base_on_sst2_passes(self, monkeypatch):
        """Its last hidden states on 67,349 rows of some 13 tokens: more than the 2 GiB of before."""
        monkeypatch.setattr(teacher_outputs, "free_memory_bytes", lambda: 12 * 2**30)
        tokens = 67_349 * 13.3
        assert 2 * tokens * 768 < cache_limit_bytes(ComputeConfig())
        assert 4 * tokens * 768 > 2 * 2**30

    def test_free_memory_is_this_machines(self):
        assert 2**26 < free_memory_bytes() < 2**45

    def test_a_containers_limit_counts(self, monkeypatch, tmp_path):
        limit, usage = tmp_path / "max", tmp_path / "current"
        monkeypatch.setattr("minidisc_ray.training.teacher_outputs._CGROUPS", ((limit, usage),))
        limit.write_text("1000000\n")
        usage.write_text("400000\n")
        assert free_memory_bytes() == 600_000
        limit.write_text("max\n")
        assert free_memory_bytes() > 2**26
