"""Outlines: on the pixels' outer edges, with their area, whatever the windows they are traced in."""

import cv2
import numpy as np
import pytest
import shapely

from nephrospot import outlines
from nephrospot.components import find_components
from nephrospot.outlines import fill_polygons, list_outlines
from nephrospot.rings import link_edges, trace_mask


def source(mask):
    return mask.shape, 1.0, lambda rows, columns: mask[rows, columns]


def outline(mask, **options):
    components = find_components(source(mask), **options)
    return components, dict(list_outlines(source(mask), components))


def noise(share, shape=(90, 70), seed=0):
    return (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)


def blobs(shape=(700, 600), sigma=7, level=0.6, seed=1):
    field = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigma)
    return (field > level * field.std()).astype(np.uint8)


def disc(radius, x, y, side=100):
    i, j = np.mgrid[:side, :side]
    return ((j - x) ** 2 + (i - y) ** 2 < radius**2).astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.95])
def test_two_ways_of_tracing_agree_on_every_edge(share):
    mask = noise(share)
    components = find_components(source(mask), block_px=32)
    for index in range(1, len(components) + 1):
        linked = link_edges(source(mask), components, index)
        alone = (components.labels(slice(0, 90), slice(0, 70)) == index).astype(np.uint8)
        traced, parent = trace_mask(alone, 0, 0)
        rings = [sorted(sorted(map(tuple, ring.tolist())) for ring in each.split()) for each in (linked, traced)]
        assert rings[0] == rings[1], "the same rings, in the same pieces"
        assert linked.area_px[0] > 0 and (linked.area_px[1:] < 0).all(), "the outer ring first, then holes"
        assert linked.area_px.sum() == traced.area_px.sum() == alone.sum(), "the rings enclose just the pixels"
        assert (parent < 0).sum() == 1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.95])
def test_noise_has_one_valid_polygon_a_component_with_its_area(share):
    mask = noise(share)
    components, polygons = outline(mask)
    assert sorted(polygons) == list(range(1, len(components) + 1))
    limits = shapely.box(0, 0, mask.shape[1], mask.shape[0])
    for index, polygon in polygons.items():
        assert limits.covers(polygon), "QuPath has no place beyond the slide"
        assert polygon.geom_type == "Polygon" and polygon.is_valid
        assert polygon.area == pytest.approx(components.area_px[index], rel=0.005)
        _, holes = cv2.findContours(
            (components.labels(slice(None), slice(None)) == index).astype(np.uint8),
            cv2.RETR_CCOMP,
            cv2.CHAIN_APPROX_SIMPLE,
        )
        assert len(polygon.interiors) == (holes[0, :, 3] >= 0).sum(), "every hole is kept"


def test_the_smallest_objects_keep_their_place_and_area():
    mask = np.zeros((20, 20), np.uint8)
    mask[3, 4] = mask[8, 2:12] = 1
    mask[15:17, 15:17] = 1
    components, polygons = outline(mask)
    for index, area in zip((1, 2, 3), (1, 10, 4), strict=True):
        centre = polygons[index].centroid
        assert polygons[index].area == pytest.approx(area, rel=1e-3)
        assert (centre.y - 0.5, centre.x - 0.5) == pytest.approx(components.centroid_px[index], abs=0.01)


def test_an_island_in_a_hole_is_an_object_of_its_own():
    mask = disc(40, 50, 50) - disc(30, 50, 50) + disc(10, 50, 50)
    components, polygons = outline(mask)
    assert len(polygons) == 2 and [len(polygons[i].interiors) for i in (1, 2)] == [1, 0]
    assert all(polygons[i].area == pytest.approx(components.area_px[i], rel=1e-3) for i in (1, 2))
    assert not polygons[1].intersects(polygons[2])


def test_round_objects_neither_shrink_nor_move():
    rng = np.random.default_rng(3)
    vertices = []
    for _ in range(60):
        radius, (x, y) = rng.uniform(13, 40), rng.uniform(45, 55, 2)
        mask = disc(radius, x, y)
        components, polygons = outline(mask)
        polygon, painted = polygons[1], fill_polygons([polygons[1]], slice(0, 100), slice(0, 100))
        assert polygon.area == pytest.approx(mask.sum(), rel=1e-3)
        offset = np.hypot(
            polygon.centroid.x - 0.5 - components.centroid_px[1, 1],
            polygon.centroid.y - 0.5 - components.centroid_px[1, 0],
        )
        assert offset < 0.5
        assert 2 * (painted & mask).sum() / (painted.sum() + mask.sum()) > 0.99
        vertices.append(len(polygon.exterior.coords) / (2 * np.pi * radius))
    assert np.mean(vertices) < 0.2, "a vertex for every five pixels of outline at most"


def test_windows_leave_no_trace(monkeypatch):
    mask = blobs()
    components, whole = outline(mask)
    assert (components.box[1:, 2:] - components.box[1:, :2]).max() > 100, "some objects are larger than a window"
    monkeypatch.setattr(outlines, "WINDOW_PX", 100)
    pieces = dict(list_outlines(source(mask), components))
    assert pieces.keys() == whole.keys() and len(whole) > 100
    small = [i for i in whole if max(components.box[i, 2:] - components.box[i, :2]) <= 100]
    assert len(small) > 50 and all(pieces[i].equals(whole[i]) for i in small)
    for i in whole.keys() - set(small):
        assert pieces[i].area == pytest.approx(whole[i].area, rel=1e-3)
        # Thinning begins elsewhere on the ring, which moves an outline by less than half a pixel.
        assert pieces[i].symmetric_difference(whole[i]).area < 0.5 * whole[i].length


def test_large_objects_do_not_know_the_blocks(monkeypatch):
    monkeypatch.setattr(outlines, "WINDOW_PX", 50)
    mask = blobs(level=-0.1)
    coarse, fine = outline(mask, block_px=4096)[1], outline(mask, block_px=64)[1]
    assert coarse.keys() == fine.keys()
    assert all(coarse[i].equals_exact(fine[i], 0) for i in coarse)


def test_components_of_another_mask_are_refused():
    mask = np.eye(6, dtype=np.uint8)
    with pytest.raises(ValueError, match="not 8-connected"):
        outline(mask, connectivity=4)


def test_an_empty_mask_has_no_outline():
    assert outline(np.zeros((50, 60), np.uint8))[1] == {}


class TestFilling:
    def test_a_pixel_is_painted_where_its_centre_is_inside(self):
        rng = np.random.default_rng(7)
        points = [shapely.Point(*rng.uniform(0, 60, 2)).buffer(rng.uniform(3, 15)) for _ in range(12)]
        polygons = shapely.get_parts(shapely.union_all(points[:6]).symmetric_difference(shapely.union_all(points[6:])))
        y, x = np.mgrid[:60, :60] + 0.5
        expected = np.any([shapely.contains_xy(polygon, x, y) for polygon in polygons], axis=0)
        painted = fill_polygons(polygons, slice(0, 60), slice(0, 60))
        assert any(len(p.interiors) for p in polygons) and np.array_equal(painted, expected)
        assert np.array_equal(fill_polygons(polygons, slice(13, 41), slice(22, 50)), painted[13:41, 22:50])

    def test_overlapping_polygons_are_united(self):
        squares = [shapely.box(2, 2, 12, 12), shapely.box(5, 5, 20, 9), shapely.box(5, 5, 20, 9).reverse()]
        expected = np.zeros((25, 25), np.uint8)
        expected[2:12, 2:12] = expected[5:9, 5:20] = 1
        assert np.array_equal(fill_polygons(squares, slice(0, 25), slice(0, 25)), expected)

    def test_nothing_gives_nothing(self):
        assert not fill_polygons([], slice(0, 4), slice(0, 5)).any()
