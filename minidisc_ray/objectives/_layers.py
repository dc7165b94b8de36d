"""Pairs of layers, and the linear maps between their hidden states."""

from torch import Tensor, nn

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.layer_map import LayerPairs, layer_pairs
from minidisc_ray.core.pair import Pair


def mapped_layers(mapping: str, pair: Pair) -> LayerPairs:
    """The (student layer, teacher layer) pairs of a mapping.

    Raises:
        UserError: if the student has more layers than the teacher.
    """
    try:
        return layer_pairs(mapping, pair.student.num_layers, pair.teacher.num_layers)
    except ValueError as error:
        raise UserError(
            f"objective.mapping: {mapping} maps each layer of the student ({pair.student.name}) to layers of the "
            f"teacher ({pair.teacher.name}), but {error}; use an objective without a layer mapping, such as kd"
        ) from error


def student_layers(pairs: LayerPairs) -> frozenset[int]:
    """The student's layers of some pairs."""
    return frozenset(student for student, _ in pairs)


def teacher_layers(pairs: LayerPairs) -> frozenset[int]:
    """The teacher's layers of some pairs."""
    return frozenset(teacher for _, teacher in pairs)


class LinearMap(nn.Module):
    """``H W`` from the student's width to the teacher's, without bias; starts as the identity where they are equal.

    Where they differ it starts with orthonormal rows or columns, to preserve lengths and angles as far as it can.
    """

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_width, teacher_width, bias=False)
        if student_width == teacher_width:
            nn.init.eye_(self.linear.weight)
        else:
            nn.init.orthogonal_(self.linear.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., Ds) to (..., Dt) in float32."""
        mapped: Tensor = self.linear(hidden.float())
        return mapped


def map_where_widths_differ(pair: Pair) -> nn.Module:
    """A linear map, or the identity where student and teacher are equally wide."""
    if pair.student.hidden_size == pair.teacher.hidden_size:
        return nn.Identity()
    return LinearMap(pair.student.hidden_size, pair.teacher.hidden_size)
