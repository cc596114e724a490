"""Train one method on partially labelled patches, one tissue a batch.

A small recipe for the demonstration's weights: Adam with a warm-up and a poly schedule. Batches of a method
that has a network a tissue reach that network alone, so every tissue gets the same number of steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nephrospot.engine import choose_device
from nephrospot.files import write_json
from nephrospot.models import SCALE_CODES, TISSUES, Method, build
from nephrospot.models.weights import save_weights
from nephrospot.training.augment import augment
from nephrospot.training.patches import list_patches, read_patch, split_by_roi

BATCH = 4
WARM_UP_STEPS = 50


def train_method(
    network: str,
    options: dict,
    patches_root: str | Path,
    output: str | Path,
    curve: str | Path,
    steps: int,
    learning_rate: float,
    seed: int,
    data: str,
    threads: int | None = None,
) -> dict:
    """Train and save the weights with their card, and the learning curve beside them.

    Parameters
    ----------
    network, options
        As for `nephrospot.models.build`.
    steps
        Optimiser steps in all, shared equally by the tissues.
    data
        What the patches are, for the card; simulated data must be called so here.
    curve
        JSON with the loss every 50 steps.

    Returns
    -------
    dict, the card: foreground Dice by tissue on held-out regions among others
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads or torch.get_num_threads())
    rng = np.random.default_rng(seed)
    training, validation = split_by_roi(list_patches(patches_root), 0.15, seed)
    device = choose_device()
    # Not channels_last: torch 2.13's backward of group norm corrupts memory there with narrow groups.
    method = build(network, **options).to(device).train()
    optimiser = torch.optim.Adam(method.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / WARM_UP_STEPS) * (1 - step / steps) ** 0.9
    )
    cache = [read_patch(image, mask) for image, mask in zip(training["image"], training["mask"], strict=True)]
    pools = {tissue: group.index.to_numpy() for tissue, group in training.groupby("tissue_id", sort=True)}
    order = sorted(pools)
    losses: list[dict] = []
    recent: list[float] = []
    for step in tqdm(range(steps), desc=f"training {network}", file=sys.stderr, disable=not sys.stderr.isatty()):
        chosen = rng.choice(pools[order[step % len(order)]], BATCH)
        pictures, masks = zip(*(augment(*cache[index], rng) for index in chosen), strict=True)
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)
        labels = torch.from_numpy(np.stack(masks)).to(device)
        ids = [torch.from_numpy(training.loc[chosen, c].to_numpy()).to(device) for c in ("tissue_id", "scale_id")]
        loss = method.loss(method(images, *ids).float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            losses.append({"step": step + 1, "loss": float(np.mean(recent))})
            recent = []
            print(f"{network}: step {step + 1} of {steps}, loss {losses[-1]['loss']:.3f}", file=sys.stderr, flush=True)
    dice = validate(method, validation)
    card = {
        "network": network,
        "options": options,
        "data": data,
        "patches": {"training": len(training), "validation": len(validation)},
        "steps": steps,
        "learning_rate": learning_rate,
        "seed": seed,
        "validation_foreground_dice": dice,
        "scale_codes": {t: SCALE_CODES[s] for t, s in training.groupby("tissue")["scale_id"].first().items()},
    }
    save_weights(method, output, card)
    write_json(curve, {"network": network, "losses": losses, "validation_foreground_dice": dice})
    return card


@torch.inference_mode()
def validate(method: Method, patches: pd.DataFrame) -> dict[str, float]:
    """Mean foreground Dice of each tissue over its patches (2·TP / (2·TP + FP + FN); empty against empty left out)."""
    method.eval()
    device = next(method.parameters()).device
    scores: dict[str, list[float]] = {tissue: [] for tissue in TISSUES}
    for row in patches.itertuples():
        image, mask = read_patch(row.image, row.mask)
        tensor = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
        predicted = method.margins(tensor, [(row.tissue_id, row.scale_id)])[0, 0].cpu().numpy() > 0
        total = int(predicted.sum()) + int(mask.sum())
        if total:
            scores[row.tissue].append(2 * int((predicted & (mask > 0)).sum()) / total)
    return {tissue: float(np.mean(values)) for tissue, values in scores.items() if values}
