"""The one network that all tools run: our plain U-Net of width 16 with four outputs, background and three tissues.

Its weights are drawn from a seed; only the last layer is fitted to the synthetic slide, so that its answers are
decided and agreement between tools means something. No accuracy is claimed with it.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.unets import UNet

WINDOW_PX = 512
CLASSES = 4
TISSUES = ("DT", "PT", "VES")


def build_network(width: int = 16) -> UNet:
    """A `UNet` with an output for background and each of `TISSUES`."""
    network = UNet(width)
    network.classify = nn.Conv2d(width, CLASSES, 1)
    return network.eval()


def load_network(path: str | Path) -> UNet:
    """The network with the weights that `make_weights` wrote."""
    with torch.device("meta"):  # so that no weights are drawn first
        network = build_network()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    return network.eval()


@torch.inference_mode()
def make_weights(path: str | Path, windows: Tensor, truth: Tensor, seed: int = 0) -> float:
    """Draw weights, set the batch norms by ``windows``, fit the last layer to ``truth``.

    Parameters
    ----------
    windows : float (N, 3, 512, 512) in 0..1
    truth : integers (N, 512, 512), 0..3

    Returns
    -------
    Share of the windows' pixels that the network answers like the truth.
    """
    generator = torch.Generator().manual_seed(seed)
    network = build_network()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fan = module.weight[0].numel() if isinstance(module, nn.Conv2d) else module.in_channels
            module.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.kernel_size == (3, 3):  # mostly means over neighbours, so that colours come through the depth
                module.weight.lerp_(3 * module.weight.mean(dim=(2, 3), keepdim=True), 0.8)
            module.bias.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over all batches
    network.train()
    for window in windows:
        network(window[None])
    network.eval()
    features: list[Tensor] = []
    hook = network.classify.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for window in windows:
        network(window[None])
    hook.remove()
    x, y = torch.cat(features).permute(0, 2, 3, 1).flatten(0, 2), truth.flatten().long()
    weight, bias = _fit_last_layer(x[::7], y[::7])
    network.classify.weight.copy_(weight[..., None, None])
    network.classify.bias.copy_(bias)
    torch.save(network.state_dict(), path)
    return float(((x @ weight.T + bias).argmax(1) == y).double().mean())


@torch.inference_mode(False)
@torch.enable_grad()
def _fit_last_layer(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logistic regression of classes ``y`` (n,) on features ``x`` (n, channels): weight (4, channels), bias (4,)."""
    x, y = x.clone(), y.clone()
    weight = torch.zeros(CLASSES, x.shape[1], requires_grad=True)
    bias = torch.zeros(CLASSES, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(x @ weight.T + bias, y)
        value.backward()
        return value

    search.step(loss)
    return weight.detach(), bias.detach()
