"""Where queries, keys and values come from: a layer of the model, or one more attention module on top of it.

B rows, L tokens, D hidden size, W width of a projection. MiniDisc, section 3.3: heads of a candidate's last layer can
be pruned, so an additional self-attention module takes the last layer's place.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.trace import Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, submodule_parts

# Queries, keys and values, (B, L, W) each.
Projections = tuple[Tensor, Tensor, Tensor]


class ExtraAttention(nn.Module):
    """The projections of one more self-attention layer, (B, L, D) to (B, L, W) each.

    It has no output projection: relations are taken before it, so it would never get a gradient.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Linear(hidden_size, width)
        self.keys = nn.Linear(hidden_size, width)
        self.values = nn.Linear(hidden_size, width)

    def forward(self, hidden: Tensor) -> Projections:
        """Project hidden states in float32."""
        hidden = hidden.float()
        return self.queries(hidden), self.keys(hidden), self.values(hidden)


class AttentionSource(nn.Module):
    """Queries, keys and values of one side of a pair.

    Args:
        side: the model.
        layer: the layer whose projections are used, from 1.
        is_extra: whether an extra attention module on the last hidden states replaces the layer.
    """

    def __init__(self, side: Side, layer: int, is_extra: bool) -> None:
        super().__init__()
        self.layer = side.num_layers if is_extra else layer
        self.attention = ExtraAttention(side.hidden_size, side.attention_width) if is_extra else None

    def wanted(self) -> Wanted:
        """The outputs that this needs of the model's forward pass."""
        layers = frozenset({self.layer})
        return (
            Wanted(hidden=layers) if self.attention is not None else Wanted(queries=layers, keys=layers, values=layers)
        )

    def forward(self, trace: Trace) -> Projections:
        """The projections, (B, L, W) each."""
        if self.attention is not None:
            projections: Projections = self.attention(trace.hidden[self.layer])
            return projections
        return trace.queries[self.layer], trace.keys[self.layer], trace.values[self.layer]


class AttentionPair(nn.Module):
    """Queries, keys and values of both sides, re-split into the same number of relation heads.

    Args:
        pair: teacher and student.
        num_heads: relation heads.
        teacher_layer: from 1 up, or from the last (-1) down.
        extra_attention: ``auto``, ``always`` or ``never``, for the student; a teacher with pruned heads uses the extra
            module that was trained with it.

    Raises:
        UserError: if a side cannot give projections that split into so many heads.
    """

    def __init__(self, pair: Pair, num_heads: int, teacher_layer: int, extra_attention: str) -> None:
        super().__init__()
        teacher, student = pair.teacher, pair.student
        is_extra = extra_attention == "always" or (extra_attention == "auto" and student.has_pruned_heads)
        if student.has_pruned_heads and not is_extra:
            raise UserError(
                f"objective.extra_attention: never, but heads of the student ({student.name}) are pruned, and what is "
                "left does not split into relation heads; use auto"
            )
        if teacher.has_pruned_heads and not teacher.was_distilled:
            raise UserError(
                f"objective.kind: relations need every head of the teacher's layer, but heads of the teacher "
                f"({teacher.name}) are pruned and no attention module was trained with it; use ltsd or kd here"
            )
        for side in (teacher, student):
            if side.attention_width % num_heads:
                raise UserError(
                    f"objective.num_relation_heads: {num_heads} does not divide {side.attention_width}, the width "
                    f"of the queries of {side.name}; use a divisor of it"
                )
        self.num_heads = num_heads
        self.teacher_source = AttentionSource(teacher, _layer(teacher_layer, teacher), teacher.has_pruned_heads)
        self.teacher_source.requires_grad_(False)
        self.student_source = AttentionSource(student, student.num_layers, is_extra)

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load the teacher's extra module from parts trained with it; the student's starts as a copy where it fits.

        Args:
            parts: by name.

        Raises:
            ValueError: if the teacher needs the module and it is not among the parts.
        """
        for source, is_needed in ((self.teacher_source, True), (self.student_source, False)):
            for name, parameter in source.named_parameters():
                known = parts.get(f"student_source.{name}")
                if known is not None and known.shape == parameter.shape:
                    parameter.data.copy_(known)
                elif is_needed:
                    raise ValueError(f"no {name} of shape {tuple(parameter.shape)}")

    def forward(self, student: Trace, teacher: Trace) -> list[tuple[Tensor, Tensor]]:
        """Pairs (student's, teacher's) of queries, then of keys, then of values."""
        return list(zip(self.student_source(student), self.teacher_source(teacher), strict=True))


class AttentionObjective(Objective):
    """Base of the objectives over queries, keys and values, with the sources of both models."""

    def __init__(self, pair: Pair, num_heads: int, teacher_layer: int, extra_attention: str) -> None:
        super().__init__()
        self.sources = AttentionPair(pair, num_heads, teacher_layer, extra_attention)

    def needs(self) -> Needs:
        """Queries, keys and values of a layer on each side, or last hidden states for an extra attention module."""
        return Needs(self.sources.teacher_source.wanted(), self.sources.student_source.wanted())

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load the extra attention module that was trained with the teacher."""
        self.sources.follow(submodule_parts("sources.", parts))


def _layer(number: int, side: Side) -> int:
    layer = number if number > 0 else side.num_layers + 1 + number
    if number == 0 or not 1 <= layer <= side.num_layers:
        raise UserError(
            f"objective.teacher_layer: {number} is no layer of the teacher ({side.name}); use 1 to {side.num_layers}, "
            f"or -1 to -{side.num_layers} counted from the last"
        )
    return layer
