import os
from typing import get_args

import pandas as pd
import pytest

from minidisc_ray.configs import UserError, load_recipe
from minidisc_ray.configs.grid import TimesGridConfig
from minidisc_ray.configs.objective import ObjectiveConfig
from minidisc_ray.configs.schedule import MiniDiscConfig, ScheduleConfig
from minidisc_ray.configs.task import GlueTask
from minidisc_ray.configs.unions import kinds_of, models_in
from minidisc_ray.data import load_splits

KINDS = [kind for member in models_in(ScheduleConfig) for kind in kinds_of(member)]
OBJECTIVES = list(models_in(ObjectiveConfig))


@pytest.mark.parametrize("task", get_args(GlueTask))
def test_init_writes_a_recipe_that_parses_back(minidisc, tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIDISC_DATA", "/somewhere")
    out = minidisc.well("init", "--task", task, "--model", "bert-base-uncased")
    assert out == f"wrote {task}.yaml; next: minidisc plan {task}.yaml\n"
    config = load_recipe(tmp_path / f"{task}.yaml")
    assert (config.task.name, config.data.folder) == (task, f"/somewhere/{task}")
    assert config.teacher.path == "bert-base-uncased"
    assert config.student.scale_percent == 10
    assert config.schedule == MiniDiscConfig(search="race", scales=TimesGridConfig())
    assert config.candidate_scales() == (40, 35, 30, 25, 20, 15)
    assert config.compute.cpus_per_worker == os.cpu_count()
    for kind in KINDS:
        assert load_recipe(tmp_path / f"{task}.yaml", [f"schedule.kind={kind}"]).schedule.kind == kind


def test_a_recipes_comments_name_every_schedule_and_objective(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minidisc.well("init", "--task", "rte", "--model", "m")
    lines = (tmp_path / "rte.yaml").read_text().splitlines()
    assert max(map(len, lines)) <= 130
    named = lines[lines.index("schedule:") + 1].split("# ")[1].split(":")[0]
    assert named.split(", ") == KINDS
    first = lines.index("objective:") + 1
    comment = " ".join(line.split("# ")[1].strip() for line in lines[first : lines.index("", first)])
    others = comment.removeprefix("logits and last hidden states; ").removesuffix(": docs/objectives.md")
    assert {"ltsd", *others.split(", ")} == {kind for member in OBJECTIVES for kind in kinds_of(member)}


def test_init_replaces_a_file_only_when_asked_to(minidisc, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    arguments = ["init", "--task", "rte", "--model", "some/model", "--data", "/data/rte", "--output", path]
    assert "mine.yaml exists" in minidisc(*arguments).sentence
    assert path.read_text() == "mine"
    minidisc.well(*arguments, "--force")
    assert load_recipe(path).data.folder == "/data/rte"
    assert "tusk is not a GLUE task; use one of cola" in minidisc("init", "--task", "tusk", "--model", "m").sentence
    assert "cannot be written" in minidisc(*arguments[:-1], tmp_path / "no" / "where.yaml").sentence


def test_init_never_replaces_what_is_no_recipe(minidisc, tmp_path):
    write_reviews(tmp_path / "two.csv")
    before = (tmp_path / "two.csv").read_bytes()
    arguments = ("init", "--data", tmp_path / "two.csv", "--model", "m", "--output", tmp_path / "two.csv")
    for more in ((), ("--force",)):
        assert "two.csv exists and is no recipe, so it is kept" in minidisc(*arguments, *more).sentence
    assert (tmp_path / "two.csv").read_bytes() == before


def test_names_that_a_recipe_would_expand_are_refused(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "a${HOME}.csv")
    own = ("init", "--data", "a${HOME}.csv", "--model", "m")
    assert "'a${HOME}.csv' would be read as an environment variable" in minidisc(*own).sentence
    task = ("init", "--task", "mrpc", "--model", "m", "--data", "a${HOME}.csv")
    assert "is a file; give the folder of mrpc's train and validation files" in minidisc(*task).sentence


def test_the_comments_of_a_new_recipe_may_be_taken_as_they_are(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"film {i}: what a plot", "label": ("no", "yes")[i % 2]} for i in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "films.csv", index=False)
    minidisc.well("init", "--data", "films.csv", "--model", "m")
    text = (tmp_path / "films.yaml").read_text()
    named = text.replace("  # label_names:", "  label_names:")
    (tmp_path / "named.yaml").write_text(named)
    assert load_recipe(tmp_path / "named.yaml").task.label_names == ("no", "yes")
    others = [line.removeprefix("# or: ") for line in text.splitlines() if line.startswith("# or: schedule: ")]
    for index, line in enumerate(others):
        section = text[text.index("schedule:\n") : text.index("# or: schedule")]
        (tmp_path / f"{index}.yaml").write_text(text.replace(section, line + "\n"))
    kinds = [load_recipe(tmp_path / f"{index}.yaml").schedule.kind for index in range(len(others))]
    assert kinds == ["law", "auto"]


def write_reviews(path):
    rows = [{"id": i, "review": f"film {i}: what a plot", "made on": f"5/{i}", "stars": i % 5 + 1} for i in range(60)]
    pd.DataFrame(rows).to_csv(path, index=False)


def test_init_writes_a_recipe_for_ones_own_file(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "reviews 2024.csv")
    out = minidisc.well("init", "--data", "reviews 2024.csv", "--model", "bert-base-uncased")
    assert out.splitlines() == [
        "assumed: text is review (by its name), label is stars (5 classes: 1, 2, 3, 4, 5); not used: id, made on",
        "assumed: validation is a seeded 20% of reviews 2024.csv, as there is no validation file",
        "wrote reviews-2024.yaml; next: minidisc plan reviews-2024.yaml",
    ]
    config = load_recipe(tmp_path / "reviews-2024.yaml")
    assert config.task.model_dump(exclude_defaults=True) == {
        "name": "reviews-2024",
        "text": ("review",),
        "label": "stars",
    }
    splits = load_splits(config)
    assert (splits.task.name, splits.task.label_names) == ("reviews-2024", ("1", "2", "3", "4", "5"))
    assert len(splits.validation["validation"]) == 12


def test_init_writes_a_recipe_for_a_folder_with_awkward_names(minidisc, tmp_path, monkeypatch):
    """Names that YAML or a comment would read as something else come back as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yes").mkdir()
    for name, count in (("train", 40), ("dev", 20)):
        rows = [f'"was it, {i}, good?"\t"it was good, {i} times"\t{i % 9 / 2}\n' for i in range(count)]
        (tmp_path / "yes" / f"{name}.tsv").write_text("a, b\t[c] # d\tnull\n" + "".join(rows))
    out = minidisc.well("init", "--data", "yes", "--model", "m", "--quoting", "csv")
    assert out.startswith("assumed: text is a, b and [c] # d (the longest texts), label is null (a regression: numbers")
    config = load_recipe(tmp_path / "yes.yaml")
    assert (config.task.kind, config.task.text, config.task.label) == ("regression", ("a, b", "[c] # d"), "null")
    assert (config.task_name, config.data.quoting, config.data.validation) == ("yes", "csv", "yes/dev.tsv")
    assert load_splits(config).train.texts[0][0].startswith("was it, ")


def test_init_needs_a_task_or_data_that_it_understands(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert minidisc("init", "--model", "m").sentence.startswith("--task: missing; give a GLUE task, or your own file")
    assert minidisc("init", "--model", "m", "--data", "no.csv").sentence.startswith(
        "--data: there is no file or folder"
    )
    write_reviews(tmp_path / "reviews.csv")
    assert minidisc("init", "--model", " ", "--data", "reviews.csv").sentence.startswith("--model: empty")
    message = minidisc("init", "--model", "m", "--task", "reviews", "--data", "reviews.csv").sentence
    assert message.endswith("or leave it out and name your own file with --data")
    (tmp_path / "odd.csv").write_text('text,label\n"a" b,1\nc,2\n')
    assert "set --quoting none" in minidisc("init", "--model", "m", "--data", "odd.csv").sentence
    (tmp_path / "models" / "small").mkdir(parents=True)
    monkeypatch.setenv("MINIDISC_MODELS", str(tmp_path / "models"))
    message = minidisc("init", "--model", "small", "--task", "mrpc").sentence
    assert message == "--model: there is no folder small here; is '${MINIDISC_MODELS}/small' meant?"
    assert not list(tmp_path.glob("*.yaml"))


def test_rows_without_a_label_are_left_out_where_asked(minidisc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"review": f"film {i}: what a plot", "stars": i % 3 + 1 if i % 10 else None} for i in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "reviews.csv", index=False)
    init = ("init", "--data", "reviews.csv", "--model", "m")
    said = "warning: 6 of 60 rows have no stars, and `plan` refuses that: label them, or give --drop-unlabelled --force"
    assert said in minidisc.well(*init)
    with pytest.raises(UserError, match=r'data\.train: 6 of 60 rows of reviews\.csv have no "stars", the first'):
        load_splits(load_recipe(tmp_path / "reviews.yaml"))

    assert "note: 6 of 60 rows have no stars and are left out" in minidisc.well(*init, "--drop-unlabelled", "--force")
    splits = load_splits(load_recipe(tmp_path / "reviews.yaml"))
    assert splits.notes[0] == '6 of 60 rows of reviews.csv have no "stars" and are left out (data.drop_unlabelled)'
    assert len(splits.train) + len(splits.selection) + len(splits.validation["validation"]) == 54
    glue = minidisc("init", "--task", "rte", "--model", "m", "--drop-unlabelled").sentence
    assert glue.startswith("--drop-unlabelled: all rows of a GLUE task have a label")
