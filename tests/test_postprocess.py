"""Cleaning by size, against the same done on the whole mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nephrospot.errors import InputError
from nephrospot.postprocess import clean_masks
from nephrospot.postprocess_rules import order_rules
from nephrospot.sources import resample_mask

EIGHT = np.ones((3, 3))


def source_of(mask, mpp=1.0):
    return mask.shape, mpp, lambda rows, columns: mask[rows, columns].astype(np.uint8)


def read_all(source):
    return source[2](slice(0, source[0][0]), slice(0, source[0][1]))


def areas(mask):
    labels, _ = ndimage.label(mask, EIGHT)
    return np.bincount(labels.ravel())[1:]


def clean_whole(mask, rule, mpp=1.0, outer=None):
    """The same on the whole mask, by SciPy."""
    mask = mask.copy()
    labels, n = ndimage.label(~mask)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    holes = [
        i for i in range(1, n + 1) if i not in edge and (labels == i).sum() * mpp**2 <= rule.get("max_hole_um2", 0)
    ]
    mask |= np.isin(labels, holes)
    if outer is not None:
        mask &= outer
    labels, _ = ndimage.label(mask, EIGHT)
    keep = np.bincount(labels.ravel()) * mpp**2 >= rule.get("min_area_um2", 0)
    keep[0] = False
    return keep[labels], len(holes)


@st.composite
def masks(draw, height=48, width=57):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.3, 0.5, 0.6, 0.8]))
    coarse = rng.random((-(-height // 3), -(-width // 3))) < share
    dust = rng.random((height, width)) < draw(st.sampled_from([0.0, 0.05]))
    return np.kron(coarse, np.ones((3, 3), bool))[:height, :width] ^ dust


RULES = st.fixed_dictionaries({"min_area_um2": st.integers(0, 60), "max_hole_um2": st.integers(0, 40)})


@settings(max_examples=30, deadline=None)
@given(
    cap=masks(),
    tuft=masks(),
    cap_rule=RULES,
    tuft_rule=RULES,
    mpp=st.sampled_from([1.0, 0.5]),
    block_px=st.integers(5, 64),
)
def test_agrees_with_cleaning_the_whole_mask(cap, tuft, cap_rule, tuft_rule, mpp, block_px):
    sources = {"TUFT": source_of(tuft, mpp), "CAP": source_of(cap, mpp)}
    rules = {"TUFT": tuft_rule | {"inside": "CAP"}, "CAP": cap_rule}
    cleaned, facts = clean_masks(sources, rules, block_px=block_px)
    assert list(cleaned) == list(sources)
    expected_cap, holes = clean_whole(cap, cap_rule, mpp)
    expected_tuft, _ = clean_whole(tuft, tuft_rule, mpp, expected_cap)
    assert (read_all(cleaned["CAP"]) == expected_cap).all()
    assert (read_all(cleaned["TUFT"]) == expected_tuft).all()
    told = facts.get("CAP")
    assert (told is None) == (not any(cap_rule.values())), "facts where a rule asks for something"
    if told:
        assert told["holes_filled"] == holes
        assert (told["objects_before"], told["objects_after"]) == (len(areas(cap)), len(areas(expected_cap)))
        assert told["area_before_um2"] == pytest.approx(cap.sum() * mpp**2)
        assert told["area_after_um2"] == pytest.approx(expected_cap.sum() * mpp**2)


@settings(max_examples=30, deadline=None)
@given(cap=masks(), tuft=masks(24, 29), cap_rule=RULES, tuft_rule=RULES, block_px=st.integers(5, 64))
def test_what_holds_of_every_cleaned_mask(cap, tuft, cap_rule, tuft_rule, block_px):
    sources = {"CAP": source_of(cap), "TUFT": source_of(tuft, 2.0)}
    rules = {"CAP": cap_rule, "TUFT": tuft_rule | {"inside": "CAP"}}
    cleaned, _ = clean_masks(sources, rules, block_px=block_px)
    once = {tissue: read_all(source).astype(bool) for tissue, source in cleaned.items()}
    for tissue, mask, pixel_um2, rule in (("CAP", cap, 1.0, cap_rule), ("TUFT", tuft, 4.0, tuft_rule)):
        left = areas(once[tissue]) * pixel_um2
        assert (left >= rule["min_area_um2"]).all(), "nothing smaller remains, not even of what was cut"
        holes = ndimage.label(~mask)[0]
        sizes = np.bincount(holes.ravel())[np.unique(holes[once[tissue] & ~mask])] * pixel_um2
        assert (sizes <= rule["max_hole_um2"]).all(), "no pixel is added but in holes that are small enough"
    rows, columns = (np.minimum(np.arange(n) * 2 + 1, size - 1) for n, size in zip(tuft.shape, cap.shape, strict=True))
    assert not (once["TUFT"] & ~once["CAP"][np.ix_(rows, columns)]).any(), "tuft is inside the cleaned capsule"
    again, _ = clean_masks(
        {t: source_of(m, s[1]) for (t, m), s in zip(once.items(), sources.values(), strict=True)}, rules
    )
    for tissue in once:
        assert (read_all(again[tissue]) == once[tissue]).all(), f"{tissue}: cleaning twice is cleaning once"
    other, _ = clean_masks(sources, rules)
    assert all((read_all(other[tissue]) == once[tissue]).all() for tissue in once), "the block size doesn't matter"


def test_sizes_are_areas_in_um2():
    mask = np.zeros((60, 60), bool)
    mask[2:12, 2:12] = True  # 100 px with a hole of 4 px
    mask[5:7, 5:7] = False
    mask[30:35, 30:35] = True  # 25 px
    mask[50:, 50:] = True  # 100 px with a notch of 4 px at the border, which isn't a hole
    mask[58:, 55:57] = False
    for mpp in (1.0, 0.5, 2.0):
        rule = {"min_area_um2": 26 * mpp**2, "max_hole_um2": 4 * mpp**2}
        cleaned, facts = clean_masks({"PT": source_of(mask, mpp)}, {"PT": rule}, block_px=9)
        assert areas(read_all(cleaned["PT"])).tolist() == [100, 96]
        expected = {"objects_before": 3, "objects_after": 2, "holes_filled": 1, "notes": []}
        expected |= {"area_before_um2": (96 + 25 + 96) * mpp**2, "area_after_um2": 196 * mpp**2}
        assert facts == {"PT": expected}
        rule = {"min_area_um2": 25 * mpp**2, "max_hole_um2": 3.9 * mpp**2}
        cleaned, _ = clean_masks({"PT": source_of(mask, mpp)}, {"PT": rule}, block_px=9)
        assert (read_all(cleaned["PT"]) == mask).all(), "the limits themselves stay, larger holes too"


def test_off_is_the_very_same_source():
    source = source_of(np.ones((9, 9), bool))
    cleaned, facts = clean_masks({"CAP": source, "PT": source}, {"PT": {}, "VES": {"min_area_um2": 9}})
    assert cleaned["CAP"] is source and cleaned["PT"] is source and facts == {}


def test_a_tissue_whose_outer_one_has_no_mask_is_kept_and_says_so():
    mask = np.ones((9, 9), bool)
    cleaned, facts = clean_masks({"TUFT": source_of(mask)}, {"TUFT": {"inside": "CAP"}})
    assert read_all(cleaned["TUFT"]).all()
    assert facts["TUFT"]["notes"] == ["TUFT isn't kept inside CAP, which has no mask here."]


def test_a_tissue_inside_another_of_finer_or_coarser_pixels():
    y, x = np.mgrid[:64, :64]
    fine = (y - 30) ** 2 + (x - 34) ** 2 < 400
    full = {1: np.ones((64, 64), bool), 4: np.ones((16, 16), bool)}
    coarse = fine[2::4, 2::4]
    for mpp, outer, outer_mpp, expected in (
        (4.0, fine, 1.0, coarse),
        (1.0, coarse, 4.0, np.kron(coarse, np.ones((4, 4)))),
    ):
        sources = {"TUFT": source_of(full[int(mpp)], mpp), "CAP": source_of(outer, outer_mpp)}
        cleaned, _ = clean_masks(sources, {"TUFT": {"inside": "CAP"}}, block_px=13)
        assert (read_all(cleaned["TUFT"]) == expected).all(), "by the pixel under each centre"


def test_resampling_reads_no_more_than_a_shard_at_once(monkeypatch):
    monkeypatch.setattr("nephrospot.sources.SHARD_PX", 16)
    mask, sizes = np.random.default_rng(1).random((100, 100)) < 0.5, []

    def read(rows, columns):
        sizes.append((rows.stop - rows.start, columns.stop - columns.start))
        return mask[rows, columns]

    block = resample_mask((mask.shape, 0.5, read), slice(3, 40), slice(0, 50), 1.0)
    assert (block == mask[7:81:2, 1::2]).all()
    assert max(max(size) for size in sizes) <= 16
    shifted = resample_mask((mask.shape, 0.5, read), slice(0, 10), slice(0, 10), 1.0, (5.0, 10.0))
    assert (shifted == mask[11:31:2, 21:41:2]).all()


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"TUF": {"min_area_um2": 1}}, ["postprocess.TUF:", "did you mean 'TUFT'?"]),
        ({"TUFT": {"inside": "cap"}}, ["postprocess.TUFT.inside", "did you mean 'CAP'?"]),
        ({"PT": {"inside": "PT"}}, ["postprocess.PT.inside", "PT lies inside PT", "take one inside out"]),
        (
            {"TUFT": {"inside": "CAP"}, "CAP": {"inside": "PT"}, "PT": {"inside": "CAP"}},
            ["postprocess.CAP.inside: CAP lies inside PT lies inside CAP"],
        ),
    ],
)
def test_rules_that_cannot_be(rules, words):
    with pytest.raises(InputError) as error:
        clean_masks({"CAP": source_of(np.ones((3, 3), bool))}, rules)
    assert all(word in str(error.value) for word in words)
    assert len(str(error.value).splitlines()) == 1, "one sentence for one mistake"


def test_outer_tissues_come_first():
    rules = {"TUFT": {"inside": "CAP"}, "CAP": {"inside": "PT"}, "VES": {"min_area_um2": 3}}
    assert order_rules(rules, ["TUFT", "CAP", "VES", "PT"]) == ["CAP", "TUFT", "VES"]
