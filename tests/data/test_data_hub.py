import os

import pandas as pd
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.data import load_splits


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert os.environ.get("HF_ENDPOINT") is None


@pytest.fixture
def folder(tmp_path, rows):
    """A data set as the hub has them: Parquet files named by split, read by datasets itself."""
    import datasets

    folder = tmp_path / "reviews"
    (folder / "data").mkdir(parents=True)
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["yes", "no"]),
            "idx": datasets.Value("int64"),
        }
    )
    for split, size in (("train", 60), ("validation", 20)):
        made = datasets.Dataset.from_list(rows[:size], features=features)
        made.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def load(path, task=None, **data):
    task = task or {"kind": "classification", "label_names": ["no", "yes"]}
    return load_splits(resolve({"task": task, "data": {"kind": "hub", "path": str(path), **data}}))


def test_same_rows_as_from_files(folder, recipe):
    # The class names of the data set are in the other order: names count, not numbers.
    assert load(folder).digest == load_splits(recipe()).digest


def test_class_names_of_the_data_set(folder):
    splits = load(folder, task={"kind": "classification"})
    assert splits.task.label_names == ("yes", "no")
    assert splits.train.labels.tolist().count(1) == 36


def test_own_splits(folder):
    splits = load(folder, train_split="validation", validation_split="train")
    assert splits.task.validation_splits == ("train",)
    assert len(splits.validation["train"]) == 60


def test_mistakes(folder, tmp_path):
    with pytest.raises(UserError, match=r'^data.validation_split: there is no split "dev" in '):
        load(folder, validation_split="dev")
    with pytest.raises(UserError, match=r'^data.columns: column "sentence" is not in .*which has: text, label, idx$'):
        load(folder, columns={"text": "sentence"})
    with pytest.raises(UserError, match=r"^data.path: .*nowhere, split train cannot be loaded \(.*\); check the name"):
        load(tmp_path / "nowhere")


def test_plain_parquet_without_class_names(tmp_path, rows):
    folder = tmp_path / "plain"
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "train.parquet")
    pd.DataFrame(rows[:20]).to_parquet(folder / "validation.parquet")
    assert load(folder, task={"kind": "classification"}).task.label_names == ("no", "yes")


@pytest.mark.parametrize("disabled", [False, True])
def test_no_progress_bars(folder, capfd, disabled):
    import datasets

    (datasets.disable_progress_bars if disabled else datasets.enable_progress_bars)()
    try:
        load(folder)
        assert datasets.are_progress_bars_disabled() == disabled
    finally:
        datasets.enable_progress_bars()
    assert capfd.readouterr().err == ""
