"""Weights: read official checkpoints and our own, never unpickling anything but tensors."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from nephrospot.errors import InputError, tell_cause
from nephrospot.files import parse_json, whole
from nephrospot.models import Method, build, build_shapes

# Of torch's own unpickler, which makes nothing but tensors, and of what it finds in damaged files.
CHECKPOINT_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, OverflowError, zipfile.BadZipFile,
)  # fmt: skip


def load_weights(network: str, path: str | Path) -> tuple[Method, dict]:
    """Build ``network`` and fill it.

    Parameters
    ----------
    network
        A name of `nephrospot.models.NETWORKS`.
    path
        ``.safetensors`` with a card (ours), or a torch checkpoint with a plain state dict
        (official ``.pth``; names may carry ``module.``).

    Returns
    -------
    method : Method, in evaluation mode, float32
    card : dict, what the file says of itself ({} for a torch checkpoint)

    Raises
    ------
    InputError
        When the file is missing, unreadable, or of another architecture; or as `nephrospot.models.build`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there are no weights; correct methods → weights in the configuration.")
    state, card = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_checkpoint(path), {})
    # Its shapes alone at first: a card can ask for a network that no memory holds. (The two of the optional extra
    # can't be built so: timm computes with the tensors.)
    method = _build(build if network.startswith("kpis-") else build_shapes, network, card, path)
    wanted, found = ({n: tuple(tensor.shape) for n, tensor in s.items()} for s in (method.state_dict(), state))
    if wanted != found:
        raise InputError(
            f"{path}: these aren't weights of {network}: {_tell_difference(wanted, found)}; give weights of {network}."
        )
    method = _build(build, network, card, path)
    method.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    )
    return method.eval(), card


def save_weights(method: Method, path: str | Path, card: dict) -> None:
    """Write weights in half precision with their card; ``card["options"]`` rebuilds the method."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in method.state_dict().items()
    }
    with whole(path) as temporary:
        # Not save_file, which makes files that nobody else may read.
        temporary.write_bytes(save(state, metadata={"card": json.dumps(card, sort_keys=True)}))


def read_card(path: str | Path) -> dict:
    """The card of a weights file; {} where there is none."""
    return _read_safetensors(Path(path))[1] if str(path).endswith(".safetensors") else {}


def _build(make: Callable[..., Method], network: str, card: dict, path: Path) -> Method:
    try:
        return make(network, **card.get("options", {}))
    except InputError:
        raise  # a sentence already, and also a ValueError
    except (TypeError, ValueError, RuntimeError, OverflowError, ZeroDivisionError) as error:
        raise InputError(
            f"{path}: its card's options don't fit {network} ({tell_cause(error)}); give weights of {network}."
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    try:
        with safe_open(path, framework="pt") as file:
            card = parse_json((file.metadata() or {}).get("card", "{}"))
            if not isinstance(card, dict) or not isinstance(card.get("options", {}), dict):
                raise ValueError("its card isn't one of nephrospot's")
            return {name: file.get_tensor(name) for name in file.keys()}, card  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: the weights can't be read ({tell_cause(error)}); copy the file again.") from error


def _read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    try:
        _refuse_packed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CHECKPOINT_ERRORS as error:
        raise InputError(
            f"{path}: this isn't a torch checkpoint that holds tensors alone ({tell_cause(error)}); "
            "save the model's state_dict() and give that file."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(
            f"{path}: the checkpoint isn't a state dict; save the model's state_dict() and give that file."
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _refuse_packed(path: Path) -> None:
    """A checkpoint is a ZIP of stored parts: packed ones can unpack to any size."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if any(part.compress_type != zipfile.ZIP_STORED for part in file.infolist()):
                raise ValueError("its parts are packed, as torch never does")


def _tell_difference(wanted: dict, found: dict) -> str:
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    other = [name for name in wanted if name in found and wanted[name] != found[name]]
    said = []
    if missing:
        said.append(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if extra:
        said.append(f"{len(extra)} are unknown, such as {extra[0]}")
    if other:
        said.append(f"{other[0]} has shape {found[other[0]]} instead of {wanted[other[0]]}")
    return "; ".join(said)
