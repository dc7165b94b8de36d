"""A student whose scale is worked out, once the models' sizes are known."""

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.model import CheckpointStudentConfig, LayersStudentConfig
from minidisc_ray.configs.run import RunConfig


def with_student_scale(config: RunConfig, teacher_layers: int) -> RunConfig:
    """The recipe with its student's scale filled in, and checked again as a whole; unchanged for other students.

    Raises:
        UserError: if the student is not smaller than the teacher, the recipe names another scale, or the scale does not
            fit the rest of the recipe.
    """
    student = config.student
    if not isinstance(student, LayersStudentConfig):
        return config
    count, width = student.num_layers, student.width_percent
    if count > teacher_layers:
        raise UserError(f"student.num_layers: {count} is more than the teacher's {teacher_layers} layers")
    if count == teacher_layers and width == 100:
        raise UserError(
            f"student.num_layers: {count} are all of the teacher's layers, and width_percent is 100; keep fewer "
            "layers, or less of their width"
        )
    # Nearest, halves up, in integers.
    percent = (2 * width * count + teacher_layers) // (2 * teacher_layers)
    if not 1 <= percent <= 99:
        raise UserError(
            f"student: {count} of {teacher_layers} layers at {width} percent of their width are {percent} percent of "
            "the teacher; scales lie between 1 and 99"
        )
    if student.scale_percent not in (None, percent):
        raise UserError(
            f"student.scale_percent: {student.scale_percent} is not what {count} of {teacher_layers} layers at {width} "
            f"percent of their width are; leave it out, or write {percent}"
        )
    return resolve(config.model_dump(mode="json"), [f"student.scale_percent={percent}"])


def with_checkpoint_scale(config: RunConfig, student_parameters: int, teacher_parameters: int) -> RunConfig:
    """The recipe with the scale of a student with its own checkpoint filled in, and checked again as a whole.

    Args:
        config: a recipe with such a student.
        student_parameters: of its encoder's layers.
        teacher_parameters: likewise.

    Raises:
        UserError: if the student is not smaller than the teacher, the recipe names another scale, or the scale does not
            fit the rest of the recipe.
    """
    student = config.student
    assert isinstance(student, CheckpointStudentConfig)
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
            f"student.scale_percent: {student.scale_percent} is not right, since {sizes} and the teacher's "
            f"{teacher_parameters:,}; leave it out, or write {percent}"
        )
    return resolve(config.model_dump(mode="json"), [f"student.scale_percent={percent}"])
