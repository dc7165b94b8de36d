"""Quotation marks in CSV and TSV: what encloses a cell, what is text, and files in which neither can be."""

import csv

import pandas as pd
import pytest

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import load_splits, read_texts
from minidisc_ray.data.files import read_file

WANTED = {"text": "text", "label": "label"}
READS = "data.train: x.{ending} has rows of unequal width where quotation marks "


def read(path, content, quoting=None, wanted=WANTED):
    path.write_text(content, encoding="utf-8", newline="")
    return read_file(path, "data.train", wanted, quoting)


def refused(path, content, quoting=None, wanted=WANTED):
    with pytest.raises(UserError) as caught:
        read(path, content, quoting, wanted)
    return str(caught.value)


class TestTsv:
    def test_quotation_marks_are_text(self, tmp_path):
        table = read(tmp_path / "x.tsv", 'text\tlabel\n"stray\tno\nanother"\tyes\n"both"\tno\nit is 5" wide\tno\n')
        assert table.columns == {
            "text": ['"stray', 'another"', '"both"', 'it is 5" wide'],
            "label": ["no", "yes", "no", "no"],
        }
        assert table.note is None

    def test_what_else_ends_lines_elsewhere_is_text(self, tmp_path):
        table = read(tmp_path / "x.tsv", "text\tlabel\r\na\u2028b\x85c\x0bd\tno\r\n\r\ne\rf\tyes")
        assert table.columns == {"text": ["a\u2028b\x85c\x0bd", "e\rf"], "label": ["no", "yes"]}

    def test_csv_quoting_when_asked_for(self, tmp_path):
        frame = pd.DataFrame({"text": ['two\nlines with a "mark"', "tab\there"], "label": ["no", "yes"]})
        frame.to_csv(tmp_path / "x.tsv", sep="\t", index=False)
        content = (tmp_path / "x.tsv").read_text()
        assert read(tmp_path / "x.tsv", content, "csv").columns["text"] == frame["text"].tolist()
        # By default it is refused, with the key that reads it.
        assert refused(tmp_path / "x.tsv", content) == (
            READS.format(ending="tsv") + "are text: row 1 has 1 cells and the header 2; set data.quoting: csv ("
            "quotation marks enclose cells), which gives rows of equal width"
        )

    def test_marks_that_a_csv_writer_put_are_noted(self, tmp_path):
        table = read(tmp_path / "x.tsv", 'text\tlabel\n"a ""mark"""\tno\nplain\tyes\n')
        assert table.columns["text"] == ['"a ""mark"""', "plain"]
        assert table.note == (
            "data.train: 1 cells of x.tsv are enclosed in quotation marks, which are read as text; set data.quoting: "
            "csv to remove them"
        )

    def test_glues_own_files(self, tmp_path, real_data):
        """As GLUE ships them, cell by cell: no mark of any text is lost."""
        found = 0
        for task, names in (("mrpc", ("sentence1", "sentence2")), ("rte", ("sentence1", "sentence2"))):
            frame = pd.read_json(real_data / task / "validation.jsonl.gz", lines=True)
            frame = frame[~frame[list(names)].apply(lambda text: text.str.contains("[\t\n]")).any(axis=1)]
            wanted = {name: name for name in (*names, "label")}
            lines = ["\t".join([*names, "label"])]
            lines += ["\t".join(map(str, row)) for row in frame[[*names, "label"]].itertuples(index=False)]
            table = read(tmp_path / f"{task}.tsv", "\n".join(lines) + "\n", wanted=wanted)
            assert [table.columns[name] for name in names] == [frame[name].tolist() for name in names]
            found += sum('"' in text for text in table.columns["sentence1"])
        assert found > 20


class TestCsv:
    @pytest.mark.parametrize("lines", [2, 21, 300])
    def test_any_number_of_lines(self, tmp_path, lines):
        mail = "\r\n".join(f"line {i}, with a comma and a mark" + "," * (i % 3) for i in range(lines))
        frame = pd.DataFrame({"text": [mail, "short", mail + "!"], "label": [1, 2, 1]})
        frame.to_csv(tmp_path / "x.csv", index=False)
        assert read_file(tmp_path / "x.csv", "data.train", WANTED).columns["text"] == frame["text"].tolist()

    def test_a_cell_longer_than_the_csv_modules_limit(self, tmp_path):
        before = csv.field_size_limit()
        text = "word, " * 50_000 + "end"
        assert read(tmp_path / "x.csv", f'text,label\n"{text}",no\n').columns["text"] == [text]
        assert csv.field_size_limit() == before

    def test_one_column_of_many_lines(self, tmp_path):
        (tmp_path / "x.csv").write_text('text\n"two\nlines"\nplain\n')
        assert read_texts(tmp_path / "x.csv", ["text"]).rows.texts == (["two\nlines", "plain"],)

    def test_a_mark_within_a_cell_is_text(self, tmp_path):
        assert read(tmp_path / "x.csv", 'text,label\nit is 5" wide,no\n').columns["text"] == ['it is 5" wide']

    @pytest.mark.parametrize(
        "content",
        [
            'text,label\n"stray,no\nanother",yes\nthird,no\n',
            'text,label\n"stray,no\nmore,yes\r\nanother",yes\nthird,no\n',
            'idx,text,label\n1,"stray,no\n2,another",yes\n3,third,no\n',
            'label,text\nno,"stray\nyes,another"\nyes,third\n',
            # No value tells rows from a text, as each line ends in another number; that all fit the header does.
            'text,label\n"' + "".join(f"line {i},{i}\n" for i in range(30)) + '",80\n',
        ],
    )
    def test_rows_that_a_stray_mark_may_have_swallowed(self, tmp_path, content):
        assert refused(tmp_path / "x.csv", content) == (
            "data.train: row 1 of x.csv runs over several lines that could be rows of their own; set data.quoting: "
            "none if quotation marks are text, csv if they enclose cells"
        )
        rows = content.count("\n") - 1
        assert len(read(tmp_path / "x.csv", content, "none").columns["text"]) == rows
        assert len(read(tmp_path / "x.csv", content, "csv").columns["text"]) < rows

    @pytest.mark.parametrize("content", ['text,label\n"stray,no\nb,yes\n', 'text,label\n"a" b,no\nc,yes\n'])
    def test_marks_that_enclose_nothing(self, tmp_path, content):
        message = refused(tmp_path / "x.csv", content)
        assert message.startswith(
            READS.format(ending="csv") + "enclose cells: row 1 has a quotation mark that encloses no cell ("
        )
        assert message.endswith("; set data.quoting: none (quotation marks are text), which gives rows of equal width")
        assert len(read(tmp_path / "x.csv", content, "none").columns["text"]) == 2

    @pytest.mark.parametrize("ending", ["csv", "tsv"])
    @pytest.mark.parametrize("row", [["a", "b", "no"], ["a"]])
    def test_neither_reading_fits(self, tmp_path, ending, row):
        separator = "," if ending == "csv" else "\t"
        lines = [["text", "label"], ["c", "yes"], row]
        message = refused(tmp_path / f"x.{ending}", "".join(separator.join(cells) + "\n" for cells in lines))
        ours, other, key = (
            ("enclose cells", "are text", "none") if ending == "csv" else ("are text", "enclose cells", "csv")
        )
        assert message == READS.format(ending=ending) + (
            f"{ours}: row 2 has {len(row)} cells and the header 2; with data.quoting: {key} (quotation marks "
            f"{other}), row 2 has {len(row)} cells and the header 2; correct the file, or use .jsonl"
        )


def test_the_key_reaches_every_split(recipe, tmp_path):
    files = {}
    for name, rows in (("train", 40), ("validation", 20), ("selection", 16)):
        path = tmp_path / f"{name}.tsv"
        lines = [f'"{name} ""{i}"""\t{("no", "yes")[i % 2]}' for i in range(rows)]
        path.write_text("\n".join(["text\tlabel", *lines]) + "\n")
        files[name] = str(path)
    plain = load_splits(recipe(data=files))
    assert plain.train.texts[0][0] == '"train ""0"""'
    assert [note.split(":")[0] for note in plain.notes] == ["data.train", "data.validation", "data.selection"]
    splits = load_splits(recipe(data={**files, "quoting": "csv"}))
    assert splits.notes == ()
    texts = [splits.train.texts[0][0], splits.validation["validation"].texts[0][0], splits.selection.texts[0][0]]
    assert texts == ['train "0"', 'validation "0"', 'selection "0"']


def test_predicted_texts(tmp_path):
    (tmp_path / "x.tsv").write_text('text\n"a"\n"b" c\n')
    assert read_texts(tmp_path / "x.tsv", ["text"]).rows.texts == (['"a"', '"b" c'],)
    with pytest.raises(UserError, match=r"set --quoting none \(quotation marks are text\)"):
        read_texts(tmp_path / "x.tsv", ["text"], "csv")


@pytest.mark.parametrize(("content", "row"), [('text\na\n""\nb\n', 2), ("text\na\n\n  \nb\n", None)])
def test_no_row_of_one_column_is_dropped(tmp_path, content, row):
    """An empty line is none, a quoted empty cell is a missing text, and blanks are a text of blanks."""
    (tmp_path / "x.csv").write_text(content)
    if row is None:
        assert read_texts(tmp_path / "x.csv", ["text"]).rows.texts == (["a", "  ", "b"],)
        return
    with pytest.raises(UserError, match=f'"text" is missing in row {row} of x.csv'):
        read_texts(tmp_path / "x.csv", ["text"])


def test_a_header_in_quotation_marks(tmp_path):
    content = '"text"\t"label"\n"a"\t"no"\n'
    assert refused(tmp_path / "x.tsv", content) == (
        "data.train: the columns of x.tsv are named in quotation marks, which are text here; set data.quoting: csv if "
        "they enclose cells"
    )
    assert read(tmp_path / "x.tsv", content, "csv").columns == {"text": ["a"], "label": ["no"]}
