import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import run_identity
from minidisc_ray.configs.loader import resolve
from minidisc_ray.data import Rows, load_splits
from minidisc_ray.data.sampling import held_out_indices, strata


def texts(rows):
    return set(zip(*rows.texts, strict=True))


def test_selection_is_a_stratified_tenth_taken_from_train(recipe):
    splits = load_splits(recipe())
    assert len(splits.train) + len(splits.selection) == 60
    assert splits.selection_description == "a seeded tenth of train"
    assert not texts(splits.train) & texts(splits.selection)
    assert np.bincount(splits.selection.labels).tolist() == [4, 2]
    assert splits.task.label_names == ("no", "yes")
    assert splits.test is None


def test_same_recipe_same_rows(recipe):
    first, again = load_splits(recipe()), load_splits(recipe(seed=7))
    assert first.digest == again.digest
    other = load_splits(recipe(data={"selection_seed": 1}))
    assert other.digest != first.digest
    assert texts(other.selection) != texts(first.selection)


def test_digest_covers_label_names(recipe):
    renamed = {"kind": "classification", "label_names": ["bad", "good"]}
    numbered = [{"text": f"row {i}", "label": i % 2} for i in range(40)]
    first = load_splits(recipe(train=numbered, validation=numbered[:20]))
    assert load_splits(recipe(train=numbered, validation=numbered[:20], task=renamed)).digest != first.digest


def test_selection_file_leaves_train_whole(recipe, rows, write, tmp_path):
    path = write(tmp_path / "choices.jsonl", rows[10:40])
    splits = load_splits(recipe(data={"selection": str(path)}))
    assert (len(splits.train), len(splits.selection)) == (60, 30)
    assert splits.selection_description == "choices.jsonl"


def test_paper_protocol_selects_on_validation(recipe):
    splits = load_splits(recipe(protocol="paper"))
    assert len(splits.train) == 60
    assert splits.selection is splits.validation["validation"]
    assert splits.selection_description == "validation (paper protocol)"


def test_samples_keep_order(recipe, rows):
    splits = load_splits(recipe(data={"max_train_rows": 30, "max_validation_rows": 10}, protocol="paper"))
    order = [row["text"] for row in rows]
    positions = [order.index(text) for text in splits.train.texts[0]]
    assert positions == sorted(set(positions))
    assert (len(splits.train), len(splits.validation["validation"])) == (30, 10)


def test_other_fractions_are_reported(recipe):
    assert load_splits(recipe(data={"selection_fraction": 0.25})).selection_description == "a seeded 25% of train"


def test_names_are_found_in_training_labels(recipe):
    splits = load_splits(recipe(task={"kind": "classification"}))
    assert splits.task.label_names == ("no", "yes")
    with pytest.raises(UserError, match=r"^data.validation: \"label\" is 'perhaps' in row 3 of validation.jsonl; "):
        load_splits(
            recipe(
                task={"kind": "classification"},
                validation=[{"text": "a", "label": label} for label in ("no", "yes", "perhaps")],
            )
        )


def test_columns_are_renamed(recipe):
    rows = [{"review": f"r {i}", "stars": i % 2} for i in range(40)]
    columns = {"text": "review", "label": "stars"}
    assert len(load_splits(recipe(train=rows, validation=rows[:20], data={"columns": columns})).train) == 36
    with pytest.raises(UserError, match=r'^data.columns: "txt" is not a column of the task, which has: text, label$'):
        load_splits(recipe(data={"columns": {"txt": "review"}}))


@pytest.mark.parametrize(
    ("train", "validation", "sentence"),
    [
        (["no"] * 40, ["no", "yes"], "data: all 40 rows of train are of the class no; at least two classes are needed"),
        (
            ["no", "yes"] * 9,
            ["yes", "yes"],
            "data: all 2 rows of validation are of the class yes; at least two classes are needed",
        ),
        (
            ["no", "no", "no", "yes"],
            ["no", "yes"],
            "data: all 1 rows of selection are of the class no; at least two classes are needed",
        ),
        ([], ["no", "yes"], "data.train: train.jsonl has no rows"),
    ],
)
def test_unusable_splits(recipe, train, validation, sentence):
    def rows(labels):
        return [{"text": f"t {i}", "label": label} for i, label in enumerate(labels)]

    with pytest.raises(UserError) as caught:
        load_splits(recipe(train=rows(train), validation=rows(validation)))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([2.5] * 20, "data: all 20 labels of train are 2.5; a regression needs different ones"),
        ([0.0, float("inf")], '"label" is inf in row 2 of train.jsonl; allowed is a finite number'),
        (
            [0.0, 1e19],
            '"label" is 1e+19 in row 2 of train.jsonl; its square can overflow float32; scale labels to at most 1e+15',
        ),
        ([0.0, 1e300], '"label" is 1e+300 in row 2 of train.jsonl; allowed is a finite number'),
        ([0.0, "high"], "\"label\" is 'high' in row 2 of train.jsonl; allowed is a finite number"),
        (
            [0.0, None],
            '1 of 2 rows of train.jsonl have no "label", the first of them row 2; give labels, or leave such rows out '
            "with data.drop_unlabelled=true",
        ),
    ],
)
def test_unusable_regression_labels(recipe, labels, sentence):
    rows = [{"text": f"t {i}", "label": label} for i, label in enumerate(labels)]
    with pytest.raises(UserError) as caught:
        load_splits(recipe(train=rows, validation=rows[1:], task={"kind": "regression"}))
    assert str(caught.value).removeprefix("data.train: ") == sentence


def test_regression(recipe):
    rows = [{"text": f"t {i}", "label": i / 7} for i in range(50)]
    splits = load_splits(recipe(train=rows, validation=rows[1:], task={"kind": "regression"}))
    assert splits.train.labels.dtype == np.float32
    assert (len(splits.train), len(splits.selection)) == (45, 5)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=5), fraction=st.floats(0.01, 0.49), seed=st.integers(0, 99)
)
def test_stratification(counts, fraction, seed):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    labels = np.random.default_rng(seed).permutation(labels)
    rows = Rows(([str(i) for i in range(len(labels))],), labels)
    chosen = held_out_indices(strata(rows, "class"), len(rows), fraction, seed, "selection")
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    taken = np.bincount(labels[chosen], minlength=len(counts))
    size = max(1, round(len(labels) * fraction))
    for count, here in zip(counts, taken, strict=True):
        if count == 1:
            assert here == 0
        else:
            assert 1 <= here < count
            assert abs(here - count * size / len(labels)) <= 1


class TestValidationFraction:
    """Validation rows from train, for a user who has one file."""

    def load(self, path, **data):
        given = {"kind": "files", "train": str(path), "validation_fraction": 0.25, **data}
        return load_splits(resolve({"task": {"kind": "classification"}, "data": given}))

    def test_a_stratified_share_that_nothing_is_trained_on(self, tmp_path, write, rows):
        splits = self.load(write(tmp_path / "reviews.jsonl", rows))
        validation = splits.validation["validation"]
        assert (len(splits.train), len(splits.selection), len(validation)) == (41, 4, 15)
        assert np.bincount(validation.labels).tolist() == [10, 5]
        assert texts(splits.train) | texts(splits.selection) | texts(validation) == {(row["text"],) for row in rows}
        assert splits.task.name == "reviews"
        first, second = splits.notes
        assert first == "validation is a seeded 25% of train, 15 rows (data.validation_fraction)"
        left = "selection is a seeded tenth of the rows that are left, 4 rows"
        assert second == f"{left} (data.selection_fraction): no row is in both"

    @pytest.mark.parametrize("seed", range(3))
    def test_the_same_share_twice_takes_different_rows(self, tmp_path, write, rows, seed):
        path = write(tmp_path / "reviews.jsonl", rows)
        splits = self.load(path, validation_fraction=0.2, selection_fraction=0.2, selection_seed=seed)
        parts = [texts(split) for split in (splits.train, splits.selection, splits.validation["validation"])]
        assert [len(part) for part in parts] == [38, 10, 12]
        assert len(set.union(*parts)) == len(rows) == 60, "every row is in one split, and in no other"
        assert [note.split(",")[0] for note in splits.notes] == [
            "validation is a seeded 20% of train",
            "selection is a seeded 20% of the rows that are left",
        ]

    def test_the_same_rows_each_time_and_others_by_another_seed(self, tmp_path, write, rows):
        path = write(tmp_path / "reviews.jsonl", rows)
        first, again, other = self.load(path), self.load(path), self.load(path, selection_seed=1)
        assert first.digest == again.digest
        assert texts(first.validation["validation"]) != texts(other.validation["validation"])
        # Nor does a sample of train change them.
        small = self.load(path, max_train_rows=20)
        assert texts(small.validation["validation"]) == texts(first.validation["validation"])

    def test_rows_that_are_in_both_are_counted(self, tmp_path, write, rows):
        note, _ = self.load(write(tmp_path / "reviews.jsonl", [*rows, *rows])).notes
        count = int(note.split("; ")[1].split()[0])
        assert 0 < count <= 30
        assert note.endswith("have the same text as a row that is trained on, which makes scores too high")

    def test_a_folder_without_a_validation_file(self, tmp_path, write, rows):
        write(tmp_path / "train.jsonl", rows)
        data = {"train": None, "folder": str(tmp_path)}
        assert len(self.load(None, **data).validation["validation"]) == 15
        write(tmp_path / "validation.jsonl", rows)
        with pytest.raises(UserError, match=r"^data\.validation_fraction: data\.folder has a validation file, valid"):
            self.load(None, **data)

    def test_what_does_not_go_together(self, tmp_path, write, rows):
        path = write(tmp_path / "reviews.jsonl", rows)
        with pytest.raises(UserError, match="give validation or validation_fraction, not both"):
            self.load(path, validation=str(path))
        with pytest.raises(UserError, match="give folder, or train with validation or validation_fraction"):
            self.load(path, validation_fraction=None)
        classes = write(tmp_path / "classes.jsonl", [{"text": f"t {i}", "label": f"c{i // 2}"} for i in range(80)])
        with pytest.raises(UserError, match=r"^data\.validation_fraction: 0\.1 .* or name a validation file \("):
            self.load(classes, validation_fraction=0.1)


class TestFolder:
    def load(self, folder, task, **data):
        return load_splits(resolve({"task": task, "data": {"kind": "files", "folder": str(folder), **data}}))

    @pytest.fixture
    def pairs(self):
        return [{"premise": f"p {i}", "hypothesis": f"h {i}", "label": i % 3} for i in range(60)]

    def test_mnli_reports_both_sets(self, tmp_path, write, pairs):
        for size, name in zip((60, 30, 15), ("train", "validation_matched", "validation_mismatched"), strict=True):
            write(tmp_path / f"{name}.jsonl.gz", pairs[:size])
        splits = self.load(tmp_path, "mnli")
        assert (
            tuple(splits.validation)
            == splits.task.validation_splits
            == (
                "validation_matched",
                "validation_mismatched",
            )
        )

    def test_mismatched_is_optional(self, tmp_path, write, pairs):
        write(tmp_path / "train.jsonl", pairs)
        write(tmp_path / "validation_matched.jsonl", pairs[:30])
        assert self.load(tmp_path, "mnli").task.validation_splits == ("validation_matched",)

    def test_plain_validation_will_do(self, tmp_path, write, pairs):
        write(tmp_path / "train.jsonl", pairs)
        write(tmp_path / "validation.jsonl", pairs[:30])
        assert self.load(tmp_path, "mnli").task.validation_splits == ("validation",)

    def test_mistakes(self, tmp_path, write, pairs):
        with pytest.raises(UserError, match=r"^data.folder: there is no folder .*missing; check the path$"):
            self.load(tmp_path / "missing", "mnli")
        write(tmp_path / "validation.jsonl", pairs)
        with pytest.raises(UserError, match=r"^data.folder: no file train.\* is in .*, which has: validation.jsonl; "):
            self.load(tmp_path, "mnli")
        write(tmp_path / "train.jsonl", pairs)
        write(tmp_path / "train.jsonl.gz", pairs)
        with pytest.raises(UserError, match=r"has several files of train \(train.jsonl, train.jsonl.gz\); leave one"):
            self.load(tmp_path, "mnli")


@pytest.mark.parametrize(
    ("name", "train", "validation", "selection"),
    [
        ("mrpc", 3668, {"validation": 408}, 367),
        ("stsb", 5749, {"validation": 1500}, 575),
        ("sst2", 67349, {"validation": 872}, 6735),
        ("mnli", 9999, {"validation_matched": 9815, "validation_mismatched": 999}, 1000),
    ],
)
def test_real_data(real_data, name, train, validation, selection):
    splits = load_splits(resolve({"task": name, "data": {"kind": "files", "folder": str(real_data / name)}}))
    assert len(splits.train) + len(splits.selection) == train
    assert len(splits.selection) == selection
    assert splits.selection_description == "a seeded tenth of train"
    assert {name: len(rows) for name, rows in splits.validation.items()} == validation


def test_builtin_has_a_test_split():
    splits = load_splits(resolve({"data": {"kind": "builtin", "train_rows": 100}}))
    assert (len(splits.train), len(splits.selection), len(splits.validation["validation"])) == (90, 10, 600)
    assert splits.test is not None
    assert len(splits.test) == 600
    assert json.dumps(splits.digest)


class TestDropUnlabelled:
    def test_rows_without_a_label_are_left_out_of_every_split(self, recipe, rows):
        validation = [*rows[:20], {"text": "v", "label": " "}]
        given = [{"text": "a", "label": None}, *rows, {"text": "b"}]
        splits = load_splits(recipe(given, validation, data={"drop_unlabelled": True}))
        plain = load_splits(recipe(rows, rows[:20]))
        assert splits.digest == plain.digest
        assert splits.notes == (
            '2 of 62 rows of train.jsonl have no "label" and are left out (data.drop_unlabelled)',
            '1 of 21 rows of validation.jsonl have no "label" and are left out (data.drop_unlabelled)',
        )

    def test_the_key_gives_no_run_another_name(self, recipe):
        assert "drop_unlabelled" not in run_identity(recipe(), {})["data"]
        assert run_identity(recipe(data={"drop_unlabelled": True}), {})["data"]["drop_unlabelled"] is True

    def test_rows_in_messages_are_counted_without_them(self, recipe, rows):
        given = [{"text": "a", "label": None}, *rows, {"text": 7, "label": "no"}]
        with pytest.raises(UserError, match=r"in row 61 of train\.jsonl, not counting rows without a label; every row"):
            load_splits(recipe(given, data={"drop_unlabelled": True}))

    def test_where_it_makes_no_sense(self, recipe):
        nothing = [{"text": "a", "label": None}] * 20
        with pytest.raises(UserError, match=r'no row of validation\.jsonl has a "label", and data\.drop_unlabelled'):
            load_splits(recipe(validation=nothing, data={"drop_unlabelled": True}))
        task = {"kind": "multilabel", "text": "text", "label": "label"}
        with pytest.raises(UserError, match=r"data\.drop_unlabelled: a row of a multilabel task may have no label"):
            load_splits(recipe(task=task, data={"drop_unlabelled": True}))
