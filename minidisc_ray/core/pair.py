"""What objectives know of a teacher and a student: their sizes, and their task."""

from dataclasses import dataclass

from minidisc_ray.core.task import Task


@dataclass(frozen=True)
class Side:
    """One model of a pair.

    Attributes:
        name: as messages give it.
        num_layers: encoder layers.
        hidden_size: width of hidden states, D.
        num_heads: attention heads of a layer before any pruning.
        head_size: width of one head.
        has_pruned_heads: whether a layer may have lost heads, even all of them.
        was_distilled: whether a stage trained it with this objective, whose own parts were saved.
    """

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    head_size: int
    has_pruned_heads: bool = False
    was_distilled: bool = False

    @property
    def attention_width(self) -> int:
        """Width of queries, keys and values where every head is kept."""
        return self.num_heads * self.head_size


@dataclass(frozen=True)
class Pair:
    """A teacher, its student, and their task."""

    teacher: Side
    student: Side
    task: Task
