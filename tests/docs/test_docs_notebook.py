"""The notebook runs from its first cell to its last, offline; its stored copy has no outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


# A minute of processor time, half of it imports and the start of Ray: .ci/run calls it by name.
@pytest.mark.slow
@pytest.mark.timeout(580)
def test_every_cell_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    NotebookClient(notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = {
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", {output.output_type: None})
    }
    assert {"image/png", "text/html", "stream"} <= shown, "a figure, tables and what was printed"
    assert (tmp_path / "quickstart-student" / "modeling_minidisc.py").is_file()
    labels = str(notebook.cells[-2].outputs[-1]["data"]["text/plain"])
    assert labels.count("'label'") == 3
