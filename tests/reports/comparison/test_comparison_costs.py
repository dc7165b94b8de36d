"""Lost, idle and paid: in tables only where there is something to tell, in csv, json and the page always."""

import json
from typing import Any

import pytest
from reports_builder import report_page, run_result, several_seeds

from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.run_files.result import RunResult, load_result
from minidisc_ray.run_files.result_costs import AttemptCost, CostRecord


def with_costs(run: RunResult, **changes: Any) -> RunResult:
    cost = CostRecord.model_validate(run.cost.model_dump() | changes)
    return run.model_copy(update={"cost": cost})


def attempt(number: int, status: str, useful: float, lost: float, idle: float) -> AttemptCost:
    return AttemptCost(
        stage="distil", trial="main", number=number, status=status, node="node-<7>", device_type="cpu-core",
        device_model="Xeon", devices=4, seconds=900 * (useful + lost), useful_device_hours=useful,
        lost_device_hours=lost, idle_device_hours=idle,
    )  # fmt: skip


def disturbed() -> RunResult:
    attempts = (attempt(1, "failed", 0.5, 0.25, 0.01), attempt(2, "finished", 1.25, 0.0, 0.0023))
    return with_costs(
        run_result("minidisc"), useful_device_hours=1.75, lost_device_hours=0.25, attempts=attempts,
        price_per_device_hour=2.5, price=5.03075, currency="EUR", energy_joules=7.2e6,
    )  # fmt: skip


def test_undisturbed_runs_without_a_price_have_the_columns_that_they_had():
    text = render(compare(several_seeds()), "table", width=220)
    assert "Lost" not in text
    assert "Price" not in text


@pytest.mark.parametrize("format_", ["table", "md"])
def test_what_was_lost_and_paid_has_columns_and_notes(format_):
    text = " ".join(render(compare([run_result(), disturbed()]), format_, width=220).split())
    assert "Lost" in text
    assert "0.250" in text
    assert "(EUR)" in text
    assert "5.03" in text
    assert "work after the last checkpoint of attempts that failed" in text
    assert "Price: of useful, lost and start-up hours" in text
    assert "1.75" in text


def test_csv_and_json_carry_all_of_it():
    frame = compare([run_result(), disturbed()])
    assert {"useful_device_hours", "lost_device_hours", "idle_device_hours", "attempts", "price", "currency"} <= {
        *render(frame, "csv").splitlines()[0].split(",")
    }
    by_method = {row["method"]: row for row in json.loads(render(frame, "json"))}
    row = by_method["MiniDisc"]
    assert (row["useful_device_hours"], row["lost_device_hours"], row["idle_device_hours"]) == (1.75, 0.25, 0.0123)
    assert (row["attempts"], row["price"], row["currency"], row["energy_joules"]) == (2.0, 5.03075, "EUR", 7.2e6)
    assert by_method["Conventional"]["price"] is None
    assert by_method["Conventional"]["lost_device_hours"] == 0.0
    # Lost hours are charged: the ratio is of useful and lost ones together, as before they were told apart.
    assert row["device_hours_ratio"] == 1.0


def test_prices_of_two_currencies_are_never_averaged():
    dollars = with_costs(run_result("minidisc", seed=1), price_per_device_hour=1.0, price=2.0, currency="USD")
    row = json.loads(render(compare([disturbed(), dollars]), "json"))[1]
    assert (row["price"], row["currency"]) == (None, None)


def test_the_page_tells_costs_by_stage_and_every_attempt_where_one_failed():
    page = report_page(disturbed())
    assert "Every attempt of this run" in page
    assert "node-&lt;7&gt;" in page
    assert "5.03 EUR, at 2.50 EUR each" in " ".join(page.split())
    assert "used 2 kWh" in " ".join(page.split())
    for heading in ("Attempts", "Useful core-hours", "Lost", "Idle"):
        assert f"<th>{heading}</th>" in page
    quiet = report_page(run_result())
    assert "Every attempt of this run" not in quiet
    assert "kWh" not in quiet
    assert "EUR" not in quiet


def test_a_result_of_before_losses_were_counted_loads_as_all_useful(tmp_path):
    raw = json.loads(run_result("maxidisc").model_dump_json())
    new = {
        "useful_device_hours", "lost_device_hours", "idle_device_hours", "attempts", "energy_joules",
        "price_per_device_hour", "price", "currency",
    }  # fmt: skip
    raw["cost"] = {key: value for key, value in raw["cost"].items() if key not in new}
    raw["cost"]["stages"] = [
        {key: value for key, value in stage.items() if key not in new} for stage in raw["cost"]["stages"]
    ]
    (tmp_path / "result.json").write_text(json.dumps(raw))
    cost = load_result(tmp_path).cost
    assert (cost.useful_device_hours, cost.lost_device_hours, cost.price) == (cost.device_hours, 0.0, None)
    assert cost.priced_device_hours == pytest.approx(cost.device_hours + 0.0123)
    assert all(stage.useful_device_hours == stage.device_hours for stage in cost.stages)
    assert "Lost" not in render(compare([load_result(tmp_path)]), "md")
