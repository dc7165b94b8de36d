"""PKD: KD, and the direction of selected layers' hidden states (MiniDisc, section 4.1; Distiller, appendix B)."""

from torch import Tensor, nn

from minidisc_ray.configs.objective import KDConfig, PKDConfig
from minidisc_ray.core.divergence import masked_row_sums, token_pkd
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import map_where_widths_differ, mapped_layers, student_layers, teacher_layers
from minidisc_ray.objectives.kd import KDObjective


@objective_of(PKDConfig)
class PatientKDObjective(Objective):
    """KD's terms and ``w_3 || h_S/||h_S|| - h_T/||h_T|| ||^2``, a mean over the mapped layers.

    By default only each row's first token counts, which the classifier reads; ``tokens: all`` takes every real one.
    """

    def __init__(self, config: PKDConfig, pair: Pair) -> None:
        super().__init__()
        self.config = config
        self.pairs = mapped_layers(config.mapping, pair)
        self.maps = nn.ModuleList(map_where_widths_differ(pair) for _ in self.pairs)
        weights = {"logits_weight": config.logits_weight, "labels_weight": config.labels_weight}
        self.kd = (
            KDObjective(KDConfig(temperature=config.temperature, **weights), pair) if any(weights.values()) else None
        )

    def needs(self) -> Needs:
        """What KD needs, and hidden states of the mapped layers."""
        needs = self.kd.needs() if self.kd is not None else Needs()
        if self.config.hidden_weight == 0:
            return needs
        return needs | Needs(
            Wanted(hidden=teacher_layers(self.pairs)),
            Wanted(hidden=student_layers(self.pairs)),
        )

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """KD's terms and ``hidden``."""
        terms = self.kd(student, teacher, batch, totals) if self.kd is not None else {}
        if self.config.hidden_weight == 0:
            return dict(terms)
        assert teacher is not None
        errors = []
        for linear_map, (student_layer, teacher_layer) in zip(self.maps, self.pairs, strict=True):
            student_hidden, teacher_hidden = student.hidden[student_layer], teacher.hidden[teacher_layer]
            if self.config.tokens == "first":
                errors.append(token_pkd(linear_map(student_hidden[:, 0]), teacher_hidden[:, 0]).sum() / totals.rows)
            else:
                errors.append(
                    masked_row_sums(token_pkd(linear_map(student_hidden), teacher_hidden), batch.mask).sum()
                    / totals.tokens
                )
        return {**terms, "hidden": self.config.hidden_weight * sum(errors, start=errors[0] * 0) / len(errors)}
