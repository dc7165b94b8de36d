"""Every objective by name, and pairs of tiny models to try them on; importable by spawned workers."""

from dataclasses import dataclass

import torch
from tiny_models import HIDDEN, LAYERS, TASK, pair_of, tiny_model, totals_of
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedModel

from minidisc_ray.configs import objective as configs
from minidisc_ray.configs.objective import PartConfig, PhaseConfig
from minidisc_ray.configs.objective_base import ObjectiveBase
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.objectives import Objective, build_objective

MI = configs.MIAlphaConfig
OBJECTIVES: dict[str, ObjectiveBase] = {
    "labels": configs.LabelsConfig(),
    "ltsd": configs.LTSDConfig(),
    "ltsd-weighted": configs.LTSDConfig(logits_weight=0.5, hidden_weight=3.0),
    "ltsd-layers": configs.LTSDConfig(hidden_layers="every_second"),
    "ltad": configs.LTADConfig(num_relation_heads=16),
    "kd": configs.KDConfig(temperature=2.0),
    "pkd": configs.PKDConfig(),
    "pkd-all": configs.PKDConfig(tokens="all", mapping="last", labels_weight=0.0),
    "ckd": configs.CKDConfig(window=2),
    "tinybert": configs.TinyBERTConfig(),
    "minilm": configs.MiniLMConfig(),
    "od": configs.ODConfig(temperature=3.0),
    **{
        f"hs-{mapping}": configs.HSConfig(mapping=mapping)
        for mapping in ("single", "last", "uniform", "uniform_consecutive", "uniform_last")
    },
    "hs-cosine": configs.HSConfig(measure="cosine", mapping="single", linear_map=False),
    "minilmv2": configs.MiniLMv2Config(num_relation_heads=16, teacher_layer=-2),
    "directminilm": configs.DirectMiniLMConfig(),
    **{
        f"distiller-{measure}": configs.DistillerConfig(
            intermediate=configs.MeasureConfig(kind=measure), mapping=mapping
        )
        for measure, mapping in (("mse", "skip"), ("l2", "last"), ("cosine", "skip"), ("pkd", "last"), ("ce", "skip"))
    },
    "distiller-labels": configs.DistillerConfig(
        intermediate=configs.MeasureConfig(), prediction="mse", gamma1=0.5, gamma2=0.5
    ),
    "distiller-emd": configs.DistillerConfig(intermediate=configs.MeasureConfig(), mapping="emd"),
    "distiller-mi-transformer": configs.DistillerConfig(intermediate=MI(alpha=0.9)),
    "distiller-mi-mlp": configs.DistillerConfig(intermediate=MI(alpha=1.0, critic="mlp"), mapping="last"),
    "distiller-mi-emd": configs.DistillerConfig(intermediate=MI(alpha=0.5, critic="mlp"), mapping="emd"),
    "sum": configs.SumConfig(
        parts=(
            PartConfig(weight=2.0, objective=configs.ODConfig()),
            PartConfig(weight=0.5, objective=configs.HSConfig(mapping="last")),
            PartConfig(objective=configs.LTADConfig(num_relation_heads=16)),
        )
    ),
    "sequence": configs.SequenceConfig(
        phases=(
            PhaseConfig(share=3.0, objective=configs.LTADConfig(num_relation_heads=16)),
            PhaseConfig(objective=configs.KDConfig()),
        )
    ),
}
# Their value is of the whole batch, whose rows are each other's negatives: parts do not add up to it.
BATCH_WIDE = {name for name in OBJECTIVES if name.startswith("distiller-mi")}


@dataclass
class Pairing:
    """A teacher, a student and the objective between them."""

    teacher: PreTrainedModel
    student: PreTrainedModel
    objective: Objective

    def terms(self, batch: Batch, totals: Totals | None = None) -> dict[str, Tensor]:
        needs = self.objective.needs()
        target = None
        if needs.teacher:
            with torch.no_grad():
                target = run_model(self.teacher, batch, needs.teacher)
        student = run_model(self.student, batch, needs.student)
        return self.objective(student, target, batch, totals or totals_of(batch))

    def value(self, batch: Batch, totals: Totals | None = None) -> Tensor:
        return torch.stack(list(self.terms(batch, totals).values())).sum()


def objective_between(
    config: ObjectiveBase, teacher: PreTrainedModel, student: PreTrainedModel, task: Task = TASK, seed: int = 0
) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_objective(config, pair_of(teacher, student, task))


def pairing(
    config: ObjectiveBase,
    student: PreTrainedModel | None = None,
    teacher: PreTrainedModel | None = None,
    task: Task = TASK,
) -> Pairing:
    """Two tiny models of the same sizes and other weights, unless they are given."""
    teacher = teacher or tiny_model("bert", task, seed=2)
    student = student or tiny_model("bert", task, seed=1)
    return Pairing(teacher, student, objective_between(config, teacher, student, task))


def slim_model(task: Task = TASK) -> PreTrainedModel:
    """A student with fewer layers, fewer heads and another width than the tiny models: 16 relation heads divide it."""
    names = dict(enumerate(task.label_names or ("value",)))
    config = BertConfig(
        vocab_size=80,
        hidden_size=HIDDEN // 2,
        num_hidden_layers=LAYERS - 1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=160,
        id2label=names,
        label2id={name: place for place, name in names.items()},
    )
    model = AutoModelForSequenceClassification.from_config(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def headless_model(task: Task = TASK) -> PreTrainedModel:
    """A pruned student whose last layer kept no head, and whose middle one has fewer than the teacher's."""
    return cut(tiny_model("bert", task, seed=1), Structure(30, (4, 1, 0), (8, 0, 16)))


def equal_traces(pair: Pairing, batch: Batch) -> tuple[Trace, Trace]:
    """A student's trace that equals its teacher's, each tensor a leaf of its own."""
    needs = pair.objective.needs()
    whole = needs.teacher | needs.student
    with torch.no_grad():
        target = run_model(pair.teacher, batch, whole)

    def leaves(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
        return {layer: tensor.clone().requires_grad_() for layer, tensor in tensors.items()}

    student = Trace(
        target.logits.clone().requires_grad_(),
        leaves(dict(target.hidden)),
        leaves(dict(target.queries)),
        leaves(dict(target.keys)),
        leaves(dict(target.values)),
    )
    return student, target


def tensors_of(trace: Trace) -> list[Tensor]:
    tables = (trace.hidden, trace.queries, trace.keys, trace.values)
    return [trace.logits, *(tensor for table in tables for tensor in table.values())]
