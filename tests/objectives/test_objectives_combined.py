"""The contract for objectives made of others, and that none is left out."""

import importlib

import pytest
from objective_contract import ObjectiveContract, entropy
from objective_kit import OBJECTIVES, pairing
from tiny_models import batch_of, random_rows

from minidisc_ray.configs.objective import LTSDConfig, PartConfig, SumConfig
from minidisc_ray.configs.objective_base import ObjectiveBase


class TestSum(ObjectiveContract):
    name = "sum"

    def minimum(self, terms, target, batch):
        assert set(terms) == {"od.logits", "hs.hidden", "ltad.queries", "ltad.keys", "ltad.values"}
        return {**dict.fromkeys(terms, 0.0), "od.logits": 2 * entropy(target.logits)}


class TestSequence(ObjectiveContract):
    name = "sequence"

    def test_phases_have_their_shares(self, pair, batch):
        seen = []
        for fraction in (0.0, 0.74, 0.75, 1.0):
            pair.objective.set_progress(fraction)
            seen.append(set(pair.terms(batch)))
        relations = {"ltad.queries", "ltad.keys", "ltad.values"}
        assert seen == [relations] * 2 + [{"kd.logits", "kd.labels"}] * 2


def test_every_objective_is_under_contract():
    for sources in ("minidisc", "comparison", "distiller"):
        importlib.import_module(f"test_objectives_{sources}")

    def leaves(case):
        return [leaf for sub in case.__subclasses__() for leaf in (leaves(sub) or [sub])]

    assert sorted(case.name for case in leaves(ObjectiveContract)) == sorted(OBJECTIVES)
    kinds = {config.kind for config in OBJECTIVES.values()}
    known = {case.model_fields["kind"].default for case in ObjectiveBase.__subclasses__()}
    assert kinds == known


def test_a_sum_of_one_part_is_that_part():
    alone = pairing(LTSDConfig())
    batch = batch_of(random_rows(6), alone.student)
    summed = pairing(SumConfig(parts=(PartConfig(weight=3.0, objective=LTSDConfig()),)))
    expected = {f"ltsd.{name}": 3 * value.item() for name, value in alone.terms(batch).items()}
    assert {name: value.item() for name, value in summed.terms(batch).items()} == pytest.approx(expected)
