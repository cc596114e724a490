"""Where pseudo-labelled patches are cut, what pseudo-labels say, and how regions are listed."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from nephrospot.errors import InputError
from nephrospot.models import SCALE_CODES, TISSUES
from nephrospot.training import simulated
from nephrospot.training.matching import Window, find_places, grid_windows, lay_over, list_zooms, locate, windows_at
from nephrospot.training.patches import list_patches, read_patch
from nephrospot.training.pseudo import predict_roi
from nephrospot.training.rois import list_rois, read_roi, write_roi
from nephrospot.training.simulated import write_patches
from regions import PLACES, SIDE, Threshold, cut_at, draw_field, made_by, supervise, write_project


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


@pytest.mark.parametrize("zoom", [1.0, 0.7, 1.15])
@pytest.mark.parametrize("noisy", [False, True])
def test_a_patch_is_found_where_it_was_cut(zoom, noisy):
    field, rng = draw_field(1, 1024), np.random.default_rng(0)
    left, top, side = 333, 517, round(256 * zoom)
    patch = cut_at(field, left, top, side).astype(float)
    if noisy:
        patch = patch * rng.uniform(0.8, 1.1, 3) + rng.normal(0, 6, patch.shape)
    patch = cv2.cvtColor(np.clip(patch, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    grey = cv2.cvtColor(field, cv2.COLOR_RGB2GRAY)
    place = locate(patch, grey, 256, list_zooms(0.6, 1.25))
    assert place.score > 0.85
    assert abs(place.left - left) <= 8 and abs(place.top - top) <= 8, f"two patch pixels at most: {place}"
    assert place.side == pytest.approx(side, rel=0.02), "its size is found too"
    if zoom == 1.0:
        exact = locate(patch, grey, 256)
        assert abs(exact.left - left) <= 4 and abs(exact.top - top) <= 4 and exact.side == 256


def test_a_patch_of_another_region_is_refused():
    patch = cv2.cvtColor(cut_at(draw_field(1, 1024), 333, 517, 256), cv2.COLOR_RGB2GRAY)
    other = cv2.cvtColor(draw_field(2, 1024), cv2.COLOR_RGB2GRAY)
    assert locate(patch, other, 256, list_zooms(0.6, 1.25)).score < 0.5
    assert locate(np.full_like(patch, 9), other, 256).score == -1, "one colour is found nowhere"
    assert locate(patch, other[:100], 256).score == -1, "nor is what is larger than the region"


def test_patches_are_looked_for_in_regions_of_their_name_and_stain(project):
    rois, patches = project
    places = find_places(rois, patches, [1.0])
    assert len(places) == 4 and (places["score"] > 0.95).all()
    for row in places.itertuples():
        left, top = PLACES["a" if patches["tissue"][row.patch_index] == "PT" else "b"]
        assert abs(row.left - left) <= 4 and abs(row.top - top) <= 4
    assert find_places(rois.assign(stain="he"), patches, [1.0]).empty
    assert find_places(rois.assign(mpp=2.0), patches, [1.0]).empty, "pixels twice the patch's can't show it"


def test_windows_tile_cover_and_stay_inside():
    tiles = windows_at(Window(40, 60, 256), 64, (400, 400))
    assert len(tiles) == 16 and {(w.left, w.top) for w in tiles} == {
        (40 + 64 * i, 60 + 64 * j) for i in range(4) for j in range(4)
    }
    assert windows_at(Window(300, 60, 64), 256, (400, 400)) == [Window(144, 0, 256)], "around it, within the region"
    assert windows_at(Window(0, 0, 64), 500, (400, 400)) == []
    covered = np.zeros((300, 500), int)
    for window in grid_windows((300, 500), 128):
        covered[int(window.top) : int(window.top) + 128, int(window.left) : int(window.left) + 128] += 1
    assert covered.min() >= 1 and len(grid_windows((300, 500), 128)) == 12


def test_a_patch_mask_lies_on_a_window_as_it_lies_in_the_region():
    rng = np.random.default_rng(3)
    small = cv2.resize((rng.random((8, 8)) < 0.5).astype(np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST)
    place, window = Window(100, 40, 128), Window(60, 72, 128)  # region pixels; a patch pixel is two of them
    region = np.zeros((300, 300), np.uint8)
    region[40:168, 100:228] = np.kron(small, np.ones((2, 2), np.uint8))
    assert np.array_equal(lay_over(small, place, window, 64), region[72:200:2, 60:188:2])
    assert np.array_equal(lay_over(small, place, place, 64), small)


def test_a_known_answer_comes_back_in_the_pixels_of_the_region():
    field = draw_field(4, 300)[:230]
    method = Threshold().train()
    masks = predict_roi(method, field, 0.25, {"PTC": (40, 0.25), "DT": (40, 0.25)}, SIDE)
    for tissue in ("PTC", "DT"):
        assert np.array_equal(masks[tissue], field[..., 1] > 127), "at its own magnification no pixel may differ"
    assert method.training, "the method is left in the mode it came in"


def test_a_region_is_reduced_and_brought_back():
    field = np.full((256, 320, 3), 60, np.uint8)
    field[64:160, 96:256] = 200
    masks = predict_roi(Threshold(), field, 0.25, {"PT": (10, 1.0)}, SIDE)
    known = field[..., 1] > 127
    wrong = masks["PT"] != known
    near = cv2.morphologyEx(known.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert masks["PT"].shape == known.shape and not (wrong & ~near).any(), "only the edge may be blurred"
    assert known.sum() * 0.97 < masks["PT"].sum() < known.sum() * 1.03, "and isn't shifted or grown"


def test_logits_are_summed_where_windows_overlap():
    class Slope(Threshold):
        def forward(self, images, tissue_ids, scale_ids):
            ramp = torch.linspace(-1, 3, images.shape[-1]).expand(images.shape[0], images.shape[2], -1) * self.gain
            return torch.stack([-ramp, ramp], dim=1)

    mask = predict_roi(Slope(), np.zeros((SIDE, 96, 3), np.uint8), 0.25, {"PTC": (40, 0.25)}, SIDE)["PTC"][0]
    ramp, total = np.linspace(-1, 3, SIDE), np.zeros(96)
    total[:64] += ramp
    total[32:] += ramp
    assert np.array_equal(mask, total > 0)
    assert mask[32] != (ramp[0] > 0), "the last window alone would answer otherwise"


def test_small_regions_are_mirrored_and_coarse_ones_left_out():
    field = draw_field(5, 64)[:40, :50]
    assert np.array_equal(predict_roi(Threshold(), field, 0.25, {"PTC": (40, 0.25)}, SIDE)["PTC"], field[..., 1] > 127)
    assert list(predict_roi(Threshold(), field, 0.5, {"PTC": (40, 0.25), "PT": (10, 1.0)}, SIDE)) == ["PT"]


def test_pixels_labelled_as_the_patch_s_own_tissue_are_absent_from_the_pseudo_mask(project):
    made = made_by(supervise(project))
    assert len(made) == 2, "PT at the place of each region's CAP patch; a PT patch has its own labels"
    known = np.zeros((SIDE, SIDE), bool)
    known[8:40, 12:50] = True
    for patch, roi in zip(made, ("1", "2"), strict=True):
        assert not patch.mask[known].any()
        left, top = PLACES["b"]
        expected = cut_at(draw_field(int(roi)), left, top, 256)
        outside = ~cv2.dilate(known.astype(np.uint8), np.ones((3, 3))).astype(bool)
        agreement = (patch.mask == (expected[..., 1] > 127))[outside].mean()
        assert agreement > 0.9, f"elsewhere it is what the method says there: {agreement:.3f}"
        assert np.corrcoef(patch.image.ravel(), expected.ravel())[0, 1] > 0.95
        assert (patch.tissue_id, patch.scale_id) == (TISSUES.index("PT"), SCALE_CODES.index(10))


def test_a_capillary_is_asked_for_at_its_own_scale_or_the_patch_s(project):
    rois, patches = project
    capillary = patches.iloc[[0]].assign(tissue="PTC", tissue_id=5, scale_id=3, mpp=0.25, roi="9")
    both = (rois, pd.concat([patches, capillary], ignore_index=True))
    own = made_by(supervise(both, tissues=("PTC",), patches_per_roi_ptc=20))
    assert len(own) == 40 and {p.scale_id for p in own} == {3}, "20 of the 32 windows at 40× in two patches at 10×"
    shown = made_by(supervise(both, tissues=("PTC",), own_scale=False))
    assert len(shown) == 4 and {p.scale_id for p in shown} == {1}, "the patches as they are, with their own code"


@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_without_matching_patches_come_from_anywhere(project, strategy):
    made = made_by(supervise(project, strategy=strategy, patches_per_roi=3))
    assert len(made) == 6 and all(patch.image.shape == (SIDE, SIDE, 3) for patch in made)
    for patch in made:
        assert (patch.mask == (patch.image[..., 1] > 127)).mean() > 0.9


def test_empty_patches_are_dropped(project):
    class Nothing(Threshold):
        def forward(self, images, tissue_ids, scale_ids):
            return super().forward(images * 0, tissue_ids, scale_ids)

    extra = supervise(project, keep_empty=False)
    assert made_by(extra, Nothing()) == [] and extra.counts["PT: empty windows"] == 2
    assert extra.loss(Nothing(), 2, np.random.default_rng(0)) is None, "nothing to learn from"
    assert len(made_by(extra)) == 2


def test_regions_are_listed_with_their_pixel_size(tmp_path):
    field = draw_field(1, 64)
    write_roi(tmp_path, "he", "im_7_0", "7", field, 0.5)
    write_roi(tmp_path, "he", "im_7_1", "7", field, 0.25)
    table = list_rois(tmp_path)
    assert list(table["roi"]) == ["7", "7"] and list(table["mpp"]) == [0.5, 0.25] and list(table["stain"]) == ["he"] * 2
    assert np.array_equal(read_roi(table["image"][0]), field)
    (tmp_path / "rois.csv").unlink()
    assert set(list_rois(tmp_path)["mpp"]) == {0.25}, "the published regions are at 40×"
    (tmp_path / "rois.csv").write_text("image,mpp\nhe/im_7_0.png,wide\nhe/im_8.png,0.25\n")
    with pytest.raises(InputError) as told:
        list_rois(tmp_path)
    for part in ("row 2", "he/im_7_1.png has no row", "there is no image he/im_8.png"):
        assert part in str(told.value)
    with pytest.raises(InputError, match="no regions were found"):
        list_rois(tmp_path / "he")


def test_simulated_patches_are_found_in_the_fields_written_with_them(tmp_path, monkeypatch):
    fields = {5: (450.0, 1.0), 10: (450.0, 1.0), 40: (120.0, 0.25)}  # smaller ones, so that it takes seconds
    monkeypatch.setattr(simulated, "FIELDS_UM", fields)
    write_patches(tmp_path / "p", tmp_path / "rois", donors=2, patches_per_tissue=4, seed=3)
    rois, patches = list_rois(tmp_path / "rois"), list_patches(tmp_path / "p")
    assert list(rois["mpp"]) == [1.0, 0.25] * 2 and list(rois["roi"]) == ["0", "0", "1", "1"]
    patches = patches[patches["tissue"].isin(["PT", "PTC"])]
    best = find_places(rois, patches, list_zooms(0.6, 1.25)).sort_values("score").groupby("patch_index").last()
    detailed = [i for i in patches.index if read_patch(*patches.loc[i, ["image", "mask"]])[0].std() > 10]
    assert len(detailed) >= 6 and (best.loc[detailed, "score"] > 0.9).all(), best
    right = {"PT": 1.0, "PTC": 0.25}
    for index in detailed:
        assert rois["mpp"][best["roi_index"][index]] == right[patches["tissue"][index]], "found in the other field"
