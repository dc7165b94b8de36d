"""What inference costs: counts against the parameters that are there, clocks against each other."""

import io
import json
import shutil

import pandas as pd
import pytest
import torch
from pipeline_kit import prepared_run
from tiny_models import ODD, tiny_model

from minidisc_ray import api
from minidisc_ray.configs.base import UserError
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.inference.profile import ProfiledModel, models_in, profile_models
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.families import family_of, linear_at, shape_of
from minidisc_ray.models.inference_cost import (
    WARM_UP_ROUNDS,
    counted_macs,
    parameter_counts,
    random_inputs,
    thread_count,
    time_in_turns,
)
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.reports.run.profile import profile_frame, render_profile
from minidisc_ray.run_files.clean import clean
from minidisc_ray.run_files.result import load_result

REPEATS, LENGTH = 5, 16


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def minidisc(storage):
    prepared = prepared_run(storage, "minidisc")
    run_in_process(prepared)
    return prepared


@pytest.fixture(scope="module")
def frame(minidisc):
    return api.profile(minidisc.run_folder, repeats=REPEATS, length=LENGTH)


@pytest.fixture(scope="module")
def on_cpu(frame):
    return frame[frame.device == "cpu"].set_index("model")


def test_the_rows_are_the_chain_with_the_sizes_of_the_result(minidisc, on_cpu):
    result = load_result(minidisc.run_folder)
    records = {"teacher": result.teacher, "assistant": result.assistants[0], "student": result.student}
    assert list(on_cpu.index) == list(records)
    for name, record in records.items():
        row = on_cpu.loc[name]
        assert (row.scale_percent, row.encoder_parameters, row.total_parameters) == (
            record.scale_percent,
            record.encoder_parameters,
            record.total_parameters,
        )
    assert on_cpu.encoder_parameters.is_monotonic_decreasing
    assert on_cpu.embedding_parameters.nunique() == on_cpu.other_parameters.nunique() == 1


def test_counts_are_sums_over_parameters(minidisc, on_cpu):
    folders = {
        "teacher": minidisc.teacher_folder / "model",
        "student": minidisc.run_folder / "student",
    }
    for name, folder in folders.items():
        sizes = {"encoder": 0, "embedding": 0, "other": 0}
        for path, parameter in load_model(folder).named_parameters():
            in_encoder, in_embedding = path.startswith("bert.encoder."), path.startswith("bert.embeddings.")
            sizes["encoder" if in_encoder else "embedding" if in_embedding else "other"] += parameter.numel()
        for part, size in sizes.items():
            assert on_cpu.loc[name, f"{part}_parameters"] == size, (name, part)
        assert on_cpu.loc[name, "total_parameters"] == sum(sizes.values())


def test_parts_of_every_family(model):
    heads = [linear_at(model, path) for path in family_of(model.config.model_type).head_linears]
    for sized in (model, cut(model, ODD)):
        counts = parameter_counts(sized)
        assert counts.other == sum(p.numel() for head in heads for p in head.parameters())
        assert counts.embedding + counts.other == shape_of(sized).other_parameters
        assert counts.total == sum(p.numel() for p in sized.parameters())


@pytest.mark.parametrize("rows", [1, 3])
def test_the_closed_form_is_what_the_counter_counts_with_fused_attention_too(model, rows):
    for sized in (model, cut(model, ODD)):
        assert sized.config._attn_implementation == "sdpa"
        counted = counted_macs(sized, random_inputs(rows, 19, 80))
        assert counted == forward_macs(shape_of(sized), structure_of(sized.config), rows, 19)


def test_the_encoders_part_of_the_macs(minidisc, on_cpu):
    assert (on_cpu.closed_form_macs == on_cpu.counted_macs).all()
    # Pooler (32 x 32) and classifier (32 x 2) take one vector a row.
    assert set(on_cpu.closed_form_macs - on_cpu.closed_form_encoder_macs) == {32 * 32 + 32 * 2}
    assert on_cpu.closed_form_encoder_macs.is_monotonic_decreasing


def test_more_layers_cost_more():
    models = [ProfiledModel("teacher", tiny_model("bert", layers=12)), ProfiledModel("student", tiny_model("bert"))]
    deep, shallow = profile_models("tiny", models, REPEATS, LENGTH)[:2]
    assert deep.counted_macs > 3 * shallow.counted_macs
    assert deep.encoder_parameters == 4 * shallow.encoder_parameters
    assert deep.latency_ms_1_row > shallow.latency_ms_1_row
    assert deep.latency_ms_32_rows > shallow.latency_ms_32_rows
    assert deep.tokens_per_ms_32_rows < shallow.tokens_per_ms_32_rows
    assert shallow.speedup_32_rows == pytest.approx(deep.latency_ms_32_rows / shallow.latency_ms_32_rows)


def test_spreads_are_ordered_and_throughput_is_of_the_median(on_cpu):
    for batch in ("1_row", "32_rows"):
        median, p10, p90 = (on_cpu[f"latency_ms_{batch}{end}"] for end in ("", "_p10", "_p90"))
        assert (p10 > 0).all()
        assert (p10 <= median).all()
        assert (median <= p90).all()
        assert on_cpu.loc["teacher", f"speedup_{batch}"] == 1
    assert (on_cpu.tokens_per_ms_32_rows * on_cpu.latency_ms_32_rows).tolist() == pytest.approx([32 * LENGTH] * 3)
    assert set(on_cpu.status) == {"measured"}
    assert set(on_cpu.repeats) == {REPEATS}


def test_models_take_turns_in_inference_mode():
    models, seen = [tiny_model("bert", layers=1), tiny_model("bert", layers=2)], []
    for place, model in enumerate(models):
        model.register_forward_pre_hook(
            lambda module, arguments, keywords, place=place: seen.append(
                (place, keywords["input_ids"].shape[0], torch.is_inference_mode_enabled() and not module.training)
            ),
            with_kwargs=True,
        )
    time_in_turns(models, random_inputs(3, 8, 80), repeats=2)
    assert seen == [(0, 1, True), (0, 3, True), (1, 1, True), (1, 3, True)] * (WARM_UP_ROUNDS + 2)


def test_inputs_are_seeded_tokens_of_the_vocabulary_under_a_full_mask():
    inputs = random_inputs(32, 128, 50)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert ids.dtype == mask.dtype == torch.int64
    assert set(ids.unique().tolist()) == set(range(50))
    assert mask.min() == 1
    assert torch.equal(ids, random_inputs(32, 128, 50)["input_ids"])


def test_threads_are_put_back(minidisc):
    before = torch.get_num_threads()
    with thread_count(before + 1):
        frame = api.profile(minidisc.run_folder / "student", threads=1, repeats=1, length=4)
        assert set(frame.threads) == {1}
        assert torch.get_num_threads() == before + 1
        frame = api.profile(minidisc.run_folder / "student", repeats=1, length=4)
        assert set(frame.threads) == {before + 1}
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), thread_count(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_csv_and_json_give_everything_back(frame):
    measured = frame[frame.device == "cpu"]
    for text, read, tolerance in (
        (render_profile(frame, "csv"), pd.read_csv, 1e-14),
        (render_profile(frame, "json"), lambda stream: pd.DataFrame(json.load(stream)), 0.0),
    ):
        back = read(io.StringIO(text))
        assert len(back) == len(frame)
        back = back[back.device == "cpu"].reset_index(drop=True)
        pd.testing.assert_frame_equal(back, measured, check_dtype=False, rtol=tolerance, atol=0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_block_says_so(frame):
    on_gpu = frame[frame.device == "cuda"]
    assert list(on_gpu.status) == ["not measured: no GPU"] * 3
    assert on_gpu[["latency_ms_1_row", "tokens_per_ms_32_rows", "speedup_32_rows"]].isna().all(axis=None)
    for format_ in ("table", "md"):
        assert "cuda · not measured: no GPU" in render_profile(frame, format_)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_has_rows_of_its_own(frame):
    on_gpu = frame[frame.device == "cuda"]
    assert set(on_gpu.status) == {"measured"}
    assert (on_gpu.latency_ms_1_row > 0).all()


def test_the_table_says_how_it_was_measured(frame):
    table = render_profile(frame, "table", width=200)
    for word in (
        "Teacher",
        "Assistant (",
        "Student (10%)",
        "MACs",
        "at 16",
        "tokens/ms",
        f"median of {REPEATS} repeats",
    ):
        assert word in table, word
    assert f"torch {torch.__version__}, float32, sdpa attention, {torch.get_num_threads()} CPU thread" in table
    assert "They agree within 0.1%." in table
    assert "Warning" not in table
    markdown = render_profile(frame, "md")
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    narrow = render_profile(frame, "table", width=100)
    assert "Left out at this width: " in narrow
    wrong = frame.assign(counted_macs=frame.counted_macs * 2)
    assert "Warning: closed form and counter differ by up to 100.0%." in render_profile(wrong, "table")


def test_models_that_stand_alone(minidisc):
    student = api.profile(minidisc.run_folder / "student", repeats=1, length=4)
    assert list(student[student.device == "cpu"].model) == ["student"]
    assert student.speedup_1_row.isna().all()
    assert "Speed-up" not in render_profile(student, "md").split("\n- ")[0]
    teacher = models_in(minidisc.teacher_folder / "model")
    assert [entry.name for entry in teacher] == ["model"]


@pytest.mark.parametrize(
    ("kind", "overrides"), [("maxidisc", ()), ("sparse_teacher", ("schedule.kind=sparse_teacher",))]
)
def test_the_model_between_is_the_one_that_made_the_student(storage, kind, overrides):
    prepared = prepared_run(storage, "maxidisc" if kind == "maxidisc" else "conventional", overrides)
    run_in_process(prepared)
    result = load_result(prepared.run_folder)
    names = {"maxidisc": "assistant", "sparse_teacher": "sparse teacher"}
    teacher, between, student = models_in(prepared.run_folder)
    assert [entry.name for entry in (teacher, between, student)] == ["teacher", names[kind], "student"]
    structure = structure_of(between.model.config)
    assert (structure.scale_percent, structure.heads, structure.neurons) == (
        result.assistants[0].scale_percent,
        result.assistants[0].heads,
        result.assistants[0].neurons,
    )


def test_a_runs_list_of_shared_folders_leads_nowhere_else(minidisc, tmp_path):
    folder = shutil.copytree(minidisc.run_folder, tmp_path / "run")
    (folder / "shared.json").write_text(json.dumps(["teacher-../../../elsewhere", "teacher-/etc"]))
    with pytest.raises(UserError, match="does not say which teacher"):
        models_in(folder)


def test_after_clean_teacher_and_student_are_left(minidisc, tmp_path):
    shutil.copytree(minidisc.storage.root, tmp_path / "copy")
    clean(tmp_path / "copy")
    folder = tmp_path / "copy" / minidisc.name
    assert [entry.name for entry in models_in(folder)] == ["teacher", "student"]
    rows = profile_models("cleaned", models_in(folder), 1, 4)
    assert "minidisc clean has freed it" in render_profile(profile_frame(rows), "table")
    shutil.rmtree(tmp_path / "copy" / "_shared")
    with pytest.raises(UserError, match="its teacher is gone"):
        models_in(folder)


def test_a_damaged_config_of_one_stage_costs_no_other_row(minidisc, tmp_path):
    shutil.copytree(minidisc.storage.root, tmp_path / "storage")
    folder = tmp_path / "storage" / minidisc.name
    names = [found.name for found in models_in(folder)]
    for config in folder.glob("stages/*/model/config.json"):
        config.write_text("{")
    assert [found.name for found in models_in(folder)] == [name for name in names if not name.startswith("assistant")]
