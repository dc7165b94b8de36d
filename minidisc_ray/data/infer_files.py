"""Finds the files of a user's own data set: a folder's splits, or one file from which validation is held out."""

from dataclasses import dataclass
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig
from minidisc_ray.data.delimited import Quoting
from minidisc_ray.data.files import find_file, is_rows_file
from minidisc_ray.data.paths import given_path, is_file, is_folder, shown
from minidisc_ray.data.quoting import cut

_VALIDATION_NAMES = ("validation", "validation_matched", "valid", "val", "dev", "eval")
_VALIDATION_FRACTION = 0.2
_MAX_NAMES = 5


@dataclass(frozen=True)
class DataFiles:
    """Where a recipe finds its rows.

    Attributes:
        train: the file of training rows.
        config: the recipe's section.
        sentence: what the rows are used for.
    """

    train: Path
    config: FilesDataConfig
    sentence: str


def find_data_files(text: str, key: str, quoting: Quoting | None) -> DataFiles:
    """The files of a data set.

    Args:
        text: a file, or a folder, as the user gives it.
        key: for messages.
        quoting: of CSV and TSV, for the recipe.

    Raises:
        UserError: if there is neither, or the folder does not say which file is train.
    """
    path = given_path(text, key)
    if is_file(path, key):
        return _beside(path, key, quoting)
    if not is_folder(path, key):
        raise UserError(f"{key}: there is no file or folder {shown(path)}; check the path")
    train = find_file(path, "train", key)
    if train is not None:
        return _beside(train, key, quoting)
    files = sorted(each for each in path.iterdir() if is_rows_file(each))
    if len(files) == 1:
        if _is_test(files[0]):
            raise UserError(
                f"{key}: {shown(path)} has {cut(files[0].name)} alone, whose name says that it is to be tested on; "
                "give the folder of the training file, or that file itself to train on it"
            )
        return _alone(files[0], quoting)
    names = ", ".join(cut(each.name) for each in files[:_MAX_NAMES]) or "no file of rows"
    more = f" and {len(files) - _MAX_NAMES} more" if len(files) > _MAX_NAMES else ""
    raise UserError(f"{key}: no file train.* is in {shown(path)}, which has {names}{more}; name the training file")


def _beside(train: Path, key: str, quoting: Quoting | None) -> DataFiles:
    """A training file with the validation file beside it, which is looked for only if it is called train."""
    if train.name.lower().split(".")[0] != "train":
        return _alone(train, quoting)
    for name in _VALIDATION_NAMES:
        if (found := find_file(train.parent, name, key)) is None:
            continue
        sentence = f"train is {cut(train.name)}, validation {cut(found.name)}"
        if name == "validation" and train.name.startswith("train."):
            return DataFiles(train, FilesDataConfig(folder=str(train.parent), quoting=quoting), sentence)
        config = FilesDataConfig(train=str(train), validation=str(found), quoting=quoting)
        return DataFiles(train, config, sentence)
    return _alone(train, quoting)


def _alone(train: Path, quoting: Quoting | None) -> DataFiles:
    config = FilesDataConfig(train=str(train), validation_fraction=_VALIDATION_FRACTION, quoting=quoting)
    share = f"a seeded {100 * _VALIDATION_FRACTION:.0f}% of {cut(train.name)}"
    doubt = f"; {cut(train.name)} is trained on, though its name says test" if _is_test(train) else ""
    return DataFiles(train, config, f"validation is {share}, as there is no validation file{doubt}")


def _is_test(path: Path) -> bool:
    return path.name.lower().split(".")[0] == "test"
