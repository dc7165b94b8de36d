"""A sweep is disturbed for real, and ends as if it had not been."""

import os
import random
import time
from pathlib import Path

import pytest
from chaos_kit import Meter, Nodes, Sweep, end, leftovers, poll
from faults import FAULTS, NEED_A_DISK, Aim, Fault, inject
from ray_kit import RAY_WARNINGS, numbers
from rich.console import Console
from rich.table import Table
from storage_kit import mount, unmount

from minidisc_ray.accounting.cost import shares

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600), *RAY_WARNINGS]

IS_ROOT = os.geteuid() == 0
SEED = int(os.environ.get("MINIDISC_CHAOS_SEED", "0"))
NUM_FAULTS = int(os.environ.get("MINIDISC_CHAOS_FAULTS", "50"))
STAGES = ("teacher", "importance", "sandwich", "assistant", "student")
# An epoch.
STEPS_PER_CHECKPOINT = 8
# A disturbed sweep takes a minute or two; faults are spread over it.
SECONDS_BETWEEN = 12.0
# Early within a stage's 192, which a quiet machine does in a second or two.
STEPS_TO_HIT = (10, 80)
TRAINED = ("teacher", "sandwich", "assistant", "student")
# A sweep with one of these alone has something to try again.
END_A_PROCESS = {name for name in FAULTS if name.startswith("worker")} - {"worker out of memory"}
OVER = Fault("none", "", 0, "the sweep was over before")
_rows: list[tuple[str, ...]] = []


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = Sweep(folder, nodes.address, folder / "storage")
    sweep.start()
    assert sweep.wait(900) == 0, (folder / "driver-001.log").read_text()
    return {name: numbers(result) for name, result in sweep.results().items()}


@pytest.fixture(scope="module", autouse=True)
def summary():
    yield
    table = Table("Fault", "While in", "Survived", "Steps redone", "Lost, s", "Held, s", "Ledger error, s", "Holds")
    for row in _rows:
        table.add_row(*row)
    Console(width=160).print(table)


def check(sweep: Sweep, undisturbed, meter: Meter, faults: list[Fault]) -> None:
    """Results, ledger, and what is left."""
    meter.stop()
    found = {name: numbers(result) for name, result in sweep.results().items()}
    holds = [attempt for attempt in sweep.attempts() if attempt.kind == "hold"]
    held, metered = sum(a.seconds * a.devices for a in holds), meter.cpu_seconds()
    is_same = found == undisturbed
    lost = sum(share.lost for share in shares(sweep.attempts()))
    for number, fault in enumerate(faults):
        last = number == len(faults) - 1
        ends = (f"{lost:.1f}", f"{held:.1f}", f"{held - metered:+.1f}", str(len(holds))) if last else ("",) * 4
        outage = f", {sweep.outage_seconds:g} s" if fault.name in NEED_A_DISK else ""
        _rows.append((fault.name + outage, fault.stages, "yes" if is_same else "NO", str(fault.steps_redone), *ends))
    assert found == undisturbed
    assert all(fault.steps_redone <= STEPS_PER_CHECKPOINT for fault in faults), faults
    is_counted = abs(held - metered) <= max(0.02 * metered, 2.0 * len(holds))
    assert is_counted, f"{held:.1f} s held, {metered:.1f} s metered\n{message(sweep, meter)}"
    assert poll(lambda: not leftovers(sweep.address, sweep.storage), 30), leftovers(sweep.address, sweep.storage)


def message(sweep: Sweep, meter: Meter) -> str:
    """What the ledgers and the meter say, one time held a line, in seconds since the first of them."""
    holds = [
        (a.started_at, a.started_at + a.seconds, f"{a.trial} {a.status}") for a in sweep.attempts() if a.kind == "hold"
    ]
    lives = [
        (life.granted_at, life.ended_at or 0, "metered")
        for lives in meter.lives.values()
        for life in lives
        if life.cpus
    ]
    first = min(since for since, _, _ in holds + lives)
    return "\n".join(
        f"{since - first:8.1f} {until - first:8.1f}  {what}" for since, until, what in sorted(holds + lives)
    )


def disturbed(sweep: Sweep, nodes: Nodes, names: list[str], rng: random.Random, stage: str | None) -> list[Fault]:
    faults = []
    for number, name in enumerate(names):
        if number:
            time.sleep(rng.uniform(0, SECONDS_BETWEEN))
        aim = Aim(nodes, sweep, rng, stage, rng.randint(*STEPS_TO_HIT) if stage in TRAINED else 0)
        if fault := poll(lambda name=name, aim=aim: _hit(name, aim) if sweep.is_running else OVER, 300, every=0.02):
            if fault is OVER:
                break
            faults.append(fault)
    return faults


def _hit(name: str, aim: Aim) -> Fault | None:
    """A fault as soon as something is there that it can hit."""
    return inject(name, aim) if aim.sweep.live(aim.stage, aim.step) else None


def run(
    folder: Path, nodes: Nodes, undisturbed, names: list[str], rng: random.Random, stage: str | None = None, **more
):
    """One sweep with faults, each as soon as something runs, in a stage if one is named."""
    if IS_ROOT and NEED_A_DISK & set(names):
        mount(disk := folder / "disk", "256m")
        try:
            return _run(Sweep(folder, nodes.address, disk, **more), nodes, undisturbed, names, rng, stage)
        finally:
            unmount(disk)
    return _run(Sweep(folder, nodes.address, folder / "storage", **more), nodes, undisturbed, names, rng, stage)


def _run(sweep, nodes, undisturbed, names, rng, stage):
    meter = Meter(nodes.address)
    meter.start()
    sweep.start()
    try:
        faults = disturbed(sweep, nodes, names, rng, stage)
        code = sweep.wait(900)
    finally:
        end(sweep.process)
    logs = "".join(path.read_text() for path in sorted(sweep.folder.glob("driver-*.log")))
    assert code == 0, logs
    if len(faults) == 1 and faults[0].name in END_A_PROCESS:
        assert "goes on from its newest checkpoint" in logs, faults
    check(sweep, undisturbed, meter, faults)
    return faults


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_is_killed_in_every_stage(tmp_path, nodes, undisturbed, stage):
    assert run(tmp_path, nodes, undisturbed, ["worker killed (-9)"], random.Random(SEED), stage)


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "worker killed (-9)"])
def test_a_fault_is_survived(tmp_path, nodes, undisturbed, name):
    if name in NEED_A_DISK and not IS_ROOT:
        pytest.skip("only root can mount a small disk")
    assert run(tmp_path, nodes, undisturbed, [name], random.Random(SEED), "sandwich")


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount a small disk")
@pytest.mark.parametrize("name", sorted(NEED_A_DISK))
def test_a_storage_that_fails_for_a_minute_is_waited_for(tmp_path, nodes, undisturbed, name):
    patient = {"outage_seconds": 60.0, "options": ("--set", "recipe.compute.stall_seconds=600")}
    assert run(tmp_path, nodes, undisturbed, [name], random.Random(SEED), "sandwich", **patient)


@pytest.mark.chaos_long
def test_many_faults_in_a_row_are_survived(tmp_path, nodes, undisturbed):
    rng, done, number = random.Random(SEED), 0, 0
    kinds = [name for name in FAULTS if IS_ROOT or name not in NEED_A_DISK]
    while done < NUM_FAULTS:
        number += 1
        names = [rng.choice(kinds) for _ in range(min(5, NUM_FAULTS - done))]
        folder = tmp_path / f"sweep-{number:02d}"
        folder.mkdir()
        done += len(run(folder, nodes, undisturbed, names, rng))
