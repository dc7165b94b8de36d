"""The contract for the task-agnostic comparison's objectives."""

import math
from dataclasses import replace

import pytest
from objective_contract import CrossEntropyContract, ObjectiveContract
from objective_kit import equal_traces
from tiny_models import totals_of


class RelationCrossEntropyContract(ObjectiveContract):
    """Relations matched by cross-entropy: their minimum is the entropy of the teacher's."""

    def minimum(self, terms, target, batch):
        found = {}
        for name in terms:
            (layer,) = getattr(self.pairing().objective.needs().teacher, name)
            total = 0.0
            for row, length in enumerate(batch.mask.sum(1).tolist()):
                states = getattr(target, name)[layer][row, :length].view(length, 16, 2)
                for head in range(16):
                    relation = (states[:, head] @ states[:, head].T / math.sqrt(2)).softmax(-1)
                    total += float(-(relation * relation.log()).sum()) / 16
            found[name] = total / int(batch.mask.sum())
        return found

    def test_a_student_that_equals_its_teacher_is_at_the_minimum(self, pair, batch):
        # The student's last layer learns from another one of the teacher: give it that one's states.
        student, target = equal_traces(pair, batch)
        (theirs,), (ours,) = pair.objective.needs().teacher.queries, pair.objective.needs().student.queries
        student = replace(
            student,
            queries={ours: student.queries[theirs]},
            keys={ours: student.keys[theirs]},
            values={ours: student.values[theirs]},
        )
        terms = pair.objective(student, target, batch, totals_of(batch))
        found = {name: term.item() for name, term in terms.items()}
        assert found == pytest.approx(self.minimum(terms, target, batch), abs=2e-5)


class TestMiniLMv2(RelationCrossEntropyContract):
    name = "minilmv2"


class TestDirectMiniLM(ObjectiveContract):
    name = "directminilm"


class TestOD(CrossEntropyContract):
    name = "od"
    temperature = 3.0


class TestHSSingle(ObjectiveContract):
    name = "hs-single"


class TestHSLast(ObjectiveContract):
    name = "hs-last"


class TestHSUniform(ObjectiveContract):
    name = "hs-uniform"


class TestHSUniformConsecutive(ObjectiveContract):
    name = "hs-uniform_consecutive"


class TestHSUniformLast(ObjectiveContract):
    name = "hs-uniform_last"


class TestHSCosine(ObjectiveContract):
    name = "hs-cosine"
