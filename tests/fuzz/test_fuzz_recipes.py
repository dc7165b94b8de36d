"""Recipes, studies, ``--set`` and names as no one should write them."""

import itertools
from pathlib import Path

import pytest
import yaml
from fuzz_kit import TIMES, attempt, fuzz, mutated, nested, odd_values, replaced
from hypothesis import strategies as st
from study_kit import RAW as STUDY

from minidisc_ray.configs.identity import run_name
from minidisc_ray.configs.loader import load_recipe, resolve
from minidisc_ray.configs.study.study import load_study, resolve_study

ROOT = Path(__file__).parents[2]
RECIPES = [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml"))]
STUDIES = [path.read_bytes() for path in sorted((ROOT / "studies").glob("*.yaml"))]
# What a value may be put in place of: every section, and kinds with lists and nested choices.
RAWS = [
    resolve({}).model_dump(mode="json"),
    resolve(
        {
            "task": {"kind": "classification", "text": ["a", "b"], "label_names": ["no", "yes"]},
            "data": {"kind": "files", "train": "a.csv", "validation": "b.csv", "columns": {"a": "A"}},
            "teacher": {"kind": "pretrained", "path": "x"},
            "student": {"kind": "layers", "num_layers": 2},
            "schedule": {"kind": "conventional", "match": {"kind": "minidisc", "scales": [60, 30], "num_sampled": 2}},
            "objective": {"kind": "sum", "parts": [{"objective": {"kind": "od"}}, {"objective": {"kind": "hs"}}]},
        }
    ).model_dump(mode="json"),
    resolve(
        {"schedule": {"kind": "maxidisc", "scales": [60, 30], "selection": {"kind": "lambda", "lam": 0.5}}}
    ).model_dump(mode="json"),
]
YAML_PIECES = [
    "task", "data", "schedule", "student", "kind", "minidisc", "mrpc", ": ", ":", "\n", "\n  ", "\n    ", "- ",
    "{", "}", "[", "]", ",", "'", '"', "|", ">", "&a ", "*a", "? ", "!!int ", "!!int ''", "!!bool maybe",
    "!!timestamp x", "!!float x", "!!binary x", "!!set ", "!!omap ", "!!pairs ", "!!python/name:os.system ",
    "!!null x", "<<: ", "%TAG ! x\n", "---\n", "...\n", "#", "\t", "~", "0x" + "F" * 90, "0x" + "F" * 9000,
    "1:1:1", ":".join(["1"] * 5000), "1:1.5" + ":1.0" * 9, "2001-99-99", "-.inf", ".nan", "1_0", "9" * 4000,
    "9" * 5000, "0o7", "=", "<<", "\x85", "\ufeff", "\u2028", "\0", "é", "${HOME}", "${", "${HF_TOKEN}", "@",
    "`",
]  # fmt: skip
KEYS = [
    "seed", "name", "task", "task.kind", "schedule", "schedule.kind", "schedule.scales",
    "schedule.scales.values", "distil.num_epochs", "data.columns.a", "student.kind", "objective.parts",
    "a.b.c", "", ".", "..", "seed.", "kind", "0", "x" * 5000,
]  # fmt: skip


def written(folder: Path, content: bytes) -> Path:
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("times", TIMES)
def test_bytes_that_are_no_recipe(tmp_path, times):
    texts = st.lists(st.sampled_from(YAML_PIECES), max_size=25).map(lambda parts: "".join(parts).encode())
    anything = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    encoded = st.sampled_from(RECIPES).flatmap(
        lambda recipe: st.sampled_from(["utf-16", "utf-32", "utf-7", "latin-1", "cp037"]).map(recipe.decode().encode)
    )
    fuzz("recipe: pieces of YAML", texts, lambda given: load_recipe(written(tmp_path, given)), 350 * times)
    fuzz("recipe: bytes", anything, lambda given: load_recipe(written(tmp_path, given)), 150 * times)
    fuzz("recipe: another encoding", encoded, lambda given: load_recipe(written(tmp_path, given)), 20)


@pytest.mark.parametrize("times", TIMES)
def test_recipes_that_were_damaged(tmp_path, times):
    fuzz("recipe: damaged", mutated(RECIPES), lambda given: load_recipe(written(tmp_path, given)), 200 * times)


@pytest.mark.parametrize("times", TIMES)
def test_values_that_do_not_belong_there(times):
    cases = st.builds(replaced, st.sampled_from(RAWS), st.floats(0, 1), odd_values())
    fuzz("recipe: values of another kind", cases, resolve, 700 * times)


@pytest.mark.parametrize("times", TIMES)
def test_overrides(times):
    values = st.lists(st.sampled_from(YAML_PIECES), max_size=6).map("".join) | st.text(max_size=20)
    keys = st.sampled_from(KEYS) | st.text(max_size=10)
    overrides = st.builds(
        lambda key, equals, value: key + equals + value, keys, st.sampled_from(["=", "=", "=", ""]), values
    )
    fuzz("--set", overrides, lambda given: resolve({}, [given]), 350 * times)


@pytest.mark.parametrize("times", TIMES)
def test_studies(tmp_path, times):
    cases = st.builds(
        replaced,
        st.just(STUDY | {"budgets": {"small": {"seeds": [0]}}, "budget": "small"}),
        st.floats(0, 1),
        odd_values(),
    )
    fuzz("study: values of another kind", cases, resolve_study, 150 * times)
    fuzz("study: damaged", mutated(STUDIES), lambda given: load_study(written(tmp_path, given)), 40 * times)


@pytest.mark.parametrize("times", TIMES)
def test_names(tmp_path, times):
    pieces = [
        "..",
        ".",
        "/",
        "\\",
        "\0",
        "\n",
        "~",
        "a",
        "CON",
        "nul.txt",
        " ",
        "\u2024\u2024",
        "\uff0f",
        "\u202e",
        "-",
        "_",
        "é",
        "x" * 200,
    ]

    def named(name: str) -> None:
        config = resolve({"name": name})
        folder = tmp_path / run_name(config, {})
        assert folder.resolve().parent == tmp_path.resolve()
        assert folder.name not in ("", ".", "..")

    fuzz(
        "name",
        st.lists(st.sampled_from(pieces), min_size=1, max_size=4).map("".join) | st.text(max_size=8),
        named,
        200 * times,
    )


def repeated(text: str, times: int) -> bytes:
    return (text * times).encode()


CRAFTED = {
    "billion laughs": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghij")),
    "an alias to itself": "a: &a [*a]",
    "merges of merges": "<<: " * 400 + "{}",
    "a million levels": "[" * 90_000,
    "as many mappings": "{a: " * 24_000,
    "lists in lines": "- " * 45_000,
    "question marks": "? " * 45_000,
    "equal keys": "seed: 1\n" * 9_000,
    "different keys": "".join(f"k{i}: 1\n" for i in range(9_000)),
    "nested keys that repeat": "data: {folder: a, folder: b}",
    "a number in base 16": "seed: 0x" + "F" * 90_000,
    "a number in base 60": "seed: 1" + ":59" * 30_000,
    "a fraction in base 60": "seed: 1" + ":59" * 30_000 + ".5",
    "a number of digits": "seed: " + "9" * 90_000,
    "a tagged number": "seed: !!int ''",
    "a tagged truth": "seed: !!bool maybe",
    "a tagged date": "seed: !!timestamp x",
    "a tagged object": "seed: !!python/object/apply:os.system ['true']",
    "a day that never was": "seed: 2001-02-31",
    "a long word": "name: " + "x" * 90_000,
    "a long key": "x" * 90_000 + ": 1",
    "a long kind": "schedule: {kind: " + "x" * 50_000 + "}",
    "an open quotation": 'name: "' + "x\n" * 40_000,
    "an open block": "name: |\n" + "  x\n" * 20_000,
    "tabs": "\tseed: 1",
    "a null byte": "seed: \0",
    "two documents": "seed: 1\n---\nseed: 2",
    "escapes": 'name: "' + "\\u2028" * 9_000 + '"',
    "too large": "#" * 200_000,
    "empty": "",
}


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_recipes_are_refused_at_once(tmp_path, case):
    path = written(tmp_path, CRAFTED[case].encode())
    assert not attempt("recipe: crafted", CRAFTED[case], lambda: run_name(load_recipe(path), {}))
    assert not attempt("study: crafted", CRAFTED[case], lambda: load_study(path))


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "/", "a\0b", "x" * 5000, "missing.yaml"])
def test_what_is_no_file_of_text(place):
    assert not attempt("recipe: no file", place, lambda: load_recipe(place))


@pytest.mark.parametrize(
    "override",
    [
        "a." * 3000 + "b=1",
        "seed=" + "[" * 5000,
        "seed=0x" + "F" * 60_000,
        "seed=1" + ":59" * 20_000,
        "name=\ud800",
        "seed=\n\n",
        "name='a\nb'",
    ],
)
def test_crafted_overrides_are_refused_at_once(override):
    assert not attempt("--set: crafted", override, lambda: run_name(resolve({}, [override]), {}))


def test_values_from_python_are_refused_at_once():
    for depth, (one, other) in itertools.product((500, 5_000), ((nested, "seed"), (nested, "task"))):
        assert not attempt(
            "recipe: values from Python",
            (depth, other),
            lambda one=one, other=other, depth=depth: resolve({other: one(depth)}),
        )
    # What Python itself refuses to print.
    for raw in ({"seed": 10**5000}, {"finetune": {"num_epochs": -(10**5000)}}, {"finetune": {10**5000: 1}}):
        assert not attempt("recipe: values from Python", "10**5000", lambda raw=raw: resolve(raw))
    for changed in ({"budget": 10**5000}, {"budget": [10**5000]}, {"seeds": [10**5000]}, {10**5000: 1}):
        assert not attempt(
            "study: values from Python", "10**5000", lambda changed=changed: resolve_study(STUDY | changed)
        )


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    text = "\ufeff" + yaml.safe_dump({"seed": 3}).replace("\n", "\r\n")
    assert load_recipe(written(tmp_path, text.encode())).seed == 3
