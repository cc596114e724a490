"""Components found block by block are those of the whole mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nephrospot.components import find_components

FACTS = ["area_px", "box", "centroid_px", "perimeter_px", "on_edge"]


def source_of(mask, largest=None):
    """A mask source of an array; ``largest`` collects the sizes of the blocks read."""

    def read(rows, columns):
        block = mask[rows, columns]
        if largest is not None:
            largest.append(block.size)
        return block.astype(np.uint8)

    return mask.shape, 1.0, read


def whole(mask):
    return slice(0, mask.shape[0]), slice(0, mask.shape[1])


def structure(connectivity):
    return np.ones((3, 3)) if connectivity == 8 else None


def crofton(mask):
    """Perimeter of all foreground as one object, straight from the definition: crossings of four families of lines."""
    padded = np.pad(mask.astype(int), 1)
    axes = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    diagonals = np.abs(padded[1:, 1:] - padded[:-1, :-1]).sum() + np.abs(padded[1:, :-1] - padded[:-1, 1:]).sum()
    return np.pi / 8 * (axes + diagonals / np.sqrt(2))


@st.composite
def masks(draw):
    """Random masks from dust to nearly full, some of them coarse so that objects cross many blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width, cell = draw(st.integers(1, 70)), draw(st.integers(1, 70)), draw(st.sampled_from([1, 1, 2, 5]))
    share = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0]))
    coarse = rng.random((-(-height // cell), -(-width // cell))) < share
    return np.kron(coarse, np.ones((cell, cell), bool))[:height, :width]


@settings(max_examples=80, deadline=None)
@given(mask=masks(), block_px=st.integers(5, 64), connectivity=st.sampled_from([4, 8]))
def test_agrees_with_scipy_on_the_whole_mask(mask, block_px, connectivity):
    found = find_components(source_of(mask), connectivity, block_px)
    labels = found.labels(*whole(mask))
    expected, n = ndimage.label(mask, structure(connectivity))
    assert len(found) == n
    assert labels.dtype == np.int32 and ((labels > 0) == mask).all()
    assert len(np.unique(np.stack([labels, expected]).reshape(2, -1), axis=1).T) == n + (not mask.all()), "partition"
    numbers, first = np.unique(labels[mask], return_index=True)
    assert (numbers == np.arange(1, n + 1)).all() and (np.diff(first) > 0).all(), "ids follow the raster order"
    ids = np.arange(1, n + 1)
    assert (found.area_px[1:] == np.bincount(labels.ravel(), minlength=n + 1)[1:]).all() and found.area_px[0] == 0
    for i, (rows, columns) in zip(ids, ndimage.find_objects(labels), strict=True):
        box = [rows.start, columns.start, rows.stop, columns.stop]
        assert found.box[i].tolist() == box
        touches = rows.start == 0 or columns.start == 0 or (rows.stop, columns.stop) == mask.shape
        touches |= rows.stop == mask.shape[0] or columns.stop == mask.shape[1]
        assert found.on_edge[i] == touches
        assert found.perimeter_px[i] == pytest.approx(crofton(labels == i)), "the component alone, neighbours or not"
    if n:
        centres = ndimage.center_of_mass(mask, labels, ids)
        assert found.centroid_px[1:] == pytest.approx(np.array(centres), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(mask=masks(), block_px=st.integers(5, 64), connectivity=st.sampled_from([4, 8]))
def test_the_blocks_are_no_part_of_the_answer(mask, block_px, connectivity):
    once = find_components(source_of(mask), connectivity)
    found = find_components(source_of(mask), connectivity, block_px)
    assert (found.labels(*whole(mask)) == once.labels(*whole(mask))).all()
    for fact in FACTS:
        assert np.array_equal(getattr(found, fact), getattr(once, fact), equal_nan=fact == "centroid_px"), fact


def test_any_window_of_the_labels_is_the_same_window_of_all():
    rng = np.random.default_rng(1)
    mask = rng.random((90, 120)) < 0.55
    found = find_components(source_of(mask), 8, 17)
    labels = found.labels(*whole(mask))
    for _ in range(40):
        top, bottom = np.sort(rng.integers(0, 91, 2))
        left, right = np.sort(rng.integers(0, 121, 2))
        assert (found.labels(slice(top, bottom), slice(left, right)) == labels[top:bottom, left:right]).all()
    assert (found.labels(slice(None), slice(100, None)) == labels[:, 100:]).all()


def test_nothing_larger_than_a_block_is_read_and_labels_skip_empty_blocks():
    mask = np.zeros((100, 100), bool)
    mask[3:8, 3:8] = True
    sizes = []
    found = find_components(source_of(mask, sizes), 8, 16)
    assert max(sizes) == 16**2 and sum(sizes) == mask.size, "every pixel is read once"
    sizes.clear()
    assert found.labels(*whole(mask)).sum() == 25 and sum(sizes) == 16**2
    found.labels(slice(0, 5), slice(0, 5))
    assert sum(sizes) == 16**2, "the last blocks are kept"


def test_a_snake_through_every_block_is_one_component():
    mask = np.zeros((60, 60), bool)
    mask[::4] = True
    mask[:, -1] = mask[2::8, -1] = True
    mask[3::8, 0] = False
    found = find_components(source_of(mask), 4, 7)
    assert len(found) == 1 and found.area_px[1] == mask.sum() and found.on_edge[1]


def test_corners_connect_in_one_connectivity_only():
    mask = np.eye(20, dtype=bool)
    assert len(find_components(source_of(mask), 8, 5)) == 1
    assert len(find_components(source_of(mask), 4, 5)) == 20
    with pytest.raises(ValueError, match="4 or 8"):
        find_components(source_of(mask), 6)


@pytest.mark.parametrize("value", [0, 1])
def test_constant_masks(value):
    mask = np.full((33, 20), value)
    found = find_components(source_of(mask), 8, 8)
    assert len(found) == value
    assert (found.labels(*whole(mask)) == value).all()


@pytest.mark.parametrize("radius", [5, 7.3, 11, 20, 35, 60])
def test_perimeter_of_discs(radius):
    side = int(2 * radius) + 9
    y, x = np.mgrid[:side, :side]
    perimeters, circularities = [], []
    for shift in np.random.default_rng(2).uniform(0, 1, (20, 2)):
        mask = (y - side / 2 - shift[0]) ** 2 + (x - side / 2 - shift[1]) ** 2 <= radius**2
        found = find_components(source_of(mask), 8, 16)
        perimeters.append(found.perimeter_px[1])
        circularities.append(4 * np.pi * found.area_px[1] / found.perimeter_px[1] ** 2)
    assert np.mean(perimeters) == pytest.approx(2 * np.pi * radius, rel=0.02), "right on average over the grid"
    off = np.abs(np.array(perimeters) / (2 * np.pi * radius) - 1)
    assert off.max() < 0.01 + 0.4 / radius, "and near wherever it lies"
    assert np.mean(circularities) == pytest.approx(1, abs=0.05), "a disc is round"


@pytest.mark.parametrize(("height", "width"), [(10, 10), (7, 40), (50, 21)])
def test_perimeter_of_rectangles(height, width):
    mask = np.zeros((70, 70), bool)
    mask[5 : 5 + height, 9 : 9 + width] = True
    perimeter = find_components(source_of(mask), 8, 16).perimeter_px[1]
    # Every row and column is entered and left once, and each of the height + width − 1 diagonals of both slants.
    crossings = 2 * (height + width) + 4 * (height + width - 1) / np.sqrt(2)
    assert perimeter == pytest.approx(np.pi / 8 * crossings)
    assert 0.91 < perimeter / (2 * (height + width)) < 1, "four directions see an upright rectangle some 5 % short"


def test_a_turned_square_has_its_perimeter_within_a_few_percent():
    y, x = np.mgrid[:121, :121] - 60
    for degrees in (10, 22.5, 30, 45):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        mask = (np.abs(c * x + s * y) <= 30) & (np.abs(c * y - s * x) <= 30)
        assert find_components(source_of(mask), 8, 32).perimeter_px[1] == pytest.approx(240, rel=0.06)
