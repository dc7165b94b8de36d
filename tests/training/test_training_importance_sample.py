"""Importance without all rows: from a sample that grows until two halves of it agree, or from weights alone."""

import pytest
import torch
from pipeline_kit import prepared_run, random_teacher, run
from storage_kit import LOCAL
from tiny_models import tiny_model
from torch import Tensor

from minidisc_ray.models.families import FAMILIES, encoder_layers, head_size, linear_at
from minidisc_ray.run_files.records import read_record
from minidisc_ray.training.importance import STABLE_AGREEMENT, Importance, measure_until_stable, weight_magnitudes


def measured(values: Tensor, seen: list[Tensor]):
    """Importance of two units in a layer is the mean of the rows' values; remembers which rows were measured."""

    def measure(rows: Tensor) -> Importance:
        seen.append(rows)
        means = values[rows].mean(dim=0)
        return Importance((means,), (means,), float(len(rows)))

    return measure


@pytest.mark.parametrize(("num_rows", "settles_at", "expected"), [(1000, 0, 128), (1000, 300, 512), (200, 300, 200)])
def test_rows_double_until_the_halves_agree_or_there_are_no_more(num_rows, settles_at, expected):
    seen: list[Tensor] = []
    values = torch.rand(num_rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def agreement_of(first: Importance, second: Importance) -> float:
        return STABLE_AGREEMENT if sum(map(len, seen)) > settles_at else 0.0

    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(1))
    found = measure_until_stable(measured(values, seen), order, agreement_of)
    assert found.num_rows == expected
    rows = torch.cat(seen)
    assert sorted(rows.tolist()) == sorted(order[:expected].tolist()), "every row of the sample, once"
    assert found.importance.heads[0].tolist() == pytest.approx(values[rows].mean(dim=0).tolist())
    assert found.importance.flops == expected
    assert all((part[1:] > part[:-1]).all() for part in seen)


def test_an_odd_number_of_rows_counts_each_once():
    seen: list[Tensor] = []
    values = torch.arange(258, dtype=torch.float64).reshape(129, 2)
    found = measure_until_stable(measured(values, seen), torch.arange(129), lambda first, second: 0.0)
    assert found.num_rows == 129
    assert found.importance.neurons[0].tolist() == pytest.approx(values.mean(dim=0).tolist())


def test_a_run_says_how_many_rows_it_took_and_shares_them_by_what_is_kept(tmp_path):
    teacher = random_teacher(tmp_path / "teacher")
    auto = (*teacher, "pruning.importance_rows=auto", "data.train_rows=400")
    prepared = prepared_run(tmp_path / "runs", "conventional", auto)
    result = run(tmp_path / "runs", "conventional", auto)
    record = read_record(LOCAL, prepared.importance_folder)
    assert record is not None
    assert record.num_rows in (128, 256, len(prepared.train))
    assert 0.0 <= record.agreement <= 1.0
    assert record.agreement >= STABLE_AGREEMENT or record.num_rows == len(prepared.train)
    spent = next(stage for stage in result.cost.stages if stage.stage == "importance").training_flops
    assert result.closed_form_training_flops == pytest.approx(
        sum(stage.training_flops for stage in result.cost.stages if stage.stage != "teacher"), rel=0.03
    )
    assert spent > 0
    other = prepared_run(tmp_path / "runs", "conventional", (*auto, "student.scale_percent=20"))
    local = prepared_run(
        tmp_path / "runs", "conventional", (*auto, "pruning.ranking=local", "student.scale_percent=50")
    )
    every = prepared_run(tmp_path / "runs", "conventional", (*teacher, "data.train_rows=400"))
    assert len({run.importance_key for run in (prepared, other, local, every)}) == 4
    assert every.teacher_key == prepared.teacher_key


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_magnitude_is_the_sum_of_a_units_own_absolute_weights(family):
    model = tiny_model(family)
    found = weight_magnitudes(model)
    layer, names = encoder_layers(model)[1], FAMILIES[family]
    width = head_size(model)
    own = slice(width, 2 * width)  # the second head
    attention = layer.get_submodule(names.attention)
    expected = sum(linear_at(attention, name).weight[own].abs().sum().item() for name in names.inputs)
    expected += linear_at(layer, names.attention_output).weight[:, own].abs().sum().item()
    assert found.heads[1][1].item() == pytest.approx(expected)
    expected = linear_at(layer, names.up).weight[3].abs().sum() + linear_at(layer, names.down).weight[:, 3].abs().sum()
    assert found.neurons[1][3].item() == pytest.approx(expected.item())
    assert [len(heads) for heads in found.heads] == [model.config.num_attention_heads] * len(found.heads)


def test_a_run_whose_importance_is_of_weights_pays_nothing_for_it(tmp_path):
    teacher = random_teacher(tmp_path / "teacher")
    overrides = (*teacher, "pruning.importance=magnitude")
    result = run(tmp_path / "runs", "conventional", overrides)
    assert next(stage for stage in result.cost.stages if stage.stage == "importance").training_flops == 0
    measured = sum(stage.training_flops for stage in result.cost.stages if stage.stage != "teacher")
    assert result.closed_form_training_flops == pytest.approx(measured, rel=0.03)
    other = prepared_run(tmp_path / "runs", "conventional", teacher)
    assert prepared_run(tmp_path / "runs", "conventional", overrides).importance_key != other.importance_key
