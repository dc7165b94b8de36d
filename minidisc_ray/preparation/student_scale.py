"""Works out a student's scale from the models' sizes, for students that are not pruned to a given scale."""

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import CheckpointStudentConfig, LayersStudentConfig
from minidisc_ray.core.grid import TEACHER_PERCENT


def layers_percent(student: LayersStudentConfig, teacher_layers: int) -> int:
    """The scale, in percent, of a student that is some of the teacher's layers.

    Raises:
        UserError: if the student is not smaller than the teacher, or the recipe gives another scale.
    """
    count, width = student.num_layers, student.width_percent
    if count > teacher_layers:
        raise UserError(f"student.num_layers: {count} is more than the teacher's {teacher_layers} layers")
    if count == teacher_layers and width == TEACHER_PERCENT:
        raise UserError(
            f"student.num_layers: {count} are all of the teacher's layers, and width_percent is 100; keep fewer "
            "layers, or less of their width"
        )
    # Rounded to the nearest integer, halves up.
    percent = (2 * width * count + teacher_layers) // (2 * teacher_layers)
    if not 1 <= percent <= 99:
        raise UserError(
            f"student: {count} of {teacher_layers} layers at {width} percent of their width are {percent} percent of "
            "the teacher; scales lie between 1 and 99"
        )
    if student.scale_percent not in (None, percent):
        raise UserError(
            f"student.scale_percent: {student.scale_percent} is not the scale of {count} of {teacher_layers} layers at "
            f"{width} percent of their width; leave it out, or write {percent}"
        )
    return percent


def checkpoint_percent(student: CheckpointStudentConfig, student_parameters: int, teacher_parameters: int) -> int:
    """The scale, in percent, of a student with its own checkpoint.

    Args:
        student: the recipe's ``student``.
        student_parameters: parameters of the student's encoder layers.
        teacher_parameters: parameters of the teacher's encoder layers.

    Raises:
        UserError: if the student is not smaller than the teacher, or the recipe gives another scale.
    """
    sizes = f"the encoder of {student.path} has {student_parameters:,} parameters"
    if student_parameters >= teacher_parameters:
        raise UserError(
            f"student.path: {sizes}, which is not smaller than the teacher's {teacher_parameters:,}; use a smaller "
            "checkpoint, or keep its first layers with student.num_layers"
        )
    percent = (200 * student_parameters + teacher_parameters) // (2 * teacher_parameters)
    if not 1 <= percent <= 99:
        raise UserError(
            f"student.path: {sizes}, which is {percent} percent of the teacher's {teacher_parameters:,}; scales lie "
            "between 1 and 99"
        )
    if student.scale_percent not in (None, percent):
        raise UserError(
            f"student.scale_percent: {student.scale_percent} is wrong: {sizes} and the teacher's "
            f"{teacher_parameters:,}; leave it out, or write {percent}"
        )
    return percent
