"""Results that no run wrote: each is refused in one sentence, and hides no other."""

import json

import pytest
from reports_builder import run_result

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.storage.listing import listing
from minidisc_ray.run_files.result import load_result


def student(changes):
    return lambda raw: raw["student"].update(changes)


def cost(changes):
    return lambda raw: raw["cost"].update(changes)


DAMAGES = {
    "integer": (student({"total_parameters": 10**400}), "student.total_parameters"),
    "share": (student({"scale_percent": -(10**30)}), "student.scale_percent"),
    "float": (cost({"device_hours": 1e308}), "cost.device_hours"),
    "integer for a float": (cost({"training_flops": 10**400}), "cost.training_flops"),
    "in a list": (lambda raw: raw["candidates"][1].update(lambda_tradeoff=1e300), "candidates.1.lambda_tradeoff"),
    "next to nothing": (cost({"device_hours": 5e-324}), "cost.device_hours"),
    "no number": (cost({"price": float("nan")}), "cost.price"),
    "text": (lambda raw: (raw["cost"].update(lost_device_hours="x"), raw["cost"].pop("useful_device_hours")), "cost"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_number_that_no_run_has_is_refused_and_hides_no_other_run(tmp_path, name):
    change, key = DAMAGES[name]
    raw = json.loads(run_result("maxidisc").model_dump_json())
    for folder, is_damaged in (("whole", False), ("damaged", True)):
        if is_damaged:
            change(raw)
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "result.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"damaged/result\.json: not a whole result \({key}.*run the recipe again"):
        load_result(tmp_path / "damaged")
    assert load_result(tmp_path / "whole").name
    assert {entry.name: entry.state for entry in listing(tmp_path)} == {"whole": "finished", "damaged": "damaged"}
