"""Small files that stand for far more than their bytes, read where memory is short."""

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from fuzz_kit import MOST_MEBIBYTES, PEAKS, REFUSED, TRIED, attempt, peak_mebibytes

# Address space of the reading process beyond what it has when everything is imported.
ROOM_BYTES = 1_200 * 2**20
READ = """
import resource, sys
from pathlib import Path
from minidisc_ray.configs.base import UserError
from minidisc_ray.data.files import read_file
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for name in sys.argv[2:]:
    try:
        read_file(Path(name), "data.train", {"text": "text", "label": "label"})
    except UserError as error:
        print(error)
    else:
        print("READ")
"""


def packed(path: Path, head: bytes, unit: bytes, mebibytes: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        block = unit * (2**20 // len(unit))
        for _ in range(mebibytes):
            file.write(block)
    return path


def equal_rows(path: Path, rows: int, text: str) -> Path:
    """A Parquet file whose every row is the same."""
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.nulls(rows, pyarrow.int32()).fill_null(0), [text])
    table = pyarrow.table({"text": values, "label": values})
    pyarrow.parquet.write_table(table, path, compression="zstd")
    return path


def test_bombs_are_refused_and_memory_stays_bounded(tmp_path):
    bombs = [
        packed(tmp_path / "line.jsonl.gz", b'{"text": "', b"x", 80),
        packed(tmp_path / "rows.jsonl.gz", b"", b'{"text": "a", "label": 0}\n', 80),
        packed(tmp_path / "header.csv.gz", b"", b"text", 80),
        packed(tmp_path / "rows.csv.gz", b"text,label\n", b"a,0\n", 80),
        packed(tmp_path / "field.tsv.gz", b'text\tlabel\n"', b"a", 80),
        equal_rows(tmp_path / "rows.parquet", 5_000_000, "a"),
        equal_rows(tmp_path / "texts.parquet", 100_000, "x" * 100_000),
    ]
    done = subprocess.run(
        [sys.executable, "-c", READ, str(ROOM_BYTES), *map(str, bombs)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    message = done.stdout.splitlines()
    assert len(message) == len(bombs)
    for path, sentence in zip(bombs, message, strict=True):
        assert path.stat().st_size < 4 * 2**20
        # What a dictionary hides shows only when there is no room for it.
        refusals = ("unpacks to more than 100 times its size", "cannot be read as parquet (MemoryError)")
        assert sentence.startswith(tuple(f"data.train: {path.name} {refusal}" for refusal in refusals)), sentence
        TRIED["file: bombs"].add(hash(path.name))
        REFUSED["file: bombs"] += 1


def test_real_data_that_packs_well_is_read(tmp_path):
    path = packed(tmp_path / "rows.jsonl.gz", b"", b'{"text": "a film like any other", "label": 1}\n', 8)
    from minidisc_ray.data.files import read_file

    assert attempt(
        "file: packs well", "rows", lambda: read_file(path, "data.train", {"text": "text", "label": "label"})
    )


def test_everything_together_was_enough_and_took_little_memory():
    """Runs last, by its file's name: what all the files before it have tried."""
    kinds = {kind.partition(":")[0] for kind in TRIED}
    if not {"recipe", "study", "--set", "file", "name"} <= kinds:
        pytest.skip("only some of the inputs were tried")
    assert REFUSED.total() >= 2000
    assert peak_mebibytes() - PEAKS[0] < MOST_MEBIBYTES
