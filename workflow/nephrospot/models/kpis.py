"""The KPIs paper's two networks for glomeruli: FPN on a Mix Transformer, U-Net++ on ResNeSt-101.

Sánchez et al., "Glomeruli Segmentation in Whole-Slide Images: Is Better Local Performance Always Better?", KPIs
challenge, MICCAI 2024, sections 2.1 and 2.2. Both networks are those of segmentation_models.pytorch, which the paper
used, and come with the optional extra ``kpis``; nothing of it is imported before a network is built. Five folds and
flips are `nephrospot.models.ensemble`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.errors import InputError, did_you_mean
from nephrospot.models.method import TISSUES
from nephrospot.models.separate import Separate

GLOMERULUS = ("CAP",)
DICE_SMOOTHING = 1e-5


def dice_entropy_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice of the foreground, image by image, plus cross-entropy, 1:1 and without a ring (section 2.2).

    Parameters
    ----------
    logits : (N, 2, H, W), of background and foreground, which share a soft-max
    masks : (N, H, W), 0/1

    Returns
    -------
    scalar
    """
    margins, masks = logits[:, 1] - logits[:, 0], masks.to(logits.dtype)
    probabilities = margins.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2))
    total = probabilities.sum(dim=(1, 2)) + masks.sum(dim=(1, 2))
    dice = 1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)
    return dice.mean() + F.binary_cross_entropy_with_logits(margins, masks)


class OneLogit(nn.Module):
    """A network with one logit, (N, 3, H, W) → (N, 1, H, W), as one with two: the background's is 0."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, core: slice | None = None) -> Tensor:
        """Logits (N, 2, H, W), or their core."""
        margins = self.network(images)
        if core is not None:
            margins = margins[:, :, core, core]
        return torch.cat([torch.zeros_like(margins), margins], dim=1)


class Glomeruli(Separate):
    """What both have in common: a network for each of ``tissues``, 32 times smaller at its deepest, and the loss.

    Raises
    ------
    InputError
        When it is asked for a tissue that it has no network for.
    """

    stride = 32

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        super().__init__({tissue: OneLogit(network) for tissue, network in networks.items()})
        self.tissues = tuple(networks)

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """See `Method.forward`."""
        self.check_tissues(torch.as_tensor(tissue_ids).unique().tolist())
        return super().forward(images, tissue_ids, scale_ids)

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`."""
        self.check_tissues(tissue for tissue, _ in readings)
        return super().margins(images, readings, core)

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """See `dice_entropy_loss`."""
        return dice_entropy_loss(logits, masks)

    def check_tissues(self, tissue_ids: Iterable[int]) -> None:
        """Refuse tissues without a network."""
        if lacking := [TISSUES[index] for index in tissue_ids if TISSUES[index] not in self.tissues]:
            raise InputError(
                f"this method has a network for {', '.join(self.tissues)} and none for {', '.join(lacking)}; leave "
                "the others out of its species_readings or its training patches, or train it with the option tissues."
            )


class FPNMiT(Glomeruli):
    """Model 1: a feature pyramid network on a Mix Transformer; 62,729,793 parameters a tissue.

    Parameters
    ----------
    encoder
        Encoder of segmentation_models.pytorch; with ``tu-`` before it any of timm's. The paper doesn't say how large
        its Mix Transformer is; the commands in its repository say B4.
    tissues
        Those with a network: the glomerulus as published.
    width
        Of the decoder: the pyramid has 16 and the segmentation branch 8 times as many channels (256 and 128 as
        published).

    Raises
    ------
    InputError
        Without the extra, and for an unknown encoder or tissue.
    """

    def __init__(self, encoder: str = "mit_b4", tissues: Sequence[str] = GLOMERULUS, width: int = 16) -> None:
        library = _check(encoder, tissues, width)
        decoder = {"decoder_pyramid_channels": 16 * width, "decoder_segmentation_channels": 8 * width}
        super().__init__({t: library.FPN(encoder, encoder_weights=None, classes=1, **decoder) for t in tissues})


class UNetPPResNeSt(Glomeruli):
    """Model 2: U-Net++ on timm's ResNeSt-101; 73,215,921 parameters a tissue.

    Parameters
    ----------
    encoder, tissues
        As for `FPNMiT`; Mix Transformers lack the finest features that a U-Net++ joins.
    width
        Channels at full resolution (16 as published), doubled with each of the five levels.

    Raises
    ------
    InputError
        As for `FPNMiT`.
    """

    def __init__(self, encoder: str = "tu-resnest101e", tissues: Sequence[str] = GLOMERULUS, width: int = 16) -> None:
        library = _check(encoder, tissues, width)
        channels = [width * 2**level for level in (4, 3, 2, 1, 0)]
        super().__init__(
            {
                tissue: library.UnetPlusPlus(encoder, encoder_weights=None, classes=1, decoder_channels=channels)
                for tissue in tissues
            }
        )


def _check(encoder: str, tissues: Sequence[str], width: int) -> ModuleType:
    """The library, once the options are known to be sound."""
    if width % 4:
        raise ValueError(f"width is {width}; it must be a multiple of 4.")  # 32 groups in the pyramid's norms
    if isinstance(tissues, str) or not tissues:
        raise InputError(f"tissues is {tissues!r}; give a list of at least one, such as [CAP].")
    for tissue in tissues:
        if tissue not in TISSUES:
            raise InputError(f"tissues: {tissue!r} is unknown; {did_you_mean(tissue, TISSUES)}")
    library = import_library()
    import timm

    own, kind = list(library.encoders.encoders), encoder.removeprefix("tu-")
    if encoder not in own and not (kind != encoder and timm.is_model(kind)):
        names = own if kind == encoder else [f"tu-{name}" for name in timm.list_models()]
        near = did_you_mean(encoder, names)
        near = near if near.startswith("did") else "see segmentation_models.pytorch's table of encoders."
        raise InputError(f"encoder {encoder!r} is unknown; {near}")
    return library


def import_library() -> ModuleType:
    """segmentation_models_pytorch.

    Raises
    ------
    InputError
        With the command that installs it, or the torchvision that goes with this torch.
    """
    try:
        import segmentation_models_pytorch
    except ModuleNotFoundError as error:
        raise InputError(
            f"the KPIs networks need segmentation_models_pytorch, timm and torchvision, and {error.name} isn't "
            "installed; run in the repository: python -m pip install --requirement envs/kpis.txt"
        ) from error
    except RuntimeError as error:
        # torchvision's wheels on PyPI hold operators for the torch there, which has CUDA.
        raise InputError(
            f"the installed torchvision is built for another torch than {torch.__version__} "
            f"({str(error).splitlines()[0]}); for a torch without CUDA run: python -m pip install --force-reinstall "
            "--no-deps torchvision==0.28.0 --index-url https://download.pytorch.org/whl/cpu"
        ) from error
    return segmentation_models_pytorch
