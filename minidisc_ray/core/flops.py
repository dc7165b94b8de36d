"""Closed-form parameters, multiply-adds (MACs) and training FLOPs of pruned encoders.

B rows, L tokens a row (padding included), D hidden size, a head size, h heads and f neurons kept in a layer.

Only matrix products count, a multiply-add as one MAC (what the papers print as "FLOPs") or two FLOPs; biases, norms,
activations and softmax do not, as in ``torch.utils.flop_counter``. A test compares the two.
"""

from dataclasses import dataclass

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure

# Rows of a batch, and the tokens that they are padded to.
Size = tuple[int, int]
Sizes = tuple[Size, ...]


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of an unpruned model that parameters and FLOPs follow from.

    Attributes:
        embedding_projection: width of embeddings that a Linear maps to the hidden size (ELECTRA), 0 without one.
        head_macs_per_row: multiply-adds of pooler and classifier for one row.
        other_parameters: everything outside the encoder's layers: embeddings, pooler, classifier.
    """

    num_layers: int
    hidden_size: int
    num_heads: int
    head_size: int
    intermediate_size: int
    embedding_projection: int
    head_macs_per_row: int
    other_parameters: int

    def full(self) -> Structure:
        """The structure that keeps everything."""
        return Structure(
            TEACHER_PERCENT, (self.num_heads,) * self.num_layers, (self.intermediate_size,) * self.num_layers
        )


def forward_macs(shape: EncoderShape, structure: Structure, rows: int, length: int) -> int:
    """Multiply-adds of one forward pass over ``rows`` rows padded to ``length`` tokens."""
    hidden, head = shape.hidden_size, shape.head_size
    heads, neurons = sum(structure.heads), sum(structure.neurons)
    projections = 4 * length * hidden * heads * head
    attention = 2 * length * length * heads * head
    feed_forward = 2 * length * hidden * neurons
    embeddings = length * shape.embedding_projection * hidden
    return rows * (projections + attention + feed_forward + embeddings + shape.head_macs_per_row)


def macs_of(shape: EncoderShape, structure: Structure, batches: Sizes) -> float:
    """Multiply-adds of one forward pass over batches, given as (rows, tokens) each."""
    return float(sum(forward_macs(shape, structure, rows, length) for rows, length in batches))


def training_flops(shape: EncoderShape, structure: Structure, rows: int, length: int) -> int:
    """FLOPs of a forward and a backward pass; the backward costs two forwards (one for inputs, one for weights)."""
    return 6 * forward_macs(shape, structure, rows, length)


def inference_flops(shape: EncoderShape, structure: Structure, rows: int, length: int) -> int:
    """FLOPs of a forward pass without a backward, a teacher's for instance."""
    return 2 * forward_macs(shape, structure, rows, length)


def encoder_parameters(shape: EncoderShape, structure: Structure) -> int:
    """Parameters of the encoder's layers: what a scale prunes, with their biases and norms."""
    hidden, head = shape.hidden_size, shape.head_size
    heads, neurons = sum(structure.heads), sum(structure.neurons)
    # Not the shape's number of layers: a student may have fewer than its teacher.
    num_layers = len(structure.heads)
    attention = heads * head * (4 * hidden + 3) + num_layers * hidden
    feed_forward = neurons * (2 * hidden + 1) + num_layers * hidden
    norms = num_layers * 4 * hidden
    return attention + feed_forward + norms


def total_parameters(shape: EncoderShape, structure: Structure) -> int:
    """All parameters, embeddings and head included."""
    return encoder_parameters(shape, structure) + shape.other_parameters


def kept_share(shape: EncoderShape, structure: Structure) -> dict[str, float]:
    """Shares of all heads and of all neurons that a structure keeps; rounding makes them differ from its scale."""
    return {
        "heads": sum(structure.heads) / (shape.num_layers * shape.num_heads),
        "neurons": sum(structure.neurons) / (shape.num_layers * shape.intermediate_size),
    }
