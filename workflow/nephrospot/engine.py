"""The network's side of inference: windows in, answers out, on whatever device there is."""

from __future__ import annotations

import logging
import os
import time
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from nephrospot.direct_tiff import Part
from nephrospot.errors import InputError
from nephrospot.models import Method, Place, kernels, scale_id, tissue_id
from nephrospot.models.fast import quicken
from nephrospot.models.normalise import as_array
from nephrospot.readings import Reading
from nephrospot.resample import resample
from nephrospot.sampling import RawWindows, join_raw

log = logging.getLogger(__name__)

GPU_BATCH = 32
GPU_READERS = 8
TOGETHER = 4  # so that on a GPU all readers are at work on the next batch


def choose_device() -> torch.device:
    """CUDA where there is some, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 where the hardware multiplies it in tiles (CUDA, AMX) and float32 elsewhere."""
    if precision == "auto":
        fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
        precision = "bf16" if fast else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


class WindowMemory(NamedTuple):
    """A window's numbers for `Engine.answer`; whoever is done with them may `fill` the memory again.

    Attributes
    ----------
    images : Tensor (1, 3, side, side)
        Channels last, of the engine's type.
    lines : (side, 3 · side)
        The same memory, bfloat16 as uint16.
    """

    images: Tensor
    lines: np.ndarray

    def fill(self, parts: list[Part]) -> None:
        """Take a window of `nephrospot.slide.Slide.read_parts`; by the thread that read it."""
        places = []
        for pixels, top, left, row, column, height, width in parts:
            address, step = pixels.__array_interface__["data"][0], pixels.strides[0]
            places.append((address + top * step + 3 * left, step, row, 3 * column, height, 3 * width))
        kernels.read_parts(np.array(places), self.lines)


class Engine:
    """A method on a device.

    Parameters
    ----------
    method : with its weights
    precision : "auto", "bf16" or "fp32"
    batch_size : windows a pass; by default 1 on a CPU, where it is fastest, and 32 on a GPU
    threads : threads that torch may use; by default as many as the process may run on

    Attributes
    ----------
    readers : int
        Threads that should decode windows for it.
    together : int
        Windows that another thread should read, or make masks of, at a time, and that it should be asked the
        `foreground` of; see `nephrospot.beside`.
    resamples : bool
        Whether it takes windows as they are stored and resamples them itself, as it does on a GPU.
    forward_seconds : float
        Wall time inside the network, on a GPU between its own clock's marks.
    """

    def __init__(
        self, method: Method, precision: str = "auto", batch_size: int | None = None, threads: int | None = None
    ) -> None:
        self.device = choose_device()
        self.dtype = choose_precision(precision, self.device)
        cv2.setNumThreads(1)  # windows are resampled in the readers, which are threads already
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            self.method = quicken(method.float(), self.dtype)
        else:
            self.method = method.to(self.device, self.dtype, memory_format=torch.channels_last).eval()
        self.batch_size = batch_size or (1 if on_cpu else GPU_BATCH)
        self.readers, self.together = 1 if on_cpu else GPU_READERS, TOGETHER
        self.resamples = not on_cpu
        self._seconds = 0.0
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @property
    def packs(self) -> bool:
        """Whether it can be asked for `foreground`."""
        return self.device.type == "cpu"

    @property
    def describe(self) -> dict[str, str]:
        """device and precision, as predict.json says them; masks of another pair may differ by rounding."""
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return {"device": device, "precision": str(self.dtype).removeprefix("torch.")}

    @property
    def forward_seconds(self) -> float:
        if self._marks:
            torch.cuda.synchronize()
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._marks) / 1000
            self._marks.clear()
        return self._seconds

    def allocate(self, side_px: int) -> WindowMemory:
        """Memory for one window's numbers."""
        values = torch.empty((1, side_px, side_px, 3), dtype=self.dtype)
        return WindowMemory(values.permute(0, 3, 1, 2), as_array(values).reshape(side_px, -1))

    @torch.inference_mode()
    def answer(self, windows: list[Tensor] | list[RawWindows], readings: list[Reading], halo_px: int) -> Tensor:
        """Foreground minus background logit of each reading, without the halo.

        Parameters
        ----------
        windows : one a piece, of `WindowMemory`; or as they are stored, where the engine ``resamples``

        Returns
        -------
        float32 (N, readings, kept, kept) on the device

        Raises
        ------
        InputError
            When a single window doesn't fit into the GPU's memory.
        """
        try:
            return self._pass(windows, readings, halo_px)
        except torch.OutOfMemoryError as error:
            n = len(windows)
            if n == 1:
                side = windows[0].side_px if self.resamples else windows[0].shape[-1]
                raise InputError(
                    f"one window of {side} px doesn't fit into the GPU's memory "
                    f"({str(error).split('.')[0]}); use a GPU with more, or make segmentation → window_px smaller."
                ) from error
        # Outside the except clause, since the error holds on to the tensors of the failed pass.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = -(-n // 2)
        if half < self.batch_size:
            log.warning("out of GPU memory with %d windows a pass; going on with %d.", n, half)
            self.batch_size = half
        return torch.cat([self.answer(part, readings, halo_px) for part in (windows[:half], windows[half:])])

    @torch.inference_mode()
    def foreground(
        self, windows: list[Tensor], readings: list[Reading], halo_px: int, places: list[Place]
    ) -> list[bool]:
        """Write where the answers are above zero, a bit a reading, and tell which windows' are finite; on a CPU.

        For any number of windows: whatever is done beside a pass is slow, since a pass leaves nothing of it in the
        processor's caches.

        Parameters
        ----------
        windows : one a piece, of `WindowMemory`
        places : for kept × kept pixels each, see `nephrospot.models.Method.foreground`
        """
        ids, core = list_ids(readings), slice(halo_px, windows[0].shape[-1] - halo_px)
        finite = []
        begin = self._mark()
        for first in range(0, len(windows), self.batch_size):
            some = slice(first, first + self.batch_size)
            finite += self.method.foreground(_join(windows[some]), ids, places[some], core)
        self._mark(begin)
        return finite

    def _pass(self, windows: list[Tensor] | list[RawWindows], readings: list[Reading], halo_px: int) -> Tensor:
        images = self._load(join_raw(windows)) if self.resamples else _join(windows)
        begin = self._mark()
        margins = self.method.margins(images, list_ids(readings), slice(halo_px, images.shape[-1] - halo_px))
        self._mark(begin)
        return margins

    def _load(self, windows: RawWindows) -> Tensor:
        """Bytes to the device, where they are resampled and become numbers, channels last."""
        pixels = torch.from_numpy(windows.pixels)
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return resample(windows, pixels).to(self.dtype).div_(255)

    def _mark(self, begin=None):
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            if begin is not None:
                self._marks.append((begin, event))
            return event
        now = time.perf_counter()
        if begin is not None:
            self._seconds += now - begin
        return now


def list_ids(readings: list[Reading]) -> list[tuple[int, int]]:
    """Tissue id and scale id of each reading, as methods take them."""
    return [(tissue_id(reading.tissue), scale_id(reading.scale_code)) for reading in readings]


def _join(windows: list[Tensor]) -> Tensor:
    return windows[0] if len(windows) == 1 else torch.cat(windows)
