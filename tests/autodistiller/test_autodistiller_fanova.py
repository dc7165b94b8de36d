"""Variance shares of forests against functions whose decomposition is known."""

import itertools

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from minidisc_ray.autodistiller.importance.fanova import Domain, decompose


def _whole_tree(points: np.ndarray, values: np.ndarray) -> RandomForestRegressor:
    """A forest of one tree that knows every point."""
    return RandomForestRegressor(1, bootstrap=False, max_features=1.0, random_state=0).fit(points, values)


def _expected(table: np.ndarray, weights: list[np.ndarray]) -> dict[tuple[int, ...], float]:
    """Shares of a function on a full grid, from the definition: means over the other features."""
    joint = weights[0][:, None, None] * weights[1][None, :, None] * weights[2][None, None, :]
    mean = (table * joint).sum()
    variance = ((table - mean) ** 2 * joint).sum()
    letters = "abc"
    effects: dict[tuple[int, ...], np.ndarray] = {}
    shares = {}
    for place in range(3):
        others = [one for one in range(3) if one != place]
        formula = f"abc,{letters[others[0]]},{letters[others[1]]}->{letters[place]}"
        effects[(place,)] = np.einsum(formula, table, weights[others[0]], weights[others[1]]) - mean
        shares[(place,)] = (effects[(place,)] ** 2 @ weights[place]) / variance
    for one, two in itertools.combinations(range(3), 2):
        (other,) = {0, 1, 2} - {one, two}
        marginal = np.einsum(f"abc,{letters[other]}->{letters[one]}{letters[two]}", table, weights[other])
        joint_effect = marginal - mean - effects[(one,)][:, None] - effects[(two,)][None, :]
        shares[one, two] = (weights[one] @ joint_effect**2 @ weights[two]) / variance
    return shares


@pytest.mark.parametrize("kind", ["uniform", "weighted"])
def test_a_tree_that_knows_a_grid_has_the_shares_of_the_definition(kind: str) -> None:
    generator = np.random.default_rng(3)
    sizes = (5, 3, 4)
    table = generator.normal(size=sizes)
    weights = [np.full(size, 1 / size) if kind == "uniform" else generator.dirichlet(np.ones(size)) for size in sizes]
    points = np.array(list(itertools.product(*map(range, sizes))))
    found = decompose(_whole_tree(points, table.ravel()), [Domain(weights=tuple(one)) for one in weights])
    expected = _expected(table, weights)
    assert found.mains[0] == pytest.approx([expected[(place,)] for place in range(3)])
    assert {pair: values[0] for pair, values in found.pairs.items()} == pytest.approx(
        {pair: expected[pair] for pair in found.pairs}
    )


def test_shares_of_all_orders_add_up_to_one() -> None:
    table = np.random.default_rng(0).normal(size=(4, 6))
    points = np.array(list(itertools.product(range(4), range(6))))
    domains = [Domain(weights=(0.25,) * 4), Domain(weights=(1 / 6,) * 6)]
    found = decompose(_whole_tree(points, table.ravel()), domains)
    assert found.mains.sum() + found.pairs[0, 1][0] == pytest.approx(1.0)


def test_ishigami_shares_are_the_closed_form() -> None:
    # sin x + 7 sin^2 y + 0.1 z^4 sin x on [-pi, pi]^3 (Ishigami and Homma, 1990).
    points = np.random.default_rng(1).uniform(-np.pi, np.pi, (8000, 3))
    x, y, z = points.T
    values = np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)
    forest = RandomForestRegressor(4, min_samples_leaf=2, random_state=0).fit(points, values)
    found = decompose(forest, [Domain(-np.pi, np.pi)] * 3)
    variance = 49 / 8 + 0.1 * np.pi**4 / 5 + 0.01 * np.pi**8 / 18 + 0.5
    of_x, of_y, of_xz = 0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2, 49 / 8, 8 * 0.01 * np.pi**8 / 225
    assert found.mains.mean(axis=0) == pytest.approx([of_x / variance, of_y / variance, 0.0], abs=0.03)
    assert found.pairs[0, 2].mean() == pytest.approx(of_xz / variance, abs=0.03)
    assert found.pairs[0, 1].mean() == pytest.approx(0.0, abs=0.02)
    assert found.pairs[1, 2].mean() == pytest.approx(0.0, abs=0.02)


def test_trees_that_are_constant_are_left_out() -> None:
    forest = _whole_tree(np.array([[0], [1]]), np.array([2.0, 2.0]))
    found = decompose(forest, [Domain(weights=(0.5, 0.5))])
    assert found.mains.shape == (0, 1)
    assert found.variances.shape == (0,)
