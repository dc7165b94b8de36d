"""Graphs of every family beside PyTorch: headless layers, one class too many, a regression; then int8 and its gate."""

import json
import logging
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from export_kit import tiny_source
from tiny_models import FAMILY_NAMES, MULTILABEL, ODD, REGRESSION, SPARSE, TASK, student_of, tiny_model

from minidisc_ray.configs.base import UserError
from minidisc_ray.export.exporting import Request, compare_logits, export_model
from minidisc_ray.export.graphs import onnx_graph, without_empty_linears
from minidisc_ray.export.quantization import Drop, drop_of, int8_copies
from minidisc_ray.export.runtimes import logits_over, onnx_forward, torch_forward
from minidisc_ray.models.surgery import cut
from minidisc_ray.reports.run.export import export_sentences

ONNX = Request("onnx", int8=False, max_drop=0.5, repeats=0, num_threads=1)


def logits_of(source, forward):
    return logits_over(forward, source.model, source.validation, source.pad_token_id)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(student_of("bert", ODD), tmp_path_factory.mktemp("model") / "student")


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("exports") / "onnx"
    request = replace(ONNX, int8=True, max_drop=100.0, repeats=2)
    return export_model(source, request, output), output


def test_a_graph_answers_as_pytorch_on_every_row(source, exported):
    report, output = exported
    assert report.check.rows == report.check.equal_labels == 200
    assert report.check.largest_difference < 1e-4
    again = logits_of(source, onnx_forward(output / "onnx" / "model.onnx", 1))
    wanted = logits_of(source, torch_forward(source.model))
    assert np.abs(again["validation"] - wanted["validation"]).max() == pytest.approx(report.check.largest_difference)


def test_each_phase_is_a_line(source, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "minidisc_ray"):
        export_model(source, ONNX, tmp_path / "onnx")
    assert [record.getMessage() for record in caplog.records] == [
        "export: PyTorch's answers on 200 validation rows",
        "export: writing the ONNX graph",
        "export: checking the graph on every validation row",
    ]


def test_the_folder_is_what_transformers_js_looks_for(exported):
    _, output = exported
    assert {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()} == {
        "README.md",
        "config.json",
        "export.json",
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((output / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForSequenceClassification"])
    assert "auto_map" not in config
    assert config["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}
    graph = onnx.load(output / "onnx" / "model.onnx")
    shapes = {i.name: [d.dim_param for d in i.type.tensor_type.shape.dim] for i in graph.graph.input}
    assert set(shapes) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(shape == ["batch_size", "sequence_length"] for shape in shapes.values())
    assert not any(node.doc_string or node.metadata_props for node in graph.graph.node)


def by_loss(report):
    """The int8 copies in the table's order: the one that loses less comes first."""
    kept, other = f"int8 {report.int8.kind}", "static" if report.int8.kind == "dynamic" else "dynamic"
    drops = {kept: report.int8.drop, f"int8 {other}": report.int8.other_drop}
    return sorted(drops, key=lambda name: (drops[name].points, drops[name].bound))


def test_the_table_has_every_copy_or_says_why_not(exported):
    report, output = exported
    assert [(row.runtime, row.precision) for row in report.speed] == [
        *(("torch", precision) for precision in ("float32", "float16", "int8")),
        *(("ONNX Runtime", precision) for precision in ("float32", "float16", *by_loss(report))),
    ]
    for row in report.speed:
        if row.status == "measured":
            assert 0 < row.p50_ms_1_row <= row.p95_ms_1_row
            assert row.rows_per_second == pytest.approx(32_000 / row.p50_ms_32_rows)
    by_name = {(row.runtime, row.precision): row for row in report.speed}
    whole, small = by_name["ONNX Runtime", "float32"], by_name["ONNX Runtime", f"int8 {report.int8.kind}"]
    other = by_name["ONNX Runtime", "int8 static" if report.int8.kind == "dynamic" else "int8 dynamic"]
    # Both pass the gate, which allows all here, so the faster one is kept.
    assert small.p50_ms_1_row * small.p50_ms_32_rows <= other.p50_ms_1_row * other.p50_ms_32_rows
    assert whole.points == by_name["torch", "float32"].points
    assert small.bytes < whole.bytes
    assert json.loads((output / "export.json").read_text())["speed"][0]["points"] == whole.points


def test_products_over_no_units_are_left_out_of_the_graph(source):
    import copy

    whole = copy.deepcopy(source.model)
    smaller = without_empty_linears(whole)
    assert any(isinstance(m, torch.nn.Linear) and m.in_features == 0 for m in whole.modules())
    assert not any(isinstance(m, torch.nn.Linear) and m.in_features == 0 for m in smaller.modules())
    wanted, found = (logits_of(source, torch_forward(model)) for model in (whole, smaller))
    assert np.array_equal(wanted["validation"], found["validation"])


@pytest.fixture
def traced_before(exported, monkeypatch):
    """Spares a test the tracing."""
    path = exported[1] / "onnx" / "model.onnx"
    monkeypatch.setattr("minidisc_ray.export.exporting.onnx_graph", lambda _: onnx_ir.load(path))


@pytest.mark.usefixtures("traced_before")
def test_an_int8_copy_that_loses_too_much_is_refused_and_nothing_is_written(source, tmp_path, monkeypatch):
    lost = Drop(points=0.6, bound=0.9)
    monkeypatch.setattr("minidisc_ray.export.quantization.drop_of", lambda *_: lost)
    with pytest.raises(UserError, match=r"loses 0.60 points of accuracy on 200 validation rows.*--max-drop 0.5 allows"):
        export_model(source, replace(ONNX, int8=True), tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("traced_before")
def test_one_way_to_int8_is_enough_and_none_is_a_sentence(source, tmp_path, monkeypatch):
    request = replace(ONNX, int8=True, max_drop=100.0)
    whole = logits_over

    def not_finite_if(names):
        def answers(forward, model, splits, pad_token_id):
            found = whole(forward, model, splits, pad_token_id)
            return {name: array * np.nan for name, array in found.items()} if next(names) else found

        return answers

    monkeypatch.setattr("minidisc_ray.export.quantization.logits_over", not_finite_if(iter([True, False])))
    report = export_model(source, request, tmp_path / "one")
    assert (report.int8.kind, report.int8.other_drop) == ("static", None)
    assert "dynamic does not work here" in export_sentences(report)[1]
    monkeypatch.setattr("minidisc_ray.export.quantization.logits_over", not_finite_if(iter([True, True])))
    with pytest.raises(UserError, match="--int8: the dynamic copy gives logits that are not finite"):
        export_model(source, request, tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.usefixtures("traced_before")
def test_a_disk_that_fills_leaves_nothing(source, tmp_path, monkeypatch):
    def full(program, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minidisc_ray.export.exporting.save_onnx", full)
    with pytest.raises(UserError, match=r"--output: .*onnx cannot be written \(No space left on device\)"):
        export_model(source, ONNX, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("points", "bound", "passes"),
    [(0.5, 1.0, True), (0.51, 0.9, False), (0.1, 1.01, False), (-2.0, 0.0, True)],
)
def test_the_gate(points, bound, passes):
    assert Drop(points, bound).passes(0.5) is passes


def test_the_drop_is_the_difference_of_points_and_its_bound_lies_above():
    labels = np.arange(400) % 2
    right = np.eye(2)[labels]
    worse = right.copy()
    worse[:8] = worse[:8, ::-1]
    drop = drop_of(
        replace(TASK, label_names=("no", "yes")), {"validation": labels}, {"validation": right}, {"validation": worse}
    )
    assert drop.points == pytest.approx(2.0)
    # One-sided 95% of a binomial share of 8 in 400.
    assert 3.0 < drop.bound < 3.5


def test_several_labels_are_compared_and_read_as_the_folder_says(tmp_path):
    """The README's last line names the labels whose sigmoid is above 0.5."""
    model = tiny_model("bert", MULTILABEL)
    source = tiny_source(model, tmp_path / "model", MULTILABEL, num_rows=40)
    report = export_model(source, ONNX, tmp_path / "onnx")
    assert report.check.equal_labels == report.check.rows == 40
    readme = (tmp_path / "onnx" / "README.md").read_text()
    assert "labels, any number for each text: no, yes, maybe" in readme
    assert "{ top_k: null }" in readme
    answer = next(line.strip() for line in readme.splitlines() if "print(" in line)
    logits = np.array([[-1.0, 2.0, 0.5]])
    code = answer.removeprefix("print(").removesuffix(")").replace('open("config.json")', "file")
    with (tmp_path / "onnx" / "config.json").open() as file:
        assert eval(code, {"json": json, "logits": logits, "file": file, "int": int}) == ["yes", "maybe"]


@pytest.mark.parametrize("flaw", [np.nan, 0.01])
def test_a_graph_that_computes_something_else_is_refused(source, flaw):
    wanted = logits_of(source, torch_forward(source.model))
    other = {"validation": wanted["validation"].copy()}
    other["validation"][3, 1] += flaw
    with pytest.raises(UserError, match=r"its graph differs from PyTorch by .* so nothing was written"):
        compare_logits(source, wanted, other)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("structure", [ODD, SPARSE, None], ids=["odd", "sparse", "dense"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("task", [TASK, MULTILABEL, REGRESSION], ids=["classes", "labels", "regression"])
def test_every_family_and_every_kind_of_task(family, structure, task, tmp_path):
    whole = tiny_model(family, task)
    source = tiny_source(whole if structure is None else cut(whole, structure), tmp_path / "model", task)
    report = export_model(source, ONNX, tmp_path / "onnx")
    assert report.check.equal_labels == report.check.rows
    assert report.check.largest_difference < 1e-4
    copies = int8_copies(
        onnx_graph(source), source, logits_of(source, torch_forward(source.model)), tmp_path / "int8", 1
    )
    assert {copy.kind for copy in copies} == {"dynamic", "static"}
    assert all(np.isfinite(copy.logits["validation"]).all() for copy in copies)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_openvino_answers_as_pytorch(family, tmp_path):
    source = tiny_source(student_of(family, ODD), tmp_path / "model")
    report = export_model(source, replace(ONNX, target="openvino"), tmp_path / "ov")
    assert report.check.equal_labels == report.check.rows
    assert {"openvino_model.xml", "openvino_model.bin"} <= {path.name for path in (tmp_path / "ov").iterdir()}
