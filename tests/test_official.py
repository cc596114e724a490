"""The official way of reading: votes, thresholds, growth and merging as described, whatever the order of work.

The oracles hold everything in memory and go pixel by pixel or window by window in NumPy, as the description does.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import zarr
from scipy import ndimage

from nephrospot.engine import Engine
from nephrospot.errors import InputError
from nephrospot.models import Method, tissue_id
from nephrospot.official import list_regions, predict_official
from nephrospot.official_votes import (
    OFFICIAL,
    OfficialScheme,
    Voting,
    add_votes,
    draw_windows,
    enlarge_mask,
    merge_counts,
    passes_per_region,
)
from nephrospot.readings import Reading
from nephrospot.slide import open_slide
from nephrospot.stitch import open_predicted
from pictures import write_tiff

TISSUES = ["DT", "PT", "CAP", "TUFT", "VES", "PTC"]
HUMAN = [Reading(t, m, m) for t, m in zip(TISSUES, (10, 10, 5, 5, 10, 40), strict=True)]
SMALL = OfficialScheme(
    region_px=256, trim_px=16, window_px=32, rim_px=4, coarse=Voting(8, 24, 4), finest=Voting(16, 12, 2)
)
# Above its window's mean by so much is foreground; so answers depend on where the window lies.
LIMITS = (0.24, 0.22, 0.13, 0.12, 0.15, 0.06)


class Contrast(Method):
    """Foreground where a colour channel, chosen by the tissue, is well above its mean over the window."""

    def __init__(self):
        super().__init__()
        self.limits = torch.nn.Parameter(torch.tensor(LIMITS))

    def forward(self, images, tissue_ids, scale_ids):
        channel = images[torch.arange(len(images)), tissue_ids % 3]
        margin = channel - channel.mean(dim=(1, 2), keepdim=True) - self.limits[tissue_ids][:, None, None]
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


class Brightness(Method):
    """A local one: its answer doesn't depend on the window."""

    def forward(self, images, tissue_ids, scale_ids):
        margin = images[torch.arange(len(images)), tissue_ids % 3] - 0.5
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


@pytest.fixture(scope="module")
def picture():
    """Blobs with some noise, 40×; sides that are no multiple of anything."""
    rng = np.random.default_rng(5)
    noise = [ndimage.gaussian_filter(rng.normal(size=(410, 530)), 12) for _ in range(3)]
    waves = np.stack([n / n.std() for n in noise], axis=-1) * 60 + rng.normal(0, 8, (410, 530, 3))
    return np.clip(128 + waves, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def slide(picture, tmp_path_factory):
    with open_slide(write_tiff(tmp_path_factory.mktemp("slide") / "s.tiff", picture, mpp=0.25, pyramid=False)) as s:
        yield s


@pytest.fixture
def tissue():
    """16 µm are 64 px of 40×; nothing on the left, a hole further right."""
    tissue = np.ones((7, 9), bool)
    tissue[:, :3] = tissue[2, 5] = False
    return tissue


def predict(slide, output, tissue, readings=HUMAN, method=None, mpp=0.25, **options):
    options = {"threads": 1, "scheme": SMALL} | options
    facts = predict_official(slide, mpp, tissue, readings, method or Contrast(), output, **options)
    return zarr.open_group(str(output), mode="r")["40x"][:], facts


def vote_by_hand(image, reading, windows, scheme):
    """Votes of one region, (3, side, side), window by window on a black canvas."""
    padding = scheme.voting(reading.magnification).padding_px
    index = tissue_id(reading.tissue)
    canvas = np.pad(image[index % 3], padding)
    votes = np.zeros(canvas.shape, int)
    w, r = scheme.window_px, scheme.rim_px
    for y, x in windows:
        window = canvas[y : y + w, x : x + w]
        foreground = window - window.mean() > LIMITS[index]
        votes[y : y + w, x : x + w] += np.pad(foreground[r : w - r, r : w - r], r)
    return votes


def test_votes_are_those_counted_by_hand(picture):
    image = np.moveaxis(picture[:64, :64] / np.float32(255), -1, 0)
    engine = Engine(Contrast(), "fp32", threads=1)
    for reading in (HUMAN[0], HUMAN[4]):
        windows = draw_windows(10, np.random.default_rng(1), SMALL)
        votes, broken = add_votes(engine, torch.from_numpy(image), reading, windows, SMALL)
        assert not broken
        assert np.array_equal(votes.numpy(), vote_by_hand(image, reading, windows, SMALL)), reading
        assert votes.max() > 4, "votes pile up"


def test_windows_move_by_up_to_a_stride_and_stay_inside():
    for magnification, stride, n in ((10, 64, 21), (5, 64, 13), (40, 256, 16), (20, 64, 37)):
        windows = draw_windows(magnification, np.random.default_rng(0)).reshape(n, n, 2)
        shifts = windows - np.stack(np.meshgrid(range(n), range(n), indexing="ij"), -1) * stride
        assert not shifts[[0, -1], :, 0].any() and not shifts[:, [0, -1], 1].any(), "the outer ones keep their line"
        inner = shifts[1:-1, 1:-1]
        assert inner.min() < -0.9 * stride and -stride <= inner.min() and 0.9 * stride < inner.max() < stride
        assert shifts[0, 1:-1, 1].any() and shifts[1:-1, 0, 0].any(), "but move along it"
        padded = OFFICIAL.image_px(magnification) + 2 * OFFICIAL.voting(magnification).padding_px
        assert windows.min() >= 0 and windows.max() + 512 <= padded


@pytest.mark.parametrize(("magnification", "mean", "unseen_percent"), [(10, 35.6, 0), (40, 2.15, 6.4)])
def test_official_coverage(magnification, mean, unseen_percent):
    """Figures measured by running the official code's placement of windows."""
    voting, side = OFFICIAL.voting(magnification), OFFICIAL.image_px(magnification)
    seen = np.zeros((side + 2 * voting.padding_px,) * 2, np.uint8)
    for y, x in draw_windows(magnification, np.random.default_rng(2)):
        seen[y + 64 : y + 448, x + 64 : x + 448] += 1
    seen = seen[voting.padding_px : -voting.padding_px, voting.padding_px : -voting.padding_px]
    assert abs(seen.mean() - mean) < 0.02 * mean
    assert abs((seen == 0).mean() * 100 - unseen_percent) < 2.5


def test_passes_are_the_official_ones(slide, tissue, tmp_path):
    per_tissue = [passes_per_region([reading]) for reading in HUMAN]
    assert per_tissue == [444, 444, 172, 172, 444, 260]
    assert passes_per_region(HUMAN) == 1936
    network, seen = Contrast(), []
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    _, facts = predict(slide, tmp_path / "p.zarr", tissue, method=network)
    assert sum(seen) == passes_per_region(HUMAN, SMALL) * facts["tiles"]["40x"] == sum(facts["windows"].values())
    assert max(seen) == 4


@pytest.mark.parametrize(("magnification", "grown_px"), [(10, 2), (5, 4)])
def test_enlarging_grows_a_mask(magnification, grown_px):
    factor = int(40 / magnification)
    mask = np.zeros((20, 20), bool)
    mask[7:10, 4] = mask[0, 19] = True
    square = np.ones((2 * grown_px + 1,) * 2)
    expected = ndimage.binary_dilation(np.kron(mask, np.ones((factor, factor))) > 0, square)
    assert np.array_equal(enlarge_mask(torch.from_numpy(mask), 20 * factor).numpy(), expected)
    assert torch.equal(enlarge_mask(torch.from_numpy(mask), 20), torch.from_numpy(mask)), "at 40× nothing changes"


class TestMerging:
    def merge(self, tissues=TISSUES, **counts):
        bits = merge_counts(np.array([[[counts.get(t, 0)]] for t in tissues], np.uint8), tissues)
        return [t for bit, t in enumerate(tissues) if bits[0, 0] >> bit & 1]

    def test_the_most_win(self):
        assert self.merge(DT=1, PT=3, PTC=2) == ["PT"]
        assert self.merge() == [], "where no region found anything there is nothing"

    def test_draws_go_to_the_first(self):
        for first, second in itertools.pairwise(TISSUES):
            others = {"CAP", "TUFT"} if first in ("CAP", "TUFT") else set()
            won = self.merge(**{first: 2, second: 2})
            assert first in won and not set(won) - {first} - others, (first, second)

    def test_the_capsule_includes_the_tuft(self):
        assert self.merge(CAP=1, TUFT=3) == ["CAP", "TUFT"]
        assert self.merge(CAP=4, TUFT=2) == ["CAP", "TUFT"], "the tuft needn't win"

    def test_a_tuft_needs_two_regions(self):
        assert self.merge(TUFT=1) == ["CAP"]
        assert self.merge(TUFT=2) == ["CAP", "TUFT"]
        assert self.merge(DT=3, TUFT=2) == ["DT"], "and two aren't enough where another tissue wins"

    def test_tissues_may_be_missing(self):
        assert self.merge(["PT", "TUFT"], PT=1, TUFT=2) == ["TUFT"]
        assert self.merge(["CAP", "PTC"], CAP=1, PTC=1) == ["CAP"]


def read_by_hand(picture, tissue, seed, s):
    """The whole slide at once: sums of all regions' masks, then arg-max; {tissue: bool}."""
    height, width = picture.shape[:2]
    half = s.region_px // 2
    image = np.empty((height + 2 * half, width + 2 * half, 3), np.float32)
    image[:] = picture[:2, :2].mean(axis=(0, 1)) / 255
    image[half:-half, half:-half] = picture / np.float32(255)
    under = np.zeros(image.shape[:2], bool)
    under[half:-half, half:-half] = np.kron(tissue, np.ones((64, 64), bool))[:height, :width]
    counts = np.zeros((6, *image.shape[:2]), int)
    regions, blanked = 0, 0
    for row in range(image.shape[0] // half - 1):
        for column in range(image.shape[1] // half - 1):
            place = np.s_[row * half : row * half + 2 * half, column * half : column * half + 2 * half]
            if not under[place].any():
                continue
            regions += 1
            for index, reading in enumerate(HUMAN):
                factor = 40 // reading.magnification
                # Bilinear without anti-aliasing looks at the middle four pixels of each block, or at the only one.
                low, high = max(0, factor // 2 - 1), factor // 2
                region = image[place]
                small = sum(region[i::factor, j::factor] for i in (low, high) for j in (low, high)) / 4
                windows = draw_windows(reading.magnification, np.random.default_rng((seed, row, column, index)), s)
                votes = vote_by_hand(np.moveaxis(small, -1, 0), reading, windows, s)
                voting = s.voting(reading.magnification)
                mask = votes >= voting.votes
                if factor == 8 and mask.sum() > s.guard_share * mask.size:
                    blanked += 1
                    continue
                mask = np.kron(mask[voting.padding_px : -voting.padding_px, voting.padding_px : -voting.padding_px],
                               np.ones((factor, factor))) > 0  # fmt: skip
                mask = ndimage.binary_dilation(mask, np.ones((factor + 1, factor + 1))) if factor > 1 else mask
                mask[: s.trim_px] = mask[-s.trim_px :] = mask[:, : s.trim_px] = mask[:, -s.trim_px :] = False
                counts[index][place] += mask
    counts = (counts * under)[:, half:-half, half:-half]
    found = counts.argmax(axis=0) + 1
    found[~counts.any(axis=0)] = 0
    masks = {t: found == index + 1 for index, t in enumerate(TISSUES)}
    masks["CAP"] |= masks["TUFT"]
    masks["TUFT"] = masks["CAP"] & (counts[3] >= 2)
    return masks, regions, blanked


@pytest.mark.slow
def test_a_slide_is_read_as_by_hand(slide, picture, tissue, tmp_path):
    # A guard at which some regions are blanked and some not.
    scheme = dataclasses.replace(SMALL, guard_share=0.13)
    _, facts = predict(slide, tmp_path / "p.zarr", tissue, seed=11, scheme=scheme)
    expected, regions, blanked = read_by_hand(picture, tissue, 11, scheme)
    assert facts["tiles"] == {"40x": regions}
    assert 0 < blanked < 2 * regions, "the guard fires, and not everywhere"
    for name, (shape, mpp, read) in open_predicted(tmp_path / "p.zarr").items():
        assert shape == picture.shape[:2] and mpp == 0.25
        mask = read(slice(0, shape[0]), slice(0, shape[1])).astype(bool)
        assert 0.001 < mask.mean() < 0.9, f"{name}: constant masks would show nothing"
        # Rounding of a window's mean may turn a pixel that lies on the limit.
        assert (mask != expected[name]).mean() < 1e-4, name


def test_the_seed_decides_the_bytes(slide, tissue, tmp_path):
    first, again, other = (predict(slide, tmp_path / "p.zarr", tissue, HUMAN[4:], seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(first, again) and (first != other).any()
    here, elsewhere = (predict(slide, tmp_path / "p.zarr", t, [HUMAN[5]])[0][:384, 256:384]
                       for t in (tissue, np.roll(tissue, 1, axis=1)))  # fmt: skip
    both = here[:, 64:][192:], elsewhere[:, 64:][192:]  # tissue in both
    assert both[0].any() and np.array_equal(*both), "tissue elsewhere moves no window"


def test_the_guard_blanks_what_is_nearly_all_foreground(slide, tissue, tmp_path):
    schemes = [dataclasses.replace(SMALL, guard_share=share) for share in (0.0, 1.0)]
    strict, lax = (predict(slide, tmp_path / "p.zarr", tissue, HUMAN[:3:2], scheme=s)[0] for s in schemes)
    assert (lax & 2).any() and not (strict & 2).any(), "at 5× there is always more than nothing"
    assert (strict & 1).any(), "and 10× has no guard"


def test_masks_lie_where_the_colour_is_whatever_the_slides_mpp(tmp_path):
    y, x = np.mgrid[:255, :300]
    picture = np.repeat(((y // 50 + x // 60) % 2 * 200)[..., None], 3, axis=2).astype(np.uint8)
    with open_slide(write_tiff(tmp_path / "s.tiff", picture, mpp=0.5)) as slide:
        tissue = np.ones((9, 10), bool)
        bits, _ = predict(slide, tmp_path / "p.zarr", tissue, [HUMAN[0]], Brightness(), mpp=0.5)
    assert bits.shape == (510, 600)
    expected = np.kron(picture[..., 0] > 100, np.ones((2, 2), bool))
    kept = np.s_[:496]  # where the trimmed regions end: 2 · 128 + 256 − 16
    wrong = bits[kept].astype(bool) != expected[kept]
    edge = ndimage.binary_dilation(expected, iterations=4) & ~ndimage.binary_erosion(expected, iterations=4)
    assert not wrong[~edge[kept]].any(), "a mask may grow by 2 px and blur by the resampling, no more"
    assert not bits[496:].any(), "the last rows are in no region, as officially"


def test_nothing_outside_the_tissue(slide, tissue, tmp_path):
    bits, _ = predict(slide, tmp_path / "p.zarr", tissue, [HUMAN[0]], Brightness())
    on_tissue = np.kron(tissue, np.ones((64, 64), bool))[:410, :530]
    assert bits[on_tissue].any() and not bits[~on_tissue].any()
    speck = np.zeros((7, 9), bool)
    speck[0, 0] = True
    assert list_regions(530, 410, speck, SMALL) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    nothing, facts = predict(slide, tmp_path / "n.zarr", np.zeros((7, 9), bool))
    assert not nothing.any() and facts["tiles"] == {"40x": 0}


def test_nan_stops_the_slide_with_the_windows_place(slide, tissue, tmp_path):
    network = Contrast()
    torch.nn.init.constant_(network.limits, float("nan"))
    with pytest.raises(InputError, match=r"NaN on the window at x -?\d+, y -?\d+ \(PT, 10×\)"):
        predict(slide, tmp_path / "p.zarr", tissue, [HUMAN[1]], network)
    assert not list(tmp_path.iterdir()), "nothing half-written stays behind"
