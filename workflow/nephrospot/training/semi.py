"""Semi-supervision as an extra of the training: pseudo-labels of whole regions, and consistency between views.

Omni-Seg (Deng et al., IEEE TBME 2023, sections III C and IV B). Where the paper is silent: `docs/decisions.md`.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nephrospot.errors import InputError
from nephrospot.files import sha256
from nephrospot.models import TISSUES, Method
from nephrospot.training.augment import augment
from nephrospot.training.consistency import compare_views, pool_vectors
from nephrospot.training.matching import find_places, list_zooms
from nephrospot.training.patches import read_patch
from nephrospot.training.pseudo_patches import PseudoPatch, cut_patches, read_readings
from nephrospot.training.semi_options import SemiOptions, read_semi_options

__all__ = ["SemiOptions", "SemiSupervision", "read_semi_options"]

log = logging.getLogger(__name__)


class SemiSupervision:
    """An extra of `nephrospot.training.train.train_method`.

    Parameters
    ----------
    options
    rois
        Of `nephrospot.training.rois.list_rois`; not needed for consistency alone.
    patches
        Of `nephrospot.training.patches.list_patches`. Where they have a column ``split``, only those of "training"
        are used, and of the regions none that has, or whose patient has, a patch of another part.

    Attributes
    ----------
    card : dict
        What it was asked for, and of which regions.
    counts : Counter
        What became of the windows at the last refresh.

    Raises
    ------
    InputError
        When no region may be used, or a tissue has no labelled patch.
    """

    def __init__(self, options: SemiOptions, rois: pd.DataFrame | None, patches: pd.DataFrame) -> None:
        self.options = options
        split = patches["split"] if "split" in patches else pd.Series("training", index=patches.index)
        self.patches = patches[split == "training"].reset_index(drop=True)
        if not len(self.patches):
            raise InputError("training → semi: no patch is for training; give that part a share of the split.")
        self.counts: Counter = Counter()
        self._pseudo: dict[int, list[PseudoPatch]] = {}
        self._places: pd.DataFrame | None = None
        self._checked = False
        self.card = {"kind": "semi-supervision", "options": options.as_dict(), "regions": 0}
        if options.pseudo:
            if rois is None:
                raise InputError(
                    "training → semi: pseudo-labels need regions; give their folder, or set pseudo: false."
                )
            self.rois = choose_rois(rois, patches[split != "training"], self.patches, options)
            self.readings = read_readings(self.patches, options.tissues)
            self.window_px = options.window_px or _first_side(self.patches)
            digests = [sha256(image) for image in self.rois["image"]]
            told = repr((digests, self.rois["mpp"].tolist(), self.rois["roi"].tolist()))
            self.card |= {"regions": len(self.rois), "digest": hashlib.sha256(told.encode()).hexdigest()[:12]}

    def begin_epoch(self, method: Method, epoch: int, rng: np.random.Generator) -> None:
        """Make the pseudo-labelled patches anew, if it is time.

        Parameters
        ----------
        epoch
            From 0; up to ``warm_up_epochs`` nothing happens but that a method without a pooled vector is refused.
        """
        options = self.options
        if not self._checked and options.consistency:
            _refuse_without_pooled_vector(method)
            self._checked = True
        since = epoch - options.warm_up_epochs
        if since < 0 or not options.pseudo or (self._pseudo and since % options.refresh_epochs):
            return
        if self._places is None:
            self._places = self._find_places()
        chosen = self.rois
        if options.rois_per_epoch is not None and options.rois_per_epoch < len(chosen):
            chosen = chosen.iloc[np.sort(rng.permutation(len(chosen))[: options.rois_per_epoch])]
        self.counts, self._pseudo = Counter(), {}
        for roi in chosen.itertuples():
            places = self._places[self._places["roi_index"] == roi.Index]
            made, counts = cut_patches(
                method, roi, places, self.patches, self.readings, options, self.window_px, rng
            )  # fmt: skip
            self.counts += counts
            for patch in made:
                self._pseudo.setdefault(patch.tissue_id, []).append(patch)
        told = ", ".join(f"{what} {count}" for what, count in sorted(self.counts.items()))
        log.info("epoch %d: pseudo-labels from %d regions (%s)", epoch + 1, len(chosen), told)

    def loss(self, method: Method, epoch: int, rng: np.random.Generator) -> Tensor | None:
        """Loss on a batch of pseudo-labelled patches of one tissue × its ratio, and of consistency × its weights.

        The views compared are of the same patches, or, without pseudo-labels, of labelled ones. None before the end
        of the warm-up, and where there is nothing to learn from.
        """
        options = self.options
        if epoch < options.warm_up_epochs:
            return None
        total, pictures = None, None
        if options.pseudo and self._pseudo:
            tissue = int(rng.choice(sorted(self._pseudo)))
            held = self._pseudo[tissue]
            batch = [held[i] for i in rng.permutation(len(held))[: options.batch]]
            ratio = options.ratio_ptc if TISSUES[tissue] == "PTC" else options.ratio
            total, pictures = ratio * _pseudo_loss(method, batch, rng), [patch.image for patch in batch]
        if options.consistency and (options.kl_weight or options.mse_weight):
            pictures = pictures or self._read_labelled(rng)
            agreement = compare_views(method, pictures, rng, options.kl_weight, options.mse_weight)
            total = agreement if total is None else total + agreement
        return total

    def state_dict(self) -> dict:
        """The pseudo-labelled patches that later epochs still learn from, for a checkpoint."""
        if self.options.refresh_epochs == 1:  # each epoch makes its own
            return {"patches": []}
        return {
            "patches": [
                {"image": torch.from_numpy(patch.image.copy()), "mask": torch.from_numpy(patch.mask.copy())}
                | {"tissue_id": patch.tissue_id, "scale_id": patch.scale_id}
                for patches in self._pseudo.values()
                for patch in patches
            ]
        }

    def load_state_dict(self, state: dict) -> None:
        """Take over what `state_dict` gave."""
        self._pseudo = {}
        for held in state["patches"]:
            patch = PseudoPatch(
                held["image"].numpy(), held["mask"].numpy(), int(held["tissue_id"]), int(held["scale_id"])
            )
            self._pseudo.setdefault(patch.tissue_id, []).append(patch)

    def _read_labelled(self, rng: np.random.Generator) -> list[np.ndarray]:
        tissue = rng.choice(sorted(self.patches["tissue_id"].unique()))
        own = self.patches[self.patches["tissue_id"] == tissue]
        chosen = own.iloc[rng.permutation(len(own))[: self.options.batch]]
        return [read_patch(row.image, row.mask, getattr(row, "side_px", 0))[0] for row in chosen.itertuples()]

    def _find_places(self) -> pd.DataFrame:
        if self.options.strategy != "matching":
            return pd.DataFrame(columns=["roi_index", "patch_index", "left", "top", "side", "score"])
        tried = find_places(self.rois, self.patches, list_zooms(*self.options.zooms))
        found = tried[tried["score"] > self.options.threshold]
        log.info("matching: %d of %d patches were found in their regions", found["patch_index"].nunique(),
                 tried["patch_index"].nunique())  # fmt: skip
        if not len(found):
            raise InputError(
                f"training → semi: none of {len(tried)} labelled patches was found in its region above a correlation "
                f"of {self.options.threshold:g}; look whether names and mpp of the regions are right, widen zooms, "
                "or set strategy to grid."
            )
        return found


def choose_rois(
    rois: pd.DataFrame, held_out: pd.DataFrame, training: pd.DataFrame, options: SemiOptions
) -> pd.DataFrame:
    """Regions that may teach: nothing of theirs is held out; for matching, patches of theirs are labelled.

    Of these the first ``options.share`` in an order that ``options.share_seed`` draws, whole regions.
    """
    patients = set(held_out["patient"].astype(str)) - {""} if "patient" in held_out else set()
    names = rois["roi"].astype(str)
    free = ~names.isin(held_out["roi"].astype(str)) & ~rois["patient"].astype(str).isin(patients)
    if options.strategy == "matching":
        free &= names.isin(training["roi"].astype(str))
    left = sorted(names[free].unique())
    if not left:
        raise InputError(
            f"training → semi: of {len(rois)} regions none may be used; they must have the names of training patches "
            "(im_12.png for im_12_0.png) and no patch or patient in validation or test. Split by roi or by patient."
        )
    order = np.random.default_rng(options.share_seed).permutation(left)
    kept = order[: math.ceil(options.share * len(left) - 1e-9)]
    return rois[free & names.isin(kept)].reset_index(drop=True)


def _pseudo_loss(method: Method, batch: list[PseudoPatch], rng: np.random.Generator) -> Tensor:
    """The method's own loss on augmented pseudo-labelled patches."""
    device = next(method.parameters()).device
    pictures, masks = zip(*(augment(patch.image, patch.mask, rng) for patch in batch), strict=True)
    images = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).contiguous()
    ids = [torch.tensor([getattr(patch, name) for patch in batch], device=device) for name in ("tissue_id", "scale_id")]
    return method.loss(method(images, *ids).float(), torch.from_numpy(np.stack(masks)).to(device))


@torch.no_grad()
def _refuse_without_pooled_vector(method: Method) -> None:
    was_training, side = method.training, 4 * method.stride
    method.eval()
    pool_vectors(method, torch.zeros((1, 3, side, side), device=next(method.parameters()).device))
    method.train(was_training)


def _first_side(patches: pd.DataFrame) -> int:
    row = next(patches.itertuples())
    image, _ = read_patch(row.image, row.mask, getattr(row, "side_px", 0))
    return min(image.shape[:2])
