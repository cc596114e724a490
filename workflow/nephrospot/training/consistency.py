"""Consistency: two views of a patch should be summed up alike by the encoder.

Omni-Seg (IEEE TBME 2023, sections III C and IV B) names a KL divergence and a mean squared error between two augmented
views in the manner of SimSiam (Chen & He, CVPR 2021), on the globally pooled vector; how the two are weighted, and
how a vector becomes a distribution, it doesn't say.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nephrospot.errors import InputError
from nephrospot.models import Method

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
CHANCES = {"flip": 0.5, "jitter": 0.8, "grey": 0.2, "blur": 0.1}
BLUR_SIGMA_PX, BLUR_KERNEL_PX = (0.1, 2.0), 25
TRIES = 10
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw_view(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random view of a patch: a piece of it enlarged, mirrored, its colours changed, blurred.

    Parameters
    ----------
    image : uint8 RGB (H, W, 3)

    Returns
    -------
    float32 (H, W, 3) in 0..1; not brought to ImageNet's mean and spread, since the networks take 0..1
    """
    height, width = image.shape[:2]
    top, left, rows, columns = _draw_crop(height, width, rng)
    view = cv2.resize(image[top : top + rows, left : left + columns], (width, height), interpolation=cv2.INTER_CUBIC)
    view = view.astype(np.float32) / 255
    flip, jitter, grey, blur = (rng.random() < chance for chance in CHANCES.values())
    if flip:
        view = view[:, ::-1]
    if jitter:
        view = _jitter(view, rng)
    if grey:
        view = np.repeat((view @ LUMA)[..., None], 3, axis=2)
    if blur:
        view = cv2.GaussianBlur(
            np.ascontiguousarray(view), (BLUR_KERNEL_PX, BLUR_KERNEL_PX), float(rng.uniform(*BLUR_SIGMA_PX))
        )
    return np.ascontiguousarray(np.clip(view, 0, 1), dtype=np.float32)


def _draw_crop(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(TRIES):
        area = rng.uniform(*AREA) * height * width
        aspect = np.exp(rng.uniform(*np.log(ASPECT)))
        rows, columns = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    return 0, 0, height, width


def _jitter(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue, in any order."""
    for kind in rng.permutation(list(JITTER)):
        by = float(rng.uniform(-JITTER[kind], JITTER[kind]))
        if kind == "brightness":
            view = view * np.float32(1 + by)
        elif kind == "contrast":
            mean = (view @ LUMA).mean()
            view = mean + (view - mean) * np.float32(1 + by)
        elif kind == "saturation":
            grey = (view @ LUMA)[..., None]
            view = grey + (view - grey) * np.float32(1 + by)
        else:
            hsv = cv2.cvtColor(np.ascontiguousarray(view), cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + 360 * by) % 360
            view = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        view = np.clip(view, 0, 1)
    return view


def pool_vectors(method: Method, images: Tensor) -> Tensor:
    """The encoder's pooled vector of each image, float32 (N, C).

    Raises
    ------
    InputError
        When the method has none.
    """
    encode = getattr(method, "encode", None)
    answer = encode(images) if callable(encode) else None
    pooled = answer[1] if isinstance(answer, tuple) and len(answer) == 2 else None
    if not isinstance(pooled, Tensor) or pooled.ndim != 2 or len(pooled) != len(images):
        raise InputError(
            f"consistency needs one pooled vector an image from the encoder, which {type(method).__name__} doesn't "
            "give; set consistency to false for this method (pseudo-labels work for any), or train Omni-Seg."
        )
    return pooled.float()


def consistency_loss(one: Tensor, other: Tensor, kl_weight: float = 1.0, mse_weight: float = 1.0) -> Tensor:
    """Symmetric KL divergence of the vectors' soft-maxes, and mean squared error of the vectors.

    Parameters
    ----------
    one, other : (N, C)

    Returns
    -------
    scalar, 0 where the views agree and above elsewhere

    Notes
    -----
    What can be found of the authors' own code gives torch's ``kl_div`` two distributions, where it wants the first as
    logarithms. It then computes Σ q·(log q − p), which isn't a divergence: it is below zero for equal views, and for
    a given q it is least where all of p lies on q's largest entry, so it rewards pointed vectors, not equal ones.
    Here the first is a log-soft-max, and the mean of both directions is taken, since no view is the truth.
    """
    log_p, log_q = one.log_softmax(dim=1), other.log_softmax(dim=1)
    forth = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    back = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    return kl_weight * (forth + back) / 2 + mse_weight * F.mse_loss(one, other)


def compare_views(
    method: Method, images: list[np.ndarray], rng: np.random.Generator, kl_weight: float, mse_weight: float
) -> Tensor:
    """The consistency loss of two views of each patch (uint8 RGB, all of one size), from one pass."""
    views = np.stack([draw_view(image, rng) for _ in range(2) for image in images])
    device = next(method.parameters()).device
    tensor = torch.from_numpy(views).to(device).permute(0, 3, 1, 2).contiguous()
    one, other = pool_vectors(method, tensor).chunk(2)
    return consistency_loss(one, other, kl_weight, mse_weight)
