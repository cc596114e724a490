"""How a method is trained, read from the configuration; the defaults are Omni-Seg's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from nephrospot.errors import Problems, did_you_mean

OPTIMISERS = ("sgd", "adam", "nadam", "radam", "rmsprop")
SCHEDULES = ("poly", "cosine", "constant", "plateau")
PRECISIONS = ("fp32", "bf16")
POLY_POWER = 0.9


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule and batches.

    Attributes
    ----------
    optimiser : "sgd", "adam", "nadam", "radam" or "rmsprop"
    learning_rate : float
    momentum : float
        Of sgd and rmsprop.
    nesterov : bool
        Of sgd.
    weight_decay : float
    schedule : "poly", "cosine", "constant" or "plateau"
        poly: × (1 − epoch / epochs)^0.9; cosine: × (1 + cos(π epoch / epochs)) / 2, both epoch by epoch; plateau:
        × ``factor`` after each ``patience`` epochs without a better validation Dice.
    patience, factor : int, float
        Of the plateau schedule.
    warm_up_steps : int
        The learning rate grows linearly over this many steps.
    epochs : int
    patches_per_epoch : int or None
        None: each training patch once. More than there are: some come again; fewer: others each epoch.
    batch, pool : int
        See `nephrospot.training.pools`.
    precision : "fp32" or "bf16"
        bf16 by autocast: weights and losses stay float32.
    clip : float or None
        Largest norm of the gradient.
    official_augmentation : bool
        See `nephrospot.training.augment`.

    Notes
    -----
    Omni-Seg's official training code: SGD 1e-3 with Nesterov momentum 0.99, no weight decay, poly, 200 epochs.
    """

    optimiser: str = "sgd"
    learning_rate: float = 1e-3
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 0.0
    schedule: str = "poly"
    patience: int = 15
    factor: float = 0.3
    warm_up_steps: int = 0
    epochs: int = 200
    patches_per_epoch: int | None = None
    batch: int = 4
    pool: int = 8
    precision: str = "fp32"
    clip: float | None = None
    official_augmentation: bool = False

    def __post_init__(self) -> None:
        problems = Problems()
        _check(self, problems, "the recipe")
        problems.raise_if_any()

    def as_dict(self) -> dict[str, Any]:
        """For the card."""
        return dataclasses.asdict(self)

    def make_optimiser(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser, at the full learning rate."""
        common = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        match self.optimiser:
            case "sgd":
                nesterov = self.nesterov and self.momentum > 0
                return torch.optim.SGD(parameters, momentum=self.momentum, nesterov=nesterov, **common)
            case "rmsprop":
                return torch.optim.RMSprop(parameters, momentum=self.momentum, **common)
            case name:
                kinds = {"adam": torch.optim.Adam, "nadam": torch.optim.NAdam, "radam": torch.optim.RAdam}
                return kinds[name](parameters, **common)

    def rate(self, epoch: int, step: int, scores: list[float]) -> float:
        """Learning rate of a step.

        Parameters
        ----------
        epoch : from 0
        step : from 0, over all epochs
        scores : mean validation Dice of the epochs before
        """
        rate = self.learning_rate
        if self.schedule == "poly":
            rate *= (1 - epoch / self.epochs) ** POLY_POWER
        elif self.schedule == "cosine":
            rate *= (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        elif self.schedule == "plateau":
            rate *= self.factor ** count_plateaus(scores, self.patience)
        return rate * min(1.0, (step + 1) / self.warm_up_steps) if self.warm_up_steps else rate


def count_plateaus(scores: list[float], patience: int) -> int:
    """How often ``patience`` epochs in a row were no better than the best before them."""
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def read_recipe(content: Mapping[str, Any] | None, where: str = "training → recipe") -> Recipe:
    """A recipe from the configuration; keys left out take the defaults.

    Raises
    ------
    InputError
        With a sentence for every key that is unknown or has a value that can't be.
    """
    content, problems = dict(content or {}), Problems()
    names = [field.name for field in dataclasses.fields(Recipe)]
    for key in [key for key in content if key not in names]:
        problems.add(f"{where}: {key!r} is unknown; {did_you_mean(key, names)}")
        del content[key]
    draft = object.__new__(Recipe)  # the defaults and what was given, not yet checked
    for field in dataclasses.fields(Recipe):
        value = content.get(field.name, field.default)
        if isinstance(field.default, float) and type(value) is int:
            value = float(value)  # YAML's 1 means 1.0
        object.__setattr__(draft, field.name, value)
    _check(draft, problems, where)
    problems.raise_if_any()
    return draft


def _check(recipe: Recipe, problems: Problems, where: str) -> None:
    for key, options in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
        if (value := getattr(recipe, key)) not in options:
            problems.add(f"{where}: {key} {value!r} is unknown; {did_you_mean(value, options)}")
    for key in ("nesterov", "official_augmentation"):
        if not isinstance(value := getattr(recipe, key), bool):
            problems.add(f"{where}: {key} is {value!r}; give true or false.")
    for key, least in (("epochs", 1), ("batch", 1), ("pool", 1), ("patience", 1), ("warm_up_steps", 0)):
        if type(value := getattr(recipe, key)) is not int or value < least:
            problems.add(f"{where}: {key} is {value!r}; give a whole number, {least} or more.")
    amount = recipe.patches_per_epoch
    if amount is not None and (type(amount) is not int or amount < 1):
        problems.add(f"{where}: patches_per_epoch is {amount!r}; give a whole number, or null for all.")
    ranges = {
        "learning_rate": (lambda v: v > 0, "a number above 0, such as 0.001"),
        "momentum": (lambda v: 0 <= v < 1, "a number from 0 to below 1, such as 0.9"),
        "weight_decay": (lambda v: v >= 0, "0 or a number above"),
        "factor": (lambda v: 0 < v < 1, "a number between 0 and 1"),
        "clip": (lambda v: v > 0, "a number above 0, or null for none"),
    }
    for key, (fits, wanted) in ranges.items():
        value = getattr(recipe, key)
        if value is None and key == "clip":
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not fits(value)
        ):
            hint = " (YAML reads 1e-3 as text: write 1.0e-3 or 0.001)" if isinstance(value, str) else ""
            problems.add(f"{where}: {key} is {value!r}; give {wanted}{hint}.")
    if type(recipe.batch) is int and type(recipe.pool) is int and recipe.pool < 2 * recipe.batch - 1:
        problems.add(
            f"{where}: a pool of {recipe.pool} can't serve batches of {recipe.batch}; give pool {2 * recipe.batch - 1} "
            "or more."
        )
