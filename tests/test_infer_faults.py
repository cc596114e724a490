"""Faults and sharing: a run that is stopped, split or short of memory ends with the bytes of one that isn't."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
import torch

from nephrospot.engine import Engine
from nephrospot.errors import InputError
from nephrospot.predict import join_stores
from nephrospot.slide import open_slide
from pictures import write_tiff
from segmenting import READINGS, Threshold, draw_waves, files_of, open_waves, predict


@pytest.fixture(scope="module")
def picture():
    return draw_waves()


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    with open_waves(tmp_path_factory.mktemp("slide")) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole_run(slide, tmp_path_factory):
    """A run in one go, with chunks of 8 × 96 px, and its files."""
    folder = tmp_path_factory.mktemp("whole") / "p.zarr"
    facts = predict(slide, folder)
    assert len(facts["pieces"]) > 5, "otherwise nothing could be shared or resumed"
    return facts, files_of(folder)


class Fails(Threshold):
    """The local network, which fails after some passes as if the process had been stopped there."""

    def __init__(self, after=10**6):
        super().__init__()
        passes = [0]

        def count():  # a function, since the engine works with a copy of the method
            passes[0] += 1
            if passes[0] > after:
                raise KeyboardInterrupt

        self.count, self.passes = count, lambda: passes[0]

    def forward(self, *inputs):
        self.count()
        return super().forward(*inputs)


def count_passes(facts):
    return sum(len(READINGS[float(m[:-1])]) * n for m, n in facts["windows"].items())


@pytest.mark.parametrize("after", [0, 100, 400])
def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(slide, tmp_path, whole_run, after):
    with pytest.raises(KeyboardInterrupt):
        predict(slide, tmp_path / "p.zarr", Fails(after))
    assert not (tmp_path / "p.zarr").exists()
    rest = Fails()
    facts = predict(slide, tmp_path / "p.zarr", rest)
    assert files_of(tmp_path / "p.zarr") == whole_run[1]
    assert rest.passes() <= count_passes(facts) - after + 2 * 64, "at most the chunk that was under way is done again"
    for name in ("tiles", "windows", "foreground_percent_of_tiles"):
        assert facts[name] == whole_run[0][name]


KILLED = """
import os, signal, sys
from segmenting import Threshold, open_waves, predict

class Kills(Threshold):
    passes = 0
    def forward(self, *inputs):
        Kills.passes += 1
        if Kills.passes > 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(*inputs)

from pathlib import Path
folder = Path(sys.argv[1])
with open_waves(folder) as slide:
    predict(slide, folder / "p.zarr", Kills())
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(slide, tmp_path, whole_run):
    """No handler runs on SIGKILL, so only what had reached the disk is there afterwards."""
    here = Path(__file__).parent
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=here, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "p.zarr").exists()
    rest = Fails()
    facts = predict(slide, tmp_path / "p.zarr", rest)
    assert files_of(tmp_path / "p.zarr") == whole_run[1]
    assert rest.passes() <= count_passes(facts) - 100 + 2 * 64


def test_a_torn_chunk_file_is_written_again(slide, tmp_path, whole_run):
    with pytest.raises(KeyboardInterrupt):
        predict(slide, tmp_path / "p.zarr", Fails(400))
    store = tmp_path / ".p.unfinished.zarr"
    journal = (store / "journal.jsonl").read_text().splitlines(keepends=True)
    (store / "journal.jsonl").write_text("".join(journal[:-1]))
    last = json.loads(journal[-1])["piece"].split("/")
    (store / last[0] / "c" / last[1] / last[2]).write_bytes(b"torn")
    predict(slide, tmp_path / "p.zarr")
    assert files_of(tmp_path / "p.zarr") == whole_run[1]


@pytest.mark.parametrize("n", [2, 3, 40])
def test_shares_joined_are_the_bytes_of_the_whole(slide, tmp_path, whole_run, n):
    facts = [predict(slide, tmp_path / f"{i}.zarr", part=(i, n)) for i in range(1, n + 1)]
    join_stores([tmp_path / f"{i}.zarr" for i in range(1, n + 1)], tmp_path / "p.zarr")
    assert files_of(tmp_path / "p.zarr") == whole_run[1]
    pieces = [name for fact in facts for name in fact["pieces"]]
    assert pieces == list(whole_run[0]["pieces"]), "each chunk is in one share"


def test_pixels_that_cant_be_decoded_half_way_stop_the_slide(picture, tmp_path):
    path = write_tiff(tmp_path / "s.tiff", picture, mpp=0.5, tile=(256, 256), compression="jpeg")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[0].dataoffsets[20], tiff.pages[0].databytecounts[20]
    data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    with open_slide(path) as broken, pytest.raises(InputError, match=r"s\.tiff: the pixels near x .* can't be decoded"):
        predict(broken, tmp_path / "p.zarr", groups={20.0: READINGS[20.0]})
    assert not (tmp_path / "p.zarr").exists()


class SmallMemory(Threshold):
    """A network for which more than two windows are too many, as on a small GPU."""

    def forward(self, images, *ids):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().forward(images, *ids)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Answers stay on the device until a chunk of them is a mask."""
    monkeypatch.setattr(Engine, "packs", False)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_out_of_memory_halves_the_batch_and_says_so(slide, tmp_path, whole_run, caplog):
    predict(slide, tmp_path / "p.zarr", SmallMemory(), batch_size=8)
    assert files_of(tmp_path / "p.zarr") == whole_run[1]
    told = [record.message for record in caplog.records]
    assert told == [
        "out of GPU memory with 8 windows a pass; going on with 4.",
        "out of GPU memory with 4 windows a pass; going on with 2.",
    ], "once for each size, not for every batch"


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_window_that_never_fits_is_a_sentence(slide, tmp_path):
    class NoMemory(Threshold):
        def forward(self, *inputs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with pytest.raises(InputError, match=r"one window of 128 px doesn't fit .* use a GPU with more"):
        predict(slide, tmp_path / "p.zarr", NoMemory(), batch_size=4)
