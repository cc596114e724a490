"""Train one method on partially labelled patches, one tissue a batch, and keep its best epoch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from nephrospot.engine import choose_device
from nephrospot.errors import InputError
from nephrospot.files import sha256, write_json
from nephrospot.fingerprint import code_version
from nephrospot.models import SCALE_CODES, Method, build
from nephrospot.models.weights import load_weights, save_weights
from nephrospot.training.checkpoint import Checkpoint, Standing
from nephrospot.training.loading import PatchReader, load_batch, make_rng, prefetch
from nephrospot.training.patches import digest_patches
from nephrospot.training.pools import pool_batches
from nephrospot.training.recipe import Recipe
from nephrospot.training.splits import take_part
from nephrospot.training.validate import predict_patches, validate

__all__ = ["DivergedError", "Extra", "predict_patches", "train_method", "validate"]

log = logging.getLogger(__name__)

CHECK_EVERY = 25  # steps between looks at the loss, each of which waits for the GPU
GPU_LOADERS = 8
# What a generator is for; beside the epoch it is a part of its key.
PATCHES, ORDER, TORCH, EXTRAS = range(4)


class DivergedError(InputError):
    """The loss stopped being a number."""


class Extra(Protocol):
    """Something that teaches beside the labels, such as pseudo-labels.

    A run that goes on after a kill begins with ``begin_epoch`` of the epoch it was stopped in. What an extra carries
    from one epoch to the next beside that goes into the checkpoint where it has ``state_dict()`` and
    ``load_state_dict(state)`` (tensors, numbers, texts, lists and dicts of them). ``card``, where it has one, says what
    it is, in values that JSON knows, before the training.
    """

    def begin_epoch(self, method: Method, epoch: int, rng: np.random.Generator) -> None:
        """Before the steps of an epoch, counted from 0; the method may be left in any mode."""

    def loss(self, method: Method, epoch: int, rng: np.random.Generator) -> Tensor | None:
        """Added to the supervised loss at each step; called under the recipe's autocast."""


def train_method(
    network: str,
    options: dict,
    patches: pd.DataFrame,
    recipe: Recipe,
    output: str | Path,
    curve: str | Path,
    seed: int,
    data: str,
    threads: int | None = None,
    extras: Sequence[Extra] = (),
    initial: str | Path | None = None,
) -> dict:
    """Train and save the weights of the best epoch with their card, and the learning curve beside them.

    Parameters
    ----------
    network, options
        As for `nephrospot.models.build`.
    patches
        Of `nephrospot.training.patches.list_patches`, with a column ``split``: "training" and "validation";
        other parts aren't touched.
    recipe
        Optimiser, schedule and batches.
    output, curve
        Weights (safetensors, half precision), and JSON with loss, learning rate, validation Dice by tissue and
        seconds of each epoch. A checkpoint stands beside ``output`` until it is done.
    seed
        Of the first weights, and with the epoch's number of every draw.
    data
        What the patches are, for the card; simulated data must be called so here.
    threads
        Of torch on a CPU.
    extras
        Further losses.
    initial
        Weights to start from instead of random ones.

    Returns
    -------
    dict, the card; ``validation_foreground_dice`` by tissue is that of ``epoch``, the one with the best mean over
    tissues, the first of equals

    Raises
    ------
    InputError
        When patches don't suit, or the loss stops being a number.

    Notes
    -----
    On a CPU with one number of threads, the same inputs give the same bytes, stopped and taken up again or not. On
    a GPU some sums come in another order each time.
    """
    torch.set_num_threads(threads or torch.get_num_threads())
    cv2.setNumThreads(1)
    training, validation = _take_parts(patches, recipe)
    device = choose_device()
    method = _build(network, options, seed, initial).to(device)
    optimiser = recipe.make_optimiser(method.parameters())
    code = _hash(code_version(__file__), *[code_version(file) for file in _files_of(extras)])
    digest = digest_patches(pd.concat([training, validation]))
    described = [getattr(extra, "card", type(extra).__name__) for extra in extras]
    start = None if initial is None else sha256(initial)
    config = _hash(network, options, recipe.as_dict(), seed, data, described, start)
    checkpoint = Checkpoint(output, _hash(config, digest, code))
    standing = checkpoint.load(method, optimiser, extras)
    readers = [PatchReader(part, method.stride) for part in (training, validation)]
    if not any(readers[1].read(position)[1].any() for position in range(len(validation))):
        raise InputError("no validation patch has foreground, so no epoch could be chosen; use another seed or split.")
    with tqdm(desc=f"training {network}", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for epoch in range(len(standing.history), recipe.epochs):
            began = time.monotonic()
            point = _run_epoch(network, method, optimiser, recipe, readers[0], seed, epoch, extras, standing, bar)
            dice = validate(method, validation, readers[1])
            mean = float(np.mean(list(dice.values()))) if dice else 0.0
            point |= {"validation_foreground_dice": dice, "mean_dice": mean}
            standing.note(point | {"seconds": time.monotonic() - began}, method)
            checkpoint.save(method, optimiser, standing, extras)
            _tell(network, recipe, standing)
    best = standing.history[standing.best_epoch - 1]
    card = {
        "network": network,
        "options": options,
        "data": data,
        "patches": _count(patches),
        "split": {"rois": _count(patches.drop_duplicates(["split", "roi"])), "digest": digest[:12]},
        "recipe": recipe.as_dict(),
        "extras": described,
        "initial": start,
        "seed": seed,
        "epoch": standing.best_epoch,
        "validation_foreground_dice": best["validation_foreground_dice"],
        "scale_codes": {t: SCALE_CODES[s] for t, s in training.groupby("tissue")["scale_id"].first().items()},
        "config": config,
        "code": code,
    }
    write_json(curve, {"network": network, "best_epoch": standing.best_epoch, "epochs": standing.history})
    method.load_state_dict(standing.best_state)
    save_weights(method, output, card)
    checkpoint.remove()
    return card


def _run_epoch(network, method, optimiser, recipe, reader, seed, epoch, extras, standing: Standing, bar) -> dict:
    """All steps of an epoch; answers its point of the curve, without the validation."""
    device = next(method.parameters()).device
    torch.manual_seed(int(make_rng(seed, epoch, TORCH).integers(2**62)))
    rngs = [make_rng(seed, epoch, EXTRAS, index) for index in range(len(extras))]
    for extra, rng in zip(extras, rngs, strict=True):
        extra.begin_epoch(method, epoch, rng)
    method.train()
    ids = reader.patches[["tissue_id", "scale_id"]].to_numpy()
    order = _draw_order(len(reader), recipe.patches_per_epoch, make_rng(seed, epoch, ORDER))
    batches = list(pool_batches(ids[order, 0], recipe.pool, recipe.batch))
    if not batches:
        raise InputError(
            f"epoch {epoch + 1} has no batch of {recipe.batch} patches of one tissue; raise patches_per_epoch."
        )
    bar.total = bar.n + (recipe.epochs - epoch) * len(batches)

    def load(places: list[int]):
        draws = [make_rng(seed, epoch, PATCHES, place) for place in places]
        return order[places], load_batch(reader, order[places].tolist(), draws, recipe.official_augmentation)

    losses: list[Tensor] = []
    workers = min(GPU_LOADERS, len(os.sched_getaffinity(0))) if device.type == "cuda" else 0
    for index, (chosen, (images, masks)) in enumerate(prefetch(load, batches, workers)):
        rate = recipe.rate(epoch, standing.steps, standing.scores)
        for group in optimiser.param_groups:
            group["lr"] = rate
        tissue_ids, scale_ids = torch.from_numpy(ids[chosen]).to(device).unbind(dim=1)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            logits = method(images.to(device, non_blocking=True), tissue_ids, scale_ids)
            loss = method.loss(logits.float(), masks.to(device, non_blocking=True))
            more = [extra.loss(method, epoch, rng) for extra, rng in zip(extras, rngs, strict=True)]
        losses.append(loss.detach())
        loss = sum((extra for extra in more if extra is not None), loss)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(method.parameters(), recipe.clip)
        optimiser.step()
        standing.steps += 1
        bar.update()
        if (index + 1) % CHECK_EVERY == 0 or index + 1 == len(batches):
            _check_finite([*losses[-CHECK_EVERY:], loss.detach()], network, epoch, index, rate)
    return {"loss": float(torch.stack(losses).mean()), "steps": standing.steps, "learning_rate": rate}


def _draw_order(count: int, amount: int | None, rng: np.random.Generator) -> np.ndarray:
    """Positions in the order of their arrival: shuffled, and shuffled again where more are wanted than there are."""
    rounds = -(-(amount or count) // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[: amount or count]


def _check_finite(losses: list[Tensor], network: str, epoch: int, index: int, rate: float) -> None:
    if not torch.stack([loss.float() for loss in losses]).isfinite().all():
        raise DivergedError(
            f"training of {network} failed: the loss isn't a number any more by step {index + 1} of epoch {epoch + 1}; "
            f"lower learning_rate (it is {rate:g}), or set clip to 5 and warm_up_steps to 50."
        )


def _take_parts(patches: pd.DataFrame, recipe: Recipe) -> tuple[pd.DataFrame, pd.DataFrame]:
    training, validation = (take_part(patches, part) for part in ("training", "validation"))
    few = training["tissue"].value_counts().sort_index()
    few = few[few < recipe.batch]
    if len(few) and (recipe.patches_per_epoch or 0) <= len(training):
        told = ", ".join(f"{tissue} {count}" for tissue, count in few.items())
        raise InputError(
            f"too few training patches for a batch of {recipe.batch}, so these would never be learnt: {told}; "
            "label more, leave the tissue out, or make batch smaller."
        )
    unseen = sorted(set(training["tissue"]) - set(validation["tissue"]))
    if unseen:
        log.warning("no validation patches of %s: the best epoch is chosen by the others.", ", ".join(unseen))
    return training, validation


def _build(network: str, options: dict, seed: int, initial: str | Path | None) -> Method:
    torch.manual_seed(seed)
    method = build(network, **options)
    if initial is None:
        return method
    start, card = load_weights(network, initial)
    found, wanted = ({k: v.shape for k, v in m.state_dict().items()} for m in (start, method))
    if found != wanted:
        raise InputError(
            f"{initial}: these weights of {network} were made with options {card.get('options', {})}, and the training "
            f"has {options}; give it the same."
        )
    method.load_state_dict(start.state_dict())
    return method


def _tell(network: str, recipe: Recipe, standing: Standing) -> None:
    point, epoch = standing.history[-1], len(standing.history)
    by_tissue = ", ".join(f"{tissue} {dice:.3f}" for tissue, dice in point["validation_foreground_dice"].items())
    log.info(
        "%s: epoch %d of %d, loss %.3f, validation Dice %.3f (%s), best epoch %d, %.1f s",
        network, epoch, recipe.epochs, point["loss"], point["mean_dice"], by_tissue, standing.best_epoch,
        point["seconds"],
    )  # fmt: skip


def _count(patches: pd.DataFrame) -> dict[str, int]:
    return {str(part): int(count) for part, count in patches["split"].value_counts().sort_index().items()}


def _files_of(extras: Sequence[Extra]) -> list[str]:
    files = {getattr(sys.modules.get(type(extra).__module__), "__file__", None) for extra in extras}
    return sorted(file for file in files if file)


def _hash(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]
