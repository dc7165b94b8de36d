"""Data files as no one should write them: every one is read, or refused in a sentence."""

import csv
import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from fuzz_kit import TIMES, attempt, fuzz, mutated, nested
from hypothesis import strategies as st

from minidisc_ray.configs.loader import resolve
from minidisc_ray.data import load_splits, read_texts

ROWS = [{"text": f"a row, number {i}", "label": ("no", "yes")[i % 3 == 0], "idx": i} for i in range(24)]
TASKS = [
    {"kind": "classification"},
    {"kind": "classification", "label_names": ["no", "yes"]},
    {"kind": "regression"},
    {"kind": "classification", "text": ["text", "idx"]},
    {"kind": "multilabel", "label": "label"},
    {"kind": "multilabel", "label": ["label", "idx"]},
]
WHICH_TASK = st.integers(0, len(TASKS) - 1)
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def delimited(separator: str, end: str = "\n") -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(ROWS[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    return buffer.getvalue().encode()


def parquet(columns: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


PARQUET = parquet({name: [row[name] for row in ROWS] for name in ROWS[0]})
SEEDS = {
    "jsonl": [LINES, b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n")],
    "csv": [delimited(","), delimited(",", "\r\n")],
    "tsv": [delimited("\t")],
    "parquet": [PARQUET],
}


@pytest.fixture
def read(tmp_path):
    """Reads bytes as the training file of an otherwise valid recipe."""
    valid = tmp_path / "validation.jsonl"
    rows = [{**row, "text": f"held out {row['idx']}", "idx": "second text"} for row in ROWS]
    valid.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def load(content: bytes, ending: str, task: int = 0) -> None:
        path = tmp_path / f"train.{ending}"
        path.write_bytes(content)
        files = {"kind": "files", "train": str(path), "validation": str(valid)}
        load_splits(resolve({"task": TASKS[task], "data": files}))

    return load


@pytest.mark.parametrize("ending", SEEDS)
@pytest.mark.parametrize("times", TIMES)
def test_damaged_files(read, ending, times):
    cases = st.tuples(mutated(SEEDS[ending]), WHICH_TASK)
    fuzz(f"file: damaged {ending}", cases, lambda given: read(given[0], ending, given[1]), 120 * times)


@pytest.mark.parametrize("ending", SEEDS)
@pytest.mark.parametrize("times", TIMES)
def test_bytes_that_are_no_file_of_its_kind(read, ending, times):
    others = [content for other, contents in SEEDS.items() if other != ending for content in contents]
    cases = st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | st.sampled_from(others)
    fuzz(f"file: no {ending}", cases, lambda given: read(given, ending), 40 * times)


@pytest.mark.parametrize("times", TIMES)
def test_damaged_archives(read, times):
    whole = {ending: gzip.compress(contents[0], mtime=0) for ending, contents in SEEDS.items() if ending != "parquet"}
    for ending, packed in whole.items():
        ends = st.integers(0, len(packed) - 1).map(lambda end, packed=packed: packed[:end])
        cases = mutated([packed]) | ends
        fuzz("file: damaged gz", cases, lambda given, ending=ending: read(given, f"{ending}.gz"), 40 * times)


def odd_cells() -> st.SearchStrategy:
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(
            [
                "",
                " ",
                "\0",
                "\n",
                "\ud800",
                "\u202e",
                "-1",
                "1e999",
                "nan",
                "x" * 3000,
                10**400,
                10**4000,
                -0.0,
                "no",
                "yes",
            ]
        ),
    )
    return plain | st.lists(plain, max_size=2) | st.dictionaries(st.text(max_size=2), plain, max_size=2)


def tables() -> st.SearchStrategy:
    """Rows of which some have cells of another kind, lack one, or have one more."""
    names = st.sampled_from(["text", "label", "idx", "text ", "", "LABEL", "\0", "\ud800"])
    changes = st.lists(st.tuples(st.integers(0, len(ROWS) - 1), names, odd_cells()), min_size=1, max_size=5)

    def changed(given):
        rows = [dict(row) for row in ROWS]
        for place, name, value in given:
            rows[place][name] = value
            if value is None:
                del rows[place][name]
        return rows

    return changes.map(changed)


@pytest.mark.parametrize("times", TIMES)
def test_lines_with_cells_of_another_kind(read, times):
    def lines(given):
        rows, task = given
        read("".join(json.dumps(row) + "\n" for row in rows).encode(), "jsonl", task)

    fuzz("file: odd cells in jsonl", st.tuples(tables(), WHICH_TASK), lines, 200 * times)


@pytest.mark.parametrize("times", TIMES)
def test_tables_with_cells_of_another_kind(read, times):
    def comma(given):
        rows, task = given
        head = list(dict.fromkeys(name for row in rows for name in row))
        lines = [head, *([row.get(name, "") for name in head][: 1 + len(row)] for row in rows)]
        text = "\n".join(",".join(str(cell)[:4000] for cell in line) for line in lines)
        read(text.encode("utf-8", "surrogatepass"), "csv", task)

    few = tables().filter(
        lambda rows: not any(isinstance(cell, int) and cell > 10**4000 for row in rows for cell in row.values())
    )
    fuzz("file: odd cells in csv", st.tuples(few, WHICH_TASK), comma, 120 * times)


@pytest.mark.parametrize("times", TIMES)
def test_parquet_with_columns_of_another_kind(read, times):
    kinds = [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.binary(),
        pyarrow.int8(),
        pyarrow.float16(),
        pyarrow.bool_(),
        pyarrow.null(),
    ]
    kinds += [
        pyarrow.timestamp("ns"),
        pyarrow.list_(pyarrow.string()),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
    ]
    kinds += [pyarrow.decimal128(5, 2), pyarrow.struct([("a", pyarrow.int8())]), pyarrow.duration("s")]

    def write(given):
        (one, other), count, task = given
        columns = {
            "text": pyarrow.nulls(count, one),
            "label": pyarrow.nulls(count, other),
            "idx": pyarrow.nulls(count, one),
        }
        read(parquet(columns), "parquet", task)

    cases = st.tuples(st.tuples(st.sampled_from(kinds), st.sampled_from(kinds)), st.integers(0, 3), WHICH_TASK)
    fuzz("file: odd columns in parquet", cases, write, 60 * times)


CRAFTED = {
    "deep lines": b'{"text": ' + b"[" * 5000,
    "a deep label": json.dumps({"text": "a", "label": nested(400)}).encode(),
    "a label of digits": b'{"text": "a", "label": ' + b"9" * 5000 + b"}",
    "a huge line": b'{"text": "' + b"x" * 5_000_000 + b'"}',
    "no object": b"[1, 2]\n",
    "lone surrogates": b'{"text": "\\ud800", "label": "no"}\n' * 20,
    "null bytes": b"\0" * 10_000,
    "empty lines": b"\n" * 100_000,
    "one column": b'{"text": "a"}\n' * 20,
    "one class": b'{"text": "a", "label": 0}\n' * 20,
    "no labels": b'{"text": "a", "label": null}\n' * 20,
    "the GLUE test set": b'{"text": "a", "label": -1}\n{"text": "b", "label": 0}\n' * 20,
    "a huge header": b"x," * 200_000 + b"\n",
    "quotation marks": b'text,label\n"' * 3000,
    "separators": b"," * 200_000 + b"\n1",
    "text,label": b"text,label\n",
}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "jsonl.gz", "csv.gz", "parquet"])
@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_files_are_refused_at_once(read, case, ending):
    content = gzip.compress(CRAFTED[case]) if ending.endswith(".gz") else CRAFTED[case]
    assert not attempt("file: crafted", (ending, case), lambda: read(content, ending))


@pytest.mark.parametrize(
    "present", [[], ["train.csv"], ["validation.csv"], ["train.csv", "train.jsonl"], ["train.txt", "dev.csv"]]
)
def test_folders_without_a_split(tmp_path, present):
    for name in present:
        (tmp_path / name).write_bytes(delimited(","))
    raw = {"task": TASKS[0], "data": {"kind": "files", "folder": str(tmp_path)}}
    assert not attempt("folder: missing splits", present, lambda: load_splits(resolve(raw)))


@pytest.mark.parametrize("times", TIMES)
def test_texts_to_be_predicted(tmp_path, times):
    path = tmp_path / "new.jsonl"

    def predict(content: bytes) -> None:
        path.write_bytes(content)
        read_texts(path, ["text"])

    fuzz("file: damaged, to be predicted", mutated([LINES]), predict, 60 * times)


def test_long_reviews_with_line_breaks_are_read_in_no_time(read):
    """Whether a stray quotation mark has swallowed rows was once asked of every row for every row."""
    rows = "".join(f'"Row {i}, good,\nreally, {i}",{("no", "yes")[i % 2]}\n' for i in range(20_000))
    assert attempt("file: crafted", "reviews", lambda: read(f"text,label\n{rows}".encode(), "csv"))
