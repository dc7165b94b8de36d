import pytest
from findings_kit import FEW, METHODS
from pipeline_kit import random_teacher
from study_kit import cells_of, study_of

from minidisc_ray.configs.loader import resolve
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.study.answers import FinishedRun
from minidisc_ray.study.findings import Findings, findings_of


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[FinishedRun]:
    folder = tmp_path_factory.mktemp("findings")
    (teacher,) = random_teacher(folder / "teacher")
    tasks = {"builtin": {"data": {"train_rows": 64, "validation_rows": 64}}}
    study = study_of(folder, methods=METHODS, scales=[10], teachers=None, tasks=tasks)
    found = []
    for cell in cells_of(study, folder / "runs"):
        prepared = prepare(resolve(cell.config.model_dump(mode="json"), [teacher]))
        found.append(FinishedRun(cell, prepared, run_in_process(prepared)))
    return found


@pytest.fixture(scope="session")
def findings(runs: list[FinishedRun]) -> Findings:
    return findings_of(runs, FEW)
