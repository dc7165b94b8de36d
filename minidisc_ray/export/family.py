"""The nested family of a finished run: a model of any of its sizes, without more training."""

from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.flops import total_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.export.folder import check_output, write_output
from minidisc_ray.files.places import place_of
from minidisc_ray.files.sealing import seal
from minidisc_ray.models.checkpoint import fill_folder, load_model
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import load_tokenizer
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.run_files.family import FAMILY, FamilySize, read_index
from minidisc_ray.run_files.result import load_result


class Family:
    """A mapping from scale percent to a model of that size; each model is cut from the largest on access.

    Attributes:
        num_rows: selection rows that the sizes were scored on.
        sizes: metrics on the selection rows, parameters and structure of each size, the largest first.
    """

    def __init__(self, folder: Path) -> None:
        """Load the weights and the index of a family's folder.

        Raises:
            UserError: if either is damaged, or the index does not fit the weights.
        """
        self._folder = folder
        self._largest = load_model(folder)
        index = read_index(folder)
        self.num_rows = index.num_rows
        self.sizes: dict[int, FamilySize] = {size.scale_percent: size for size in index.sizes}
        whole, shape = structure_of(self._largest.config), shape_of(self._largest)
        for size in index.sizes:
            structure = _structure(size)
            if not structure.is_within(whole) or total_parameters(shape, structure) != size.total_parameters:
                raise UserError(
                    f"{place_of(folder)}: the family is damaged (its index does not fit its weights at "
                    f"{size.scale_percent}%); remove the run and run its recipe again"
                )

    def __iter__(self) -> Iterator[int]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __contains__(self, scale_percent: object) -> bool:
        return isinstance(scale_percent, int) and scale_percent in self.sizes

    def __getitem__(self, scale_percent: int) -> PreTrainedModel:
        """A model of one size, independent of the others; its logits equal those of the sandwich's slice bit by bit.

        Raises:
            UserError: if the family has no such size.
        """
        # Callers in notebooks give lists and texts too.
        size = self.sizes.get(scale_percent) if isinstance(scale_percent, int) else None
        if size is None:
            shown = f"{scale_percent}%" if isinstance(scale_percent, int) else f"{scale_percent!r:.80}"
            raise UserError(
                f"{shown} is not in the family of {place_of(self._folder.parent)}, which has "
                f"{', '.join(f'{scale}%' for scale in self.sizes)}; take one of these"
            )
        return cut(self._largest, _structure(size)).eval()

    def save(self, scale_percent: int, output: Path) -> FamilySize:
        """Write a model of one size as a folder in the form of a student's.

        Raises:
            UserError: if the family has no such size, or the output exists.
        """
        check_output(output)
        model, tokenizer = self[scale_percent], load_tokenizer(PretrainedTeacherConfig(path=str(self._folder)))

        def fill(folder: Path) -> None:
            fill_folder(model, tokenizer, folder)
            seal(folder)

        write_output(output, fill)
        return self.sizes[scale_percent]


def _structure(size: FamilySize) -> Structure:
    return Structure(size.scale_percent, size.heads, size.neurons)


def open_family(folder: Path) -> Family:
    """The family of a finished run.

    Raises:
        UserError: if there is no finished run, its method trains no family, or the family was removed or is damaged.
    """
    result, family = load_result(folder), folder / FAMILY
    if not (family / "config.json").is_file():
        if result.method != "minidisc" and all(stage.stage != "sandwich" for stage in result.cost.stages):
            raise UserError(
                f"{place_of(folder)}: a {result.method} run has no family; only MiniDisc trains nested sizes together "
                "(schedule.kind=minidisc)"
            )
        raise UserError(
            f"{place_of(folder)}: its family is gone (freed by minidisc clean --family, or the run is older than "
            "families); remove the run and run its recipe again"
        )
    return Family(family)
