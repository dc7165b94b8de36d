"""Students of fewer layers that cannot be are refused before anything starts."""

import pytest
from pipeline_kit import prepared_run

from minidisc_ray.configs import UserError

LAYERS = ("teacher.num_layers=4", "student.kind=layers", "pruning.ranking=local")

MISTAKES = {
    "more layers than the teacher": (("student.num_layers=5",), r"student\.num_layers: 5 is more than the teacher's 4"),
    "the teacher itself": (("student.num_layers=4",), r"student\.num_layers: 4 are all of the teacher's layers"),
    "another scale": (
        ("student.num_layers=2", "student.scale_percent=40"),
        r"student\.scale_percent: 40 is not the scale of 2 of 4 layers .* write 50$",
    ),
    "a width without heads": (
        ("student.num_layers=2", "student.width_percent=10"),
        r"student\.width_percent: at 10 percent no attention head is left in any layer \(8 in all, ",
    ),
    "nothing at all": (
        ("teacher.num_layers=12", "student.num_layers=1", "student.width_percent=1"),
        r"student: 1 of 12 layers at 1 percent of their width are 0 percent",
    ),
    "an assistant below": (
        ("student.num_layers=2", "schedule={kind: assistant, assistant_percent: 50}"),
        r"schedule\.assistant_percent: 50 is not above the student's own scale of 50 percent; use a value between 51",
    ),
    "a sparse teacher below": (
        ("student.num_layers=3", "schedule={kind: sparse_teacher, teacher_percent: 70}"),
        r"schedule\.teacher_percent: 70 is not above the student's own scale of 75 percent; use a value between 76",
    ),
    "no candidate": (
        ("student.num_layers=3", "schedule={kind: maxidisc, scales: [60]}"),
        r"schedule\.scales: 60 is not strictly between the student's own scale of 75 percent",
    ),
    "a sandwich without heads at its end": (
        ("teacher.num_layers=12", "student.num_layers=1", "schedule={kind: minidisc, scales: [60], num_sampled: 2}"),
        r"student\.scale_percent: at 8 percent no attention head is left",
    ),
    "eta too large": (
        ("student.num_layers=3", "schedule={kind: minidisc, scales: [80], num_sampled: 3}"),
        r"schedule\.num_sampled: 3 is more than the sandwich's 2 scales",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_before_anything_starts(tmp_path, mistake):
    overrides, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=f"^{sentence}") as caught:
        prepared_run(tmp_path, "conventional", (*LAYERS, *overrides))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
