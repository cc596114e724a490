"""Where a training stands after an epoch, in one file beside its output: whole, tensors and numbers alone.

A kill loses the epoch under way at most, and going on gives what an uninterrupted run gives, since all draws of an
epoch come from the seed and the epoch's number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch

from nephrospot.files import whole

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Standing:
    """What an epoch leaves to the next one, beside the weights and the optimiser's state.

    Attributes
    ----------
    steps : int
        Optimiser steps so far.
    history : list of dict
        A curve's point for each epoch.
    best_epoch : int
        From 1; 0 before the first epoch.
    best_state : dict of tensors
        The weights after it, on the CPU, in half precision as they are saved.
    """

    steps: int = 0
    history: list[dict] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)

    @property
    def scores(self) -> list[float]:
        """Mean validation Dice of each epoch."""
        return [point["mean_dice"] for point in self.history]

    def note(self, point: dict, method: torch.nn.Module) -> None:
        """Add an epoch; its weights are kept where they are the best so far."""
        better = not self.history or point["mean_dice"] > max(self.scores)
        self.history.append(point)
        if better:
            self.best_epoch = len(self.history)
            self.best_state = {
                name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().clone()
                for name, tensor in method.state_dict().items()
            }


class Checkpoint:
    """The file beside ``output``.

    Parameters
    ----------
    key
        Whatever decides the output's bytes; a checkpoint under another key isn't used.
    """

    def __init__(self, output: str | Path, key: str) -> None:
        output = Path(output)
        self.path, self.key = output.with_name(f".{output.stem}.checkpoint.pt"), key

    def save(
        self,
        method: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        standing: Standing,
        extras: Sequence = (),
    ) -> None:
        """Replace the file in one step; of the extras, what those with a ``state_dict`` give."""
        content = {
            "extras": [extra.state_dict() if hasattr(extra, "state_dict") else None for extra in extras],
            "key": self.key,
            "method": method.state_dict(),
            "optimiser": optimiser.state_dict(),
            "standing": {f.name: getattr(standing, f.name) for f in dataclasses.fields(standing)},
        }
        with whole(self.path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())  # a power cut may not leave a name without its bytes

    def load(self, method: torch.nn.Module, optimiser: torch.optim.Optimizer, extras: Sequence = ()) -> Standing:
        """Set method and optimiser to where an earlier process stopped; a fresh standing where none did."""
        content = self._read()
        if content is None:
            return Standing()
        method.load_state_dict(content["method"])
        optimiser.load_state_dict(content["optimiser"])
        for extra, state in zip(extras, content["extras"], strict=True):
            if state is not None:
                extra.load_state_dict(state)
        standing = Standing(**content["standing"])
        log.info("going on after epoch %d (%s)", len(standing.history), self.path)
        return standing

    def remove(self) -> None:
        """Once the output stands."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict | None:
        with contextlib.suppress(FileNotFoundError):
            try:
                content = torch.load(self.path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
                if isinstance(error, FileNotFoundError):
                    raise
                log.warning("%s: the checkpoint can't be read (%s); training begins anew.", self.path, error)
                return None
            if content.get("key") == self.key:
                return content
            log.info("%s is of another recipe, data or code; training begins anew.", self.path)
        return None
