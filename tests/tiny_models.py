"""Tiny real models of every family, and rows of random tokens, for the tests of several rooms.

B rows, L tokens.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.structure import Structure, UnitRanking, rank_units, structure_at
from minidisc_ray.core.task import Task
from minidisc_ray.core.trace import Batch, Totals, Wanted
from minidisc_ray.data import EncodedRows, collate
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.gates import Gates
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, reorder_

FAMILY_NAMES = ("bert", "roberta", "electra", "distilbert")
VOCABULARY, HIDDEN, HEADS, NEURONS, LAYERS = 80, 32, 4, 40, 3
LABEL_NAMES = ("no", "yes", "maybe")
TASK = Task("tiny", ("text",), "label", LABEL_NAMES, ("accuracy",))
REGRESSION = Task("tiny", ("text",), "label", (), ("spearman", "pearson"))
MULTILABEL = Task("tiny", ("text",), "label", LABEL_NAMES, ("micro_f1",), is_multilabel=True)

# What most tests look at: logits and the last hidden states.
LAST = Wanted(logits=True, hidden=frozenset({LAYERS}))

# A layer without heads, one without neurons, one without either; and plain structures around them.
ODD = Structure(20, (1, 0, 0), (0, 8, 0))
SPARSE = Structure(30, (0, 2, 1), (5, 0, 17))


def tiny_config(family: str, task: Task = TASK, dropout: float = 0.1, layers: int = LAYERS) -> PreTrainedConfig:
    names = task.label_names or ("value",)
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    if family == "distilbert":
        return DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=HIDDEN,
            n_layers=layers,
            n_heads=HEADS,
            hidden_dim=NEURONS,
            max_position_embeddings=160,
            dropout=dropout,
            attention_dropout=dropout,
            seq_classif_dropout=dropout,
            **labels,
        )
    classes = {"bert": BertConfig, "roberta": RobertaConfig, "electra": ElectraConfig}
    return classes[family](
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=160,
        type_vocab_size=2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **({"embedding_size": 24} if family == "electra" else {}),
        **labels,
    )


def tiny_model(
    family: str, task: Task = TASK, seed: int = 0, dropout: float = 0.1, layers: int = LAYERS
) -> PreTrainedModel:
    """A model in eval mode whose every parameter, biases and norms too, is far enough from zero to matter."""
    model = AutoModelForSequenceClassification.from_config(tiny_config(family, task, dropout, layers))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if is_norm else 0.2 * noise)
    return model.eval()


def student_of(family: str, structure: Structure, task: Task = TASK) -> PreTrainedModel:
    """A student as the pipeline makes it: reordered, with our dropout, cut, in training mode until saved."""
    model = tiny_model(family, task)
    reorder_(model, *rankings())
    use_fast_dropout(model)
    return cut(model, structure).eval()


def random_rows(count: int, task: Task = TASK, seed: int = 0, longest: int = 12) -> EncodedRows:
    """Rows of 3 to ``longest`` tokens; the label is a function of the first token, so that it can be learned."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, longest + 1, (count,), generator=generator)
    return rows_of_lengths(lengths.tolist(), task, seed)


def rows_of_lengths(lengths: Sequence[int], task: Task = TASK, seed: int = 0) -> EncodedRows:
    generator = torch.Generator().manual_seed(seed + 1)
    sizes = torch.tensor(list(lengths))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    ids = torch.randint(5, VOCABULARY, (int(offsets[-1]),), generator=generator, dtype=torch.int32)
    types = torch.randint(0, 2, ids.shape, generator=generator, dtype=torch.uint8)
    first = ids[offsets[:-1]]
    labels = {
        "class": lambda: (first % task.num_labels).long(),
        "labels": lambda: torch.stack([(first >> bit & 1).float() for bit in range(task.num_labels)], dim=1),
        "value": lambda: first.float() / VOCABULARY,
    }
    return EncodedRows(ids, offsets, types, labels[task.output](), 0)


def pair_of(teacher: PreTrainedModel, student: PreTrainedModel, task: Task = TASK) -> Pair:
    def side(model: PreTrainedModel, name: str) -> Side:
        heads = structure_of(model.config).heads
        shape = shape_of(model)
        is_pruned = min(heads) < shape.num_heads
        return Side(name, shape.num_layers, shape.hidden_size, shape.num_heads, shape.head_size, is_pruned)

    return Pair(side(teacher, "the tiny teacher"), side(student, "the tiny student"), task)


def pad_id(model: PreTrainedModel) -> int:
    return int(model.config.pad_token_id)


def batch_of(rows: EncodedRows, model: PreTrainedModel, pad_to: int | None = None) -> Batch:
    batch = collate(rows, torch.arange(len(rows)), pad_id(model))
    return batch if pad_to is None else padded(batch, pad_to, pad_id(model))


def padded(batch: Batch, length: int, pad_token_id: int) -> Batch:
    """The same rows with further padding, up to some tokens."""
    more = (0, length - batch.length)
    return replace(
        batch,
        input_ids=pad(batch.input_ids, more, value=pad_token_id),
        mask=pad(batch.mask, more),
        token_types=None if batch.token_types is None else pad(batch.token_types, more),
    )


def totals_of(batch: Batch) -> Totals:
    return Totals(rows=batch.rows, tokens=int(batch.mask.sum()))


def rankings(seed: int = 0, scope: str = "global", layers: int = LAYERS) -> tuple[UnitRanking, UnitRanking]:
    generator = torch.Generator().manual_seed(seed)
    heads = rank_units([torch.rand(HEADS, generator=generator) for _ in range(layers)], scope)
    neurons = rank_units([torch.rand(NEURONS, generator=generator) for _ in range(layers)], scope)
    return heads, neurons


def structures(scales: Sequence[int], multiple: int = 1, seed: int = 0) -> dict[int, Structure]:
    heads, neurons = rankings(seed)
    return {scale: structure_at(heads, neurons, scale, multiple) for scale in scales}


def max_difference(first: Tensor, second: Tensor) -> float:
    assert first.shape == second.shape
    return float((first.detach() - second.detach()).abs().max())


def gates_of(structure: Structure, heads: UnitRanking, neurons: UnitRanking) -> Gates:
    """Gates for a dense model in its original order: one where a structure keeps a unit, else zero, (1, units)."""
    return Gates(_masks(heads, structure.heads), _masks(neurons, structure.neurons))


def _masks(ranking: UnitRanking, counts: tuple[int, ...]) -> list[Tensor]:
    masks = []
    for order, count in zip(ranking.order, counts, strict=True):
        mask = torch.zeros(1, len(order))
        mask[0, list(order[:count])] = 1.0
        masks.append(mask)
    return masks
