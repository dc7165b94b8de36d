"""A student of fewer layers, once the teacher's number of layers is known."""

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.model import LayersStudentConfig
from minidisc_ray.configs.run import RunConfig


def with_student_scale(config: RunConfig, teacher_layers: int) -> RunConfig:
    """The recipe with its student's scale filled in, and checked again as a whole; unchanged for a pruned student.

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
