"""The checkpoints of one stage: the newest and the one before it, to resume from, and the best weights, to end with.

Every state needs the weights of its own best epoch. At any moment the disk has a state with these weights:

    best -> best-before, new best        only where an epoch was the best one; the newest state finds its own in either
    newest -> before,    new newest      the state before still finds its own best in best or best-before
    best-before removed                  as soon as both states have the same best epoch
"""

import shutil
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path

from torch import Tensor, nn, optim

from minidisc_ray.files.digests import DamageError
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import is_leftover_of
from minidisc_ray.log import logger
from minidisc_ray.training.state import Checkpoint, TrainingState, read_checkpoint, save_checkpoint
from minidisc_ray.training.workers import Workers

NEWEST, BEFORE, BEST, BEST_BEFORE = "newest", "before", "best", "best-before"
_FOLDERS = (NEWEST, BEFORE, BEST, BEST_BEFORE)
# No folder: a state right after its best epoch has those weights itself.
_OWN = "own"
# Where a state and the weights of its best epoch may be, best first.
_PLACES = tuple(product((NEWEST, BEFORE), (BEST, BEST_BEFORE, _OWN)))


def drop_checkpoints(storage: Storage, stage: Path) -> None:
    """Remove a finished stage's checkpoints, and what a killed process left of unfinished ones."""
    for name in _FOLDERS:
        storage.remove(stage / name)
        _drop_leftovers(storage, stage, name)


def copy_checkpoints(storage: Storage, source: Path, stage: Path) -> None:
    """Let a stage go on from where another one stopped, unless it has begun already.

    Without whole checkpoints there it starts from its beginning, and gives the same numbers.
    """
    if storage.exists(stage / NEWEST) or storage.exists(stage / BEFORE):
        return
    for name in (BEST, NEWEST):
        storage.fetch_sealed(source / name)
        flaw = storage.check_seal(source / name) if storage.exists(source / name) else "it is gone"
        if flaw is not None:
            logger.warning("%s: no whole checkpoint (%s); training from the start", source / name, flaw)
            return
        storage.write_folder(stage / name, partial(shutil.copytree, source / name, dirs_exist_ok=True))


class Checkpoints:
    """Writes and finds a stage's checkpoints; the first worker writes, and decides which one all of them load.

    Args:
        storage: has the stage's folder.
        folder: the stage's.
        workers: all of them call each method together.
    """

    def __init__(self, storage: Storage, folder: Path, workers: Workers) -> None:
        self.storage = storage
        self.folder = folder
        self.workers = workers

    @property
    def newest(self) -> Path:
        """The newest checkpoint's folder."""
        return self.folder / NEWEST

    def save(
        self, trained: Mapping[str, nn.Parameter], optimizer: optim.Optimizer, state: TrainingState, is_best: bool
    ) -> None:
        """Write the newest checkpoint; first the best weights, if these are the best."""
        if self.workers.is_first:
            if is_best:
                save_checkpoint(self.storage, self.folder / BEST, trained, None, state, BEST_BEFORE)
            save_checkpoint(self.storage, self.newest, trained, optimizer, state, BEFORE)
            if not is_best:
                self.storage.remove(self.folder / BEST_BEFORE)
        self.workers.wait()

    def resume(
        self, trained: Mapping[str, nn.Parameter], optimizer: optim.Optimizer
    ) -> tuple[TrainingState, list[Tensor]]:
        """Load the newest whole checkpoint whose best weights are whole too; returns its state and these weights.

        Without such a checkpoint weights and optimiser stay as they are, and the weights are returned as the best.

        Raises:
            DamageError: if another worker finds the checkpoint damaged that the first one found whole.
            StorageError: if the storage does not come back in time.
        """
        place = self._find(trained, optimizer) if self.workers.is_first else 0
        place = int(self.workers.agree(float(place)))
        initial = [parameter.detach().clone() for parameter in trained.values()]
        if place == len(_PLACES):
            if self.workers.is_first:
                drop_checkpoints(self.storage, self.folder)
            return TrainingState(), initial
        name, source = _PLACES[place]
        checkpoint = read_checkpoint(self.storage, self.folder / name, trained, optimizer)
        weights = self._best_weights(checkpoint, source, trained)
        best = [weights[name].to(parameter.device, copy=True) for name, parameter in trained.items()]
        checkpoint.load_into(trained, optimizer)
        self.workers.wait()
        if self.workers.is_first:
            self._tidy_up(name, source, dict(zip(trained, best, strict=True)), checkpoint.state)
        if checkpoint.state.best_epoch == 0:
            best = initial
        return checkpoint.state, best

    def _find(self, trained: Mapping[str, nn.Parameter], optimizer: optim.Optimizer) -> int:
        """Index in ``_PLACES`` of what to load, their number for nothing; warns of each damaged checkpoint."""
        for name in (NEWEST, BEFORE):
            folder = self.folder / name
            if not self.storage.exists(folder):
                continue
            flaws = []
            try:
                checkpoint = read_checkpoint(self.storage, folder, trained, optimizer)
                for source in (BEST, BEST_BEFORE, _OWN):
                    try:
                        self._best_weights(checkpoint, source, trained)
                    except DamageError as error:
                        flaws.append(f"{source}: {error}")
                    else:
                        if flaws and source == _OWN:
                            logger.warning("%s: %s; written again from %s", self.folder / BEST, flaws[0], name)
                        return _PLACES.index((name, source))
                flaw = f"the weights of its best epoch are lost ({'; '.join(flaws)})"
            except DamageError as error:
                flaw = str(error)
            next_best = (
                "the one before it" if name == NEWEST and self.storage.exists(self.folder / BEFORE) else "the start"
            )
            logger.warning("%s: this checkpoint is damaged (%s); resuming from %s", folder, flaw, next_best)
        return len(_PLACES)

    def _best_weights(
        self, checkpoint: Checkpoint, source: str, trained: Mapping[str, nn.Parameter]
    ) -> Mapping[str, Tensor]:
        """The weights of a state's best epoch, from a source; the state's own if no epoch is over."""
        state = checkpoint.state
        if state.best_epoch == 0:
            return checkpoint.weights
        if source == _OWN:
            if state.step_in_epoch > 0 or state.best_epoch < state.epochs_done:
                raise DamageError(f"epoch {state.best_epoch} is over")
            return checkpoint.weights
        found = read_checkpoint(self.storage, self.folder / source, trained, None)
        if found.state.best_epoch != state.best_epoch:
            raise DamageError(f"it is of epoch {found.state.best_epoch}, not {state.best_epoch}")
        return found.weights

    def _tidy_up(self, name: str, source: str, best: Mapping[str, Tensor], state: TrainingState) -> None:
        """Move what was loaded to its usual folders, so that the next checkpoints replace older and damaged ones."""
        for folder in _FOLDERS:
            _drop_leftovers(self.storage, self.folder, folder)
        if name == BEFORE:
            self.storage.remove(self.folder / NEWEST)
        if state.best_epoch == 0:
            return
        if source == BEST_BEFORE:
            self.storage.move(self.folder / BEST_BEFORE, self.folder / BEST)
        elif source == _OWN:
            save_checkpoint(self.storage, self.folder / BEST, best, None, state)


def _drop_leftovers(storage: Storage, stage: Path, name: str) -> None:
    """Remove what a killed process was writing; call it only while this process writes nothing."""
    if not stage.is_dir():
        return
    for entry in list(stage.iterdir()):
        if is_leftover_of(entry, name):
            storage.remove(entry)
