"""A pickle that creates a file when it is loaded: what must never happen to it shows."""

import pickle
import zipfile
from pathlib import Path


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def armed(marker: Path) -> bytes:
    """A pickle as ``pickle.load`` takes it."""
    return pickle.dumps(_Payload(marker))


def write_armed_weights(path: Path, marker: Path) -> Path:
    """The same in the archive that ``torch.load`` takes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", armed(marker))
        archive.writestr("archive/version", "3\n")
    return path


def arm_all(folder: Path, marker: Path) -> list[Path]:
    """Put the payload into every pickle below a folder; returns them."""
    found = sorted(path for path in folder.rglob("*.pkl") if path.is_file())
    for path in found:
        path.write_bytes(armed(marker))
    return found
