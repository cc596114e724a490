"""Patches: the layouts that are read, whole slides cut, and splits that keep regions together."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nephrospot.errors import InputError
from nephrospot.training import simulated
from nephrospot.training.kpis_slides import cut_slides
from nephrospot.training.patches import digest_patches, keep_fraction, list_patches, read_patch, split_patches
from nephrospot.training.simulated import write_patches
from nephrospot.training.splits import take_fold
from pictures import write_tiff

TISSUES = ("DT", "PT", "CAP", "TUFT", "VES", "PTC")


def write_pair(image, mask, side=16, value=255):
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    label = np.zeros((side, side), np.uint8)
    label[: side // 2] = value
    cv2.imwrite(str(image), np.full((side, side, 3), 120, np.uint8))
    cv2.imwrite(str(mask), label)


class TestPublishedLayout:
    def test_it_is_read(self, tmp_path):
        for folder, word, k in (
            ("1_1_pt/he", "proximal", 0),
            ("1_1_pt/pas", "proximal", 1),
            ("5_3_ptc/pas", "PTC_lumen", 0),
        ):
            write_pair(tmp_path / folder / f"im_12_{k}.png", tmp_path / folder / f"im_12_{k}_mask_{word}.png")
        table = list_patches(tmp_path)
        assert table[["tissue", "tissue_id", "scale_id", "stain", "roi", "patient", "mpp"]].to_numpy().tolist() == [
            ["PT", 1, 1, "he", "12", "", 1.0], ["PT", 1, 1, "pas", "12", "", 1.0], ["PTC", 5, 3, "pas", "12", "", 0.25],
        ]  # fmt: skip
        image, mask = read_patch(table["image"][0], table["mask"][0])
        assert image.shape == (16, 16, 3) and set(np.unique(mask)) == {0, 1} and mask.mean() == 0.5

    def test_the_published_demo_is_read_and_split(self, shared_data):
        table, listed = (list_patches(shared_data / "omniseg_demo" / name) for name in ("", "data_list.csv"))
        assert len(table) == 84 and set(table["tissue_id"]) == set(range(6))
        assert set(table.loc[table["tissue"] == "PTC", "scale_id"]) == {3}
        columns = ["tissue", "scale_id", "stain", "roi", "mpp"]
        both = [t.sort_values("image")[columns].reset_index(drop=True) for t in (table, listed)]
        pd.testing.assert_frame_equal(*both)
        parts = split_patches(table, seed=1)
        assert (pd.crosstab(table["tissue"], parts) > 0).to_numpy().all(), "every tissue in every part"

    def test_patches_can_be_read_at_another_size(self, tmp_path):
        write_pair(tmp_path / "2_0_x/he/im_1_0.png", tmp_path / "2_0_x/he/im_1_0_mask_c.png", side=64)
        row = list_patches(tmp_path, side_px=32).iloc[0]
        image, mask = read_patch(row["image"], row["mask"], row["side_px"])
        assert image.shape == (32, 32, 3) and mask.mean() == 0.5 and row["mpp"] == 4.0, "2 µm at 64 px is 4 at 32"

    @pytest.mark.parametrize("kind", ["empty", "no mask", "bad folder", "missing"])
    def test_bad_folders_are_refused_in_a_sentence(self, tmp_path, kind):
        folder = tmp_path / ("9_9_x" if kind == "bad folder" else "1_1_pt") / "he"
        if kind in ("no mask", "bad folder"):
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "im_1_0.png"), np.zeros((8, 8, 3), np.uint8))
        told = {"empty": "no patches", "no mask": "0 masks", "bad folder": "must be below", "missing": "no such folder"}
        with pytest.raises(InputError, match=told[kind]):
            list_patches(tmp_path / "nowhere" if kind == "missing" else tmp_path)

    def test_masks_of_one_are_masks_and_noise_is_not(self, tmp_path):
        write_pair(tmp_path / "a.png", tmp_path / "m.png", value=1)
        assert read_patch(tmp_path / "a.png", tmp_path / "m.png")[1].mean() == 0.5
        write_pair(tmp_path / "a.png", tmp_path / "m.jpg", value=1)
        assert read_patch(tmp_path / "a.png", tmp_path / "m.jpg")[1].sum() == 0
        write_pair(tmp_path / "b.png", tmp_path / "other.png", side=32)
        with pytest.raises(InputError, match="of one size"):
            read_patch(tmp_path / "a.png", tmp_path / "other.png")
        (tmp_path / "text.png").write_text("no picture")
        with pytest.raises(InputError, match="readable image"):
            read_patch(tmp_path / "a.png", tmp_path / "text.png")


class TestList:
    def write(self, folder, rows, columns="image_path,label_path,name,task_id,scale_id,patient,roi"):
        write_pair(folder / "pas/im_7_1.png", folder / "pas/im_7_1_mask.png")
        (folder / "list.csv").write_text("\n".join([columns, *rows]) + "\n")
        return folder / "list.csv"

    def test_columns_are_taken_or_read_from_the_name(self, tmp_path):
        files = "pas/im_7_1.png,pas/im_7_1_mask.png"
        path = self.write(tmp_path, [f"{files},im_7_1,2,0,P1,", f"{files},anything,0,1,P2,R9"])
        table = list_patches(path)
        assert table[["tissue", "roi", "patient", "stain", "mpp"]].to_numpy().tolist() == [
            ["CAP", "7", "P1", "pas", 2.0], ["DT", "R9", "P2", "pas", 1.0],
        ]  # fmt: skip

    def test_every_bad_row_is_told(self, tmp_path):
        files = "pas/im_7_1.png,pas/im_7_1_mask.png"
        rows = [f"{files},im_7_1,9,0,,", f"{files},im_7_1,x,0,,", "nowhere.png,pas/im_7_1_mask.png,odd,1,1,,"]
        with pytest.raises(InputError) as error:
            list_patches(self.write(tmp_path, rows))
        for told in ("row 2: task 9", "row 3: task_id and scale_id", "row 4: there is no file", "row 4: no region"):
            assert told in str(error.value)

    def test_missing_columns_are_named(self, tmp_path):
        with pytest.raises(InputError, match="label_path, task_id, scale_id are missing"):
            list_patches(self.write(tmp_path, [], "image_path,name"))


class TestKpis:
    def test_patches_of_the_challenge(self, tmp_path):
        for group, case, name in (
            ("NEP25", "08_368_01", "08_368_01_5_0_2048"), ("NEP25", "08_368_02", "x_0_0_0"),
            ("56Nx", "12-116", "56Nx_12_116_5_5120_0"), ("normal", "normal_F1", "n_1_0_0"),
        ):  # fmt: skip
            folder = tmp_path / "train" / group / case
            write_pair(folder / f"img/{name}_img.jpg", folder / f"mask/{name}_mask.jpg")
        table = list_patches(tmp_path)
        assert dict(table[["roi", "patient"]].itertuples(index=False)) == {
            "56Nx/12-116": "56Nx/12_116", "NEP25/08_368_01": "NEP25/08_368", "NEP25/08_368_02": "NEP25/08_368",
            "normal/normal_F1": "normal/normal_F1",
        }  # fmt: skip
        assert set(table["tissue"]) == {"CAP"} and set(table["mpp"]) == {0.5} and set(table["scale_id"]) == {0}
        assert set(list_patches(tmp_path, mpp=0.25)["mpp"]) == {0.25}
        assert read_patch(table["image"][0], table["mask"][0])[1].mean() == 0.5
        next((tmp_path / "train/56Nx/12-116/mask").iterdir()).unlink()
        with pytest.raises(InputError, match=r"its mask .* is missing"):
            list_patches(tmp_path)

    def write_slide(self, folder, mask_step=2, value=255, mpp=0.5):
        folder.mkdir(parents=True, exist_ok=True)
        image = np.full((900, 1100, 3), 245, np.uint8)
        image[100:860, 100:1000] = (200, 120, 180)
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(mask, (420, 300), 60, value, -1)
        image[mask > 0] = (120, 30, 110)
        write_tiff(folder / "12-116_wsi.tiff", image, mpp)
        small = mask[::mask_step, ::mask_step]
        write_tiff(folder / "12-116_mask.tiff", small, None, pyramid=False, photometric="minisblack")

    @pytest.mark.parametrize("value", [1, 255])
    def test_slides_are_cut_where_image_and_mask_agree(self, tmp_path, value):
        self.write_slide(tmp_path / "slides/56Nx", value=value)
        count = cut_slides(tmp_path / "slides", tmp_path / "cut", seed=1, at_mpp=1.0, side_px=128, empty_per_full=0.5)
        table = list_patches(tmp_path / "cut", mpp=1.0)
        assert len(table) == count and set(table["roi"]) == {"56Nx/12-116"}
        area = 0
        for row in table.itertuples():
            image, mask = read_patch(row.image, row.mask)
            area += mask.sum()
            dark = image[..., 1] < 75
            assert image.shape == (128, 128, 3) and (dark != (mask > 0)).mean() < 0.01, "mask and image are one field"
        assert area == pytest.approx(np.pi * 30**2, rel=0.05), "the whole disc, once, at half the resolution"
        full = sum(read_patch(row.image, row.mask)[1].any() for row in table.itertuples())
        assert count == full + round(0.5 * full)

    @pytest.mark.parametrize("kind", ["none", "no mask", "no mpp", "other field"])
    def test_bad_slides_are_refused(self, tmp_path, kind):
        folder = tmp_path / "slides/DN"
        folder.mkdir(parents=True)
        if kind != "none":
            self.write_slide(folder, mpp=None if kind == "no mpp" else 0.5)
        if kind == "no mask":
            (folder / "12-116_mask.tiff").unlink()
        if kind == "other field":
            write_tiff(
                folder / "12-116_mask.tiff", np.zeros((400, 700), np.uint8), None, False, photometric="minisblack"
            )
        told = {
            "none": "no slides",
            "no mask": "isn't beside it",
            "no mpp": "give mpp",
            "other field": "the same field",
        }
        with pytest.raises(InputError, match=told[kind]):
            cut_slides(tmp_path / "slides", tmp_path / "cut", seed=1)
        assert not (tmp_path / "cut").exists()


def table_of(groups):
    """Patches without files: (tissues of the group's patches) for each group."""
    rows = [
        (f"{g}_{k}.png", t, f"r{g}", f"p{g % 5}") for g, tissues in enumerate(groups) for k, t in enumerate(tissues)
    ]
    return pd.DataFrame(rows, columns=["image", "tissue", "roi", "patient"])


ONE_TISSUE = st.tuples(st.sampled_from(TISSUES), st.integers(1, 6)).map(lambda pair: [pair[0]] * pair[1])
ANY_TISSUES = st.lists(st.sampled_from(TISSUES), min_size=1, max_size=6)


class TestSplit:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(ANY_TISSUES, min_size=15, max_size=40), st.sampled_from(["roi", "patient"]), st.integers(0, 99))
    def test_groups_never_cross(self, groups, by, seed):
        table = table_of(groups)
        parts = split_patches(table, by=by, seed=seed)
        assert parts.index.equals(table.index) and set(parts) <= {"training", "validation", "test"}
        assert (parts.groupby(table[by]).nunique() == 1).all(), f"patches of one {by} stand in two parts"
        assert parts.equals(split_patches(table, by=by, seed=seed))

    @settings(deadline=None, max_examples=60)
    @given(st.lists(ONE_TISSUE, min_size=3, max_size=40), st.integers(0, 99))
    def test_every_tissue_is_in_every_part_where_it_can_be(self, groups, seed):
        table = table_of(groups)
        counts = pd.crosstab(table["tissue"], split_patches(table, seed=seed)).reindex(
            columns=["training", "validation", "test"], fill_value=0
        )
        for tissue, rois in table.groupby("tissue")["roi"].nunique().items():
            assert (counts.loc[tissue] > 0).sum() == min(3, rois), f"{tissue} has {rois} regions: {counts}"
            if rois >= 2:
                assert counts.loc[tissue, ["training", "validation"]].all(), "the parts named first are served first"

    def test_shares_are_met(self):
        table = table_of([[tissue] * 3 for tissue in TISSUES for _ in range(40)])
        counts = pd.crosstab(table["tissue"], split_patches(table, seed=4), normalize="index")
        assert np.allclose(counts[["training", "validation", "test"]], [0.6, 0.1, 0.3], atol=0.03)
        mixed = split_patches(table_of([list(TISSUES)] * 30), {"training": 0.5, "validation": 0.5}, seed=4)
        assert mixed.value_counts().to_dict() == {"training": 90, "validation": 90}
        assert not split_patches(table, seed=5).equals(split_patches(table, seed=4))

    @pytest.mark.parametrize("by", ["roi", "patient"])
    def test_every_group_is_validated_on_in_one_fold(self, by):
        table = table_of([["PT", "CAP"]] * 14).assign(patient=lambda table: "of " + table["roi"])
        table["split"] = split_patches(table, {"training": 0.5, "validation": 0.2, "test": 0.3}, by, seed=3)
        folds = [take_fold(table, 4, fold, by, seed=3) for fold in (1, 2, 3, 4)]
        for parts in folds:
            assert (parts == "test").equals(table["split"] == "test")
            assert (parts.groupby(table[by]).nunique() == 1).all()
        times = sum((parts == "validation").astype(int) for parts in folds)
        assert (times == (table["split"] != "test")).all()
        with pytest.raises(InputError, match="come from 2 rois"):
            take_fold(table[table["roi"].isin(table["roi"].unique()[:2])].assign(split="training"), 4, 1)

    def test_what_cannot_be_split_is_refused(self):
        table = table_of([["PT"]] * 6)
        for told, change, options in (
            ("stand on both sides", {}, {"by": "patch"}),
            ("did you mean 'patient'", {}, {"by": "patients"}),
            ("6 patches have no patient", {"patient": ""}, {"by": "patient"}),
            ("add up to 1", {}, {"shares": {"training": 0.6, "test": 0.6}}),
            ("must be positive", {}, {"shares": {"training": 1.5, "test": -0.5}}),
            ("come from 1 roi ", {"roi": "12"}, {}),
        ):
            with pytest.raises(InputError, match=told):
                split_patches(table.assign(**change), **options)


class TestFraction:
    @settings(deadline=None, max_examples=50)
    @given(st.lists(ANY_TISSUES, min_size=1, max_size=30), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 9))
    def test_smaller_shares_lie_in_larger_ones(self, groups, one, other, seed):
        table = table_of(groups)
        small, large = (keep_fraction(table, share, seed) for share in sorted((one, other)))
        assert set(small.index) <= set(large.index) and set(small["tissue"]) == set(table["tissue"])
        for part in (small, large):
            assert len(part) == table["roi"].isin(part["roi"]).sum(), "a region stays whole"

    def test_shares_are_of_regions(self):
        table = table_of([[tissue] * 2 for tissue in TISSUES for _ in range(12)])
        for share, count in ((0.25, 3), (0.5, 6), (1.0, 12), (1 / 3, 4)):
            assert set(keep_fraction(table, share, 3).groupby("tissue")["roi"].nunique()) == {count}
        with pytest.raises(InputError, match="data fraction is 0"):
            keep_fraction(table, 0, 3)


def test_the_digest_is_of_content_and_split(tmp_path):
    for folder in ("a", "b"):
        write_pair(tmp_path / folder / "1_1_pt/he/im_1_0.png", tmp_path / folder / "1_1_pt/he/im_1_0_mask_p.png")
    one, moved = (list_patches(tmp_path / folder).assign(split="training") for folder in ("a", "b"))
    assert digest_patches(one) == digest_patches(moved)
    assert digest_patches(one) != digest_patches(one.assign(split="test"))
    write_pair(one["image"][0], one["mask"][0], value=0)
    assert digest_patches(one) != digest_patches(moved)


def test_simulated_patches_have_one_tissue_each_in_the_published_layout(tmp_path, monkeypatch):
    fields = {5: (700.0, 1.0), 10: (700.0, 1.0), 40: (150.0, 0.25)}  # smaller ones, so that it takes seconds
    monkeypatch.setattr(simulated, "FIELDS_UM", fields)
    write_patches(tmp_path / "p", tmp_path / "rois", donors=2, patches_per_tissue=4, seed=1)
    table = list_patches(tmp_path / "p")
    assert dict(table.groupby("tissue").size()) == dict.fromkeys(sorted(TISSUES), 4)
    images = [read_patch(row.image, row.mask) for row in table.itertuples()]
    assert {image.shape for image, _ in images} == {(256, 256, 3)}
    for tissue in ("PT", "CAP", "DT"):
        assert any(mask.mean() > 0.02 for (_, mask), t in zip(images, table["tissue"], strict=True) if t == tissue)
