import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.core.layer_map import LAYER_MAPS, layer_pairs


def test_the_papers_twelve_to_six():
    twelve_to_six = {name: layer_pairs(name, 6, 12) for name in LAYER_MAPS}
    assert twelve_to_six["single"] == ((6, 12),)
    assert twelve_to_six["last"] == ((1, 7), (2, 8), (3, 9), (4, 10), (5, 11), (6, 12))
    assert twelve_to_six["uniform"] == ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12)) == twelve_to_six["skip"]
    assert twelve_to_six["uniform_consecutive"][:4] == ((1, 1), (1, 2), (2, 3), (2, 4))
    assert twelve_to_six["uniform_last"][:4] == ((1, 2), (1, 7), (2, 4), (2, 8))
    # Both strategies give the topmost pair; it counts once.
    assert len(twelve_to_six["uniform_last"]) == 11
    assert len(twelve_to_six["emd"]) == 72


def test_layers_that_do_not_divide():
    assert layer_pairs("uniform", 5, 12) == ((1, 3), (2, 6), (3, 9), (4, 12))
    assert layer_pairs("skip", 5, 12) == ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10))
    assert layer_pairs("uniform_consecutive", 5, 12)[-3:] == ((4, 10), (4, 11), (4, 12))


@given(st.integers(1, 24), st.integers(0, 24), st.sampled_from(sorted(LAYER_MAPS)))
def test_every_pair_is_of_layers_that_exist(student, more, name):
    teacher = student + more
    pairs = layer_pairs(name, student, teacher)
    assert pairs
    assert len(set(pairs)) == len(pairs)
    assert all(1 <= i <= student and 1 <= j <= teacher for i, j in pairs)
    if name == "uniform_consecutive":
        assert {j for _, j in pairs} == set(range(1, teacher + 1)), "no teacher layer is left out"
    if student == teacher and name not in ("single", "emd"):
        assert pairs == tuple((i, i) for i in range(1, student + 1))


@pytest.mark.parametrize("name", sorted(LAYER_MAPS))
def test_a_student_deeper_than_its_teacher_is_refused(name):
    with pytest.raises(ValueError, match="7 layers, the teacher only 6"):
        layer_pairs(name, 7, 6)
