"""Functional analysis of variance of a forest, exact on each tree's partition (Hutter, Hoos, Leyton-Brown, 2014).

T trees, L leaves of a tree, F features, C cells of a feature: the intervals between a tree's thresholds on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

_LEAF: Final = -1


@dataclass(frozen=True)
class Domain:
    """The values that a feature takes, and how often: uniform on an interval, or weights of whole numbers from 0.

    Attributes:
        low: the interval's lower end.
        high: its upper end.
        weights: of 0, 1, ...; they add up to 1. None for an interval.
    """

    low: float = 0.0
    high: float = 1.0
    weights: tuple[float, ...] | None = None

    def masses(self, edges: np.ndarray) -> np.ndarray:  # (C + 1,) -> (C,)
        """The share of the domain between neighbouring edges."""
        if self.weights is None:
            inside = edges.clip(self.low, self.high)
            return np.diff(inside) / (self.high - self.low)
        levels = np.searchsorted(edges, np.arange(len(self.weights)), side="left") - 1
        return np.bincount(levels, weights=self.weights, minlength=len(edges) - 1)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Shares of a forest's variance.

    Attributes:
        mains: (T, F) each tree's share of each feature alone.
        pairs: of two features, without what either has alone: (T,) by their places, the smaller one first.
        variances: (T,) the trees' variances; trees that are constant are left out of all three.
    """

    mains: np.ndarray
    pairs: dict[tuple[int, int], np.ndarray]
    variances: np.ndarray


def decompose(forest: RandomForestRegressor, domains: Sequence[Domain]) -> Decomposition:
    """Split the variance of each tree's prediction, with independent features, among features and pairs of them.

    Args:
        forest: fitted on F features; categories as whole numbers from 0.
        domains: of each feature.
    """
    shares = [_decompose_tree(tree, domains) for tree in forest.estimators_]
    found = [share for share in shares if share is not None]
    names = list(combinations(range(len(domains)), 2))
    return Decomposition(
        np.array([mains for mains, _, _ in found]).reshape(len(found), len(domains)),
        {pair: np.array([pairs[pair] for _, pairs, _ in found]) for pair in names},
        np.array([variance for _, _, variance in found]),
    )


def _decompose_tree(
    tree: DecisionTreeRegressor, domains: Sequence[Domain]
) -> tuple[np.ndarray, dict[tuple[int, int], float], float] | None:
    values, lows, highs = _leaves(tree, len(domains))  # (L,), (L, F), (L, F)
    inside, masses = [], []
    for place, domain in enumerate(domains):
        edges = np.unique(np.concatenate([lows[:, place], highs[:, place]]))  # from -inf to inf
        mass = domain.masses(edges)  # (C,)
        # Whether a cell lies in a leaf's interval.
        covered = (edges[:-1] >= lows[:, place, None]) & (edges[1:] <= highs[:, place, None])
        inside.append(covered.astype(np.float64))  # (L, C)
        masses.append(mass)
    widths = np.stack([cells @ mass for cells, mass in zip(inside, masses, strict=True)], axis=1)  # (L, F)
    volumes = widths.prod(axis=1)
    mean = float(values @ volumes)
    variance = float(((values - mean) ** 2) @ volumes)
    if variance <= 1e-12 * max(1.0, mean**2):
        return None
    centred = values - mean
    effects = []
    for place in range(len(domains)):
        others = np.delete(widths, place, axis=1).prod(axis=1)
        effects.append((centred * others) @ inside[place])  # (C,), with mean 0
    mains = np.array([(effect**2) @ mass for effect, mass in zip(effects, masses, strict=True)])
    pairs = {}
    for one, two in combinations(range(len(domains)), 2):
        others = np.delete(widths, [one, two], axis=1).prod(axis=1)
        marginal = inside[one].T @ (inside[two] * (centred * others)[:, None])  # (C, C')
        joint = marginal - effects[one][:, None] - effects[two][None, :]
        pairs[one, two] = float(masses[one] @ joint**2 @ masses[two]) / variance
    return mains / variance, pairs, variance


def _leaves(tree: DecisionTreeRegressor, num_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, lower and upper bounds of each leaf."""
    nodes = tree.tree_
    values, lows, highs = [], [], []
    stack = [(0, np.full(num_features, -np.inf), np.full(num_features, np.inf))]
    while stack:
        node, low, high = stack.pop()
        if nodes.children_left[node] == _LEAF:
            values.append(float(nodes.value[node, 0, 0]))
            lows.append(low)
            highs.append(high)
            continue
        place, threshold = nodes.feature[node], nodes.threshold[node]
        below, above = high.copy(), low.copy()
        below[place] = above[place] = threshold
        stack.append((nodes.children_left[node], low, below))
        stack.append((nodes.children_right[node], above, high))
    return np.array(values), np.array(lows), np.array(highs)
