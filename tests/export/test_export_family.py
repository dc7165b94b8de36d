"""The nested family of a run: every size as it is in the sandwich, kept by clean, absent where nothing was nested."""

import json
import shutil

import pytest
import torch
from pipeline_kit import prepared_run, random_teacher
from storage_kit import LOCAL
from tiny_models import batch_of, random_rows
from transformers import AutoModelForSequenceClassification

import minidisc_ray
from minidisc_ray import api
from minidisc_ray.configs.base import UserError
from minidisc_ray.export import family as export_family
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.run_files.clean import clean
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import load_result

RACE = (
    "schedule={kind: minidisc, search: race, scales: [80, 60, 40]}",
    "distil.num_epochs=6",
    "data.selection_fraction=0.3",
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return random_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def minidisc(storage, teacher):
    prepared = prepared_run(storage, "minidisc", teacher)
    run_in_process(prepared)
    return prepared


@pytest.fixture(scope="module")
def family(minidisc):
    return minidisc_ray.open_family(minidisc.run_folder)


def test_every_size_answers_as_its_slice_in_the_sandwich_to_the_last_bit(minidisc, family):
    scales = tuple(family)
    assert scales == (60, 30, 10)
    sandwich = ElasticModel(
        load_model(minidisc.run_folder / "stages" / "sandwich" / "model"), structures_of(minidisc, scales)
    )
    sandwich.train(False)
    batch = batch_of(random_rows(5), sandwich.shared)
    with torch.inference_mode():
        embedded = sandwich.embed(batch)
        logits = {scale: sandwich.run(scale, embedded, batch).logits for scale in scales}
        for scale in scales:
            assert torch.equal(run_model(family[scale], batch).logits, logits[scale])
    assert not torch.equal(logits[60], logits[30])


def test_the_index_holds_metrics_and_sizes(minidisc, family):
    record = read_record(LOCAL, minidisc.run_folder / "stages" / "sandwich")
    for scale, size in family.sizes.items():
        model = family[scale]
        assert size.metrics == record.selection_metrics[scale]
        assert size.total_parameters == sum(parameter.numel() for parameter in model.parameters())
        assert structure_of(model.config).heads == size.heads


def test_an_extracted_size_is_a_folder_like_any_students(minidisc, family, tmp_path):
    size = api.extract(minidisc.run_folder, 30, tmp_path / "student-30")
    assert size == family.sizes[30]
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student-30")
    for name, parameter in family[30].named_parameters():
        assert torch.equal(whole.get_parameter(name), parameter)
    names = {path.name for path in (tmp_path / "student-30").iterdir()}
    assert names == {path.name for path in (minidisc.run_folder / "student").iterdir()}
    modes = {
        path.stat().st_mode & 0o777
        for folder in (tmp_path / "student-30", minidisc.run_folder / "student")
        for path in folder.iterdir()
        if path.is_file()
    }
    assert len(modes) == 1, "others may read the weights as they may the config"
    with pytest.raises(UserError, match=r"--output: .*student-30 exists; choose another name"):
        api.extract(minidisc.run_folder, 30, tmp_path / "student-30")


def test_a_scale_that_is_not_in_the_family(minidisc, family, tmp_path):
    with pytest.raises(UserError, match=r"25% is not in the family of .*, which has 60%, 30%, 10%; take one"):
        api.extract(minidisc.run_folder, 25, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert 25 not in family
    assert len(family) == 3


@pytest.mark.parametrize("wrong", [[25], "30", None, 0.3])
def test_what_is_no_scale_gets_a_sentence(family, wrong):
    with pytest.raises(UserError, match=r"is not in the family of .*, which has .*%; take one of these"):
        family[wrong]
    assert wrong not in family


def test_a_race_keeps_its_assistant_and_the_students_slice(storage, teacher):
    prepared = prepared_run(storage, "minidisc", (*teacher, *RACE))
    result = run_in_process(prepared)
    chosen = result.race[-1].choice
    assert tuple(minidisc_ray.open_family(prepared.run_folder)) == ((10,) if chosen == 100 else (chosen, 10))


def test_other_methods_say_that_they_have_none(storage, teacher):
    prepared = prepared_run(storage, "conventional", teacher)
    run_in_process(prepared)
    with pytest.raises(UserError, match=r"a conventional run has no family; only MiniDisc trains nested sizes"):
        minidisc_ray.open_family(prepared.run_folder)


def test_a_run_that_is_not_finished(storage, teacher):
    prepared = prepared_run(storage, "minidisc", (*teacher, "seed=7"))
    with pytest.raises(UserError, match=r"no result.json there"):
        minidisc_ray.open_family(prepared.run_folder)


@pytest.mark.parametrize("damage", ["index", "weights"])
def test_a_damaged_family(minidisc, tmp_path, damage):
    folder = tmp_path / "run"
    shutil.copytree(minidisc.run_folder, folder)
    name = "family.json" if damage == "index" else "model.safetensors"
    path = folder / "family" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=rf"the model is damaged \({name} has"):
        minidisc_ray.open_family(folder)


def test_clean_keeps_it_unless_it_is_asked_for(tmp_path, teacher):
    prepared = prepared_run(tmp_path, "minidisc", teacher)
    run_in_process(prepared)
    clean(tmp_path)
    assert not (prepared.run_folder / "stages").exists()
    assert tuple(minidisc_ray.open_family(prepared.run_folder)) == (60, 30, 10)
    # A run that is over is not made again, and its family stays where its stages are gone.
    run_in_process(prepared)
    assert tuple(minidisc_ray.open_family(prepared.run_folder)) == (60, 30, 10)
    assert prepared.run_folder / "family" in clean(tmp_path, families=True).paths
    with pytest.raises(UserError, match="its family is gone"):
        minidisc_ray.open_family(prepared.run_folder)
    assert load_result(prepared.run_folder).method == "minidisc"


@pytest.mark.parametrize(
    "change",
    [
        {"heads": [-1, -1]},
        {"heads": [99, 99]},
        {"heads": [1]},
        {"neurons": [1, 1]},
        {"scale_percent": 60},
        {"metrics": {}},
        {"metrics": {"accuracy": 55.0}},
        {"total_parameters": -5},
    ],
)
def test_an_index_that_does_not_fit_the_weights(minidisc, tmp_path, change):
    shutil.copytree(minidisc.run_folder, tmp_path / "run")
    (tmp_path / "run" / "family" / "seal.json").unlink()
    path = tmp_path / "run" / "family" / "family.json"
    index = json.loads(path.read_text())
    index["sizes"][1] |= change
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"the family is damaged|cannot be read as a family's index"):
        minidisc_ray.open_family(tmp_path / "run")


def test_what_appears_meanwhile_is_not_replaced(minidisc, tmp_path, monkeypatch):
    output, whole = tmp_path / "out", export_family.load_tokenizer

    def meanwhile(checkpoint):
        output.mkdir()
        (output / "precious.txt").touch()
        return whole(checkpoint)

    monkeypatch.setattr(export_family, "load_tokenizer", meanwhile)
    with pytest.raises(UserError, match=r"--output: .*out exists"):
        api.extract(minidisc.run_folder, 30, output)
    assert [path.name for path in output.iterdir()] == ["precious.txt"]
    assert list(tmp_path.iterdir()) == [output]


def test_places_that_cannot_be_written(minidisc, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match="--output: "):
            api.extract(minidisc.run_folder, 30, place)
