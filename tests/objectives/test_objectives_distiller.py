"""The contract for Distiller's pipeline."""

import math

from objective_contract import CrossEntropyContract, LabelledContract, ObjectiveContract, entropy
from objective_kit import equal_traces
from tiny_models import totals_of
from torch import optim


class MutualInformationContract(ObjectiveContract):
    """A bound of mutual information: no student is at a known minimum, yet the value cannot pass one."""

    def test_a_student_that_equals_its_teacher_is_at_the_minimum(self, pair, batch):
        """A critic trained on equal states comes close to the most that eight rows can tell, and never passes it."""
        student, target = equal_traces(pair, batch)
        optimizer = optim.Adam(pair.objective.parameters(), lr=1e-3)
        for _ in range(25):
            optimizer.zero_grad()
            value = pair.objective(student, target, batch, totals_of(batch))["intermediate"]
            value.backward()
            optimizer.step()
        flows = len(pair.objective.pairs) if self.config.mapping != "emd" else 1
        if self.config.intermediate.alpha == 1.0:
            assert value > -flows * math.log(batch.rows - 1) - 1e-4
        assert value < -0.5 * flows * math.log(batch.rows - 1)


class TestDistillerMSE(CrossEntropyContract):
    name = "distiller-mse"


class TestDistillerL2(CrossEntropyContract):
    name = "distiller-l2"


class TestDistillerCosine(CrossEntropyContract):
    name = "distiller-cosine"


class TestDistillerPKD(CrossEntropyContract):
    name = "distiller-pkd"


class TestDistillerCE(CrossEntropyContract):
    name = "distiller-ce"

    def minimum(self, terms, target, batch):
        real = batch.mask.bool()
        hidden = sum(entropy(target.hidden[layer][real]) for layer in (1, 2, 3))
        return {"intermediate": hidden, "logits": entropy(target.logits)}


class TestDistillerWithLabels(LabelledContract):
    name = "distiller-labels"

    def minimum(self, terms, target, batch):
        return dict.fromkeys(terms, 0.0)


class TestDistillerEMD(CrossEntropyContract):
    name = "distiller-emd"


class TestDistillerMITransformer(MutualInformationContract):
    name = "distiller-mi-transformer"


class TestDistillerMIMLP(MutualInformationContract):
    name = "distiller-mi-mlp"


class TestDistillerMIEMD(MutualInformationContract):
    name = "distiller-mi-emd"
