"""The simulated section: plausible areas, nested and disjoint tissues, cells where they belong."""

import numpy as np
import pytest

from nephrospot.errors import InputError
from nephrospot.simulate import structures as s
from nephrospot.simulate.anatomy import anatomy
from nephrospot.simulate.tissue import lay_out
from nephrospot.simulate.zones import CORTEX

HOME = {  # where a nucleus of each type may lie; Endo and Fib line most things
    "PT-S1": {s.PT}, "PT-S2": {s.PT}, "PT-S3": {s.PT}, "TAL": {s.DT}, "DCT": {s.DT}, "CD-PC": {s.CD},
    "CD-IC": {s.CD}, "Podo": {s.TUFT}, "Mesangial": {s.TUFT}, "SMC": {s.ARTERY},
    "Fib": {s.INTERSTITIUM, s.CAPSULE}, "Macro": {s.INTERSTITIUM, s.CAPSULE},
}  # fmt: skip


@pytest.fixture(scope="module")
def kidney():
    return lay_out(anatomy("mouse"), 1800, 1800, 1.0, seed=1)


def share_of_cortex(layout, tissue):
    cortex = layout.upsample(layout.zones.zone, nearest=True) == CORTEX
    return layout.mask(tissue)[cortex].mean()


@pytest.mark.parametrize(
    ("tissue", "low", "high"),
    [("CAP", 0.035, 0.09), ("PT", 0.48, 0.75), ("DT", 0.05, 0.22), ("VES", 0.005, 0.06), ("PTC", 0.01, 0.07)],
)
def test_tissues_take_a_plausible_share_of_the_cortex(kidney, tissue, low, high):
    share = share_of_cortex(kidney, tissue)
    assert low < share < high, f"{tissue} covers {share:.1%} of the cortex, which no mouse kidney has"


def test_section_is_tissue_on_glass_with_a_medulla(kidney):
    assert 0.4 < kidney.tissue.mean() < 0.85, "a kidney covers most of its field, with glass around it"
    border = np.concatenate([kidney.tissue[0], kidney.tissue[-1], kidney.tissue[:, 0], kidney.tissue[:, -1]])
    assert not border.any(), "the section must not be cut by the field's border"
    assert len(np.unique(kidney.zones.zone)) == 4, "glass, cortex, outer and inner medulla must all be there"


def test_tuft_lies_in_the_glomerulus(kidney):
    assert kidney.mask("TUFT").any()
    assert not (kidney.mask("TUFT") & ~kidney.mask("CAP")).any(), "every tuft pixel must be a CAP pixel"
    share = kidney.mask("TUFT").sum() / kidney.mask("CAP").sum()
    assert 0.5 < share < 0.95, f"tufts fill {share:.0%} of Bowman's capsules"


def test_other_tissues_are_disjoint(kidney):
    together = sum(kidney.mask(t).astype(int) for t in ("CAP", "PT", "DT", "VES", "PTC"))
    assert together.max() == 1, "a pixel belongs to one of CAP, PT, DT, VES and PTC at most"
    assert not (together > 0)[~kidney.tissue].any(), "there is no tissue on glass"


def test_nuclei_lie_in_the_structures_of_their_type(kidney):
    nuclei = kidney.nuclei
    assert set(nuclei["cell_type"].unique()) == set(s.CELL_TYPES), "all 13 types occur in a whole kidney"
    for cell_type, homes in HOME.items():
        found = nuclei.loc[nuclei["cell_type"] == cell_type, "structure"]
        strays = 1 - found.isin(homes).mean()
        assert strays < 0.03, f"{strays:.1%} of {cell_type} nuclei lie in other structures"
    under = kidney.structure[nuclei["y_um"].astype(int), nuclei["x_um"].astype(int)]
    assert (under == nuclei["structure"]).mean() > 0.999, "the table's structure is the raster's at 1 µm per pixel"


def test_nuclei_are_as_dense_as_in_a_spot_of_cortex(kidney):
    nuclei = kidney.nuclei
    cortex = kidney.zones.zone == CORTEX
    n = cortex[nuclei["y_um"].astype(int), nuclei["x_um"].astype(int)].sum()
    per_spot = n / cortex.sum() * np.pi * 27.5**2
    assert 8 < per_spot < 15, f"{per_spot:.1f} nuclei in a 55 µm disc"


def test_resolution_changes_pixels_and_not_the_tissue():
    coarse = lay_out(anatomy("mouse"), 400, 300, 1.0, 5, "full")
    fine = lay_out(anatomy("mouse"), 400, 300, 0.5, 5, "full")
    assert coarse.shape == (300, 400) and fine.shape == (600, 800)
    for tissue in ("PT", "CAP"):
        agree = (fine.mask(tissue)[::2, ::2] == coarse.mask(tissue)).mean()
        assert agree > 0.98, f"{tissue} moves with the resolution: {agree:.3f} of the pixels agree"
    assert fine.nuclei.equals(coarse.nuclei)


def test_seed_decides_everything():
    one, again, other = (lay_out(anatomy("mouse"), 300, 300, 0.5, seed, "full") for seed in (3, 3, 4))
    assert one.structure.tobytes() == again.structure.tobytes()
    assert one.nuclei.equals(again.nuclei)
    assert one.structure.tobytes() != other.structure.tobytes()


def test_full_field_has_no_glass_and_edge_has_some():
    assert lay_out(anatomy("mouse"), 300, 200, 1.0, 2, "full").tissue.all()
    shares = [lay_out(anatomy("mouse"), 300, 300, 1.0, seed, "edge").tissue.mean() for seed in range(4)]
    assert min(shares) < 0.98 and max(shares) > 0.2, f"the capsule should cross the field: {shares}"


def test_human_structures_are_larger():
    def radius(species):
        layouts = [lay_out(anatomy(species), 700, 700, 1.0, seed, "full") for seed in range(2)]
        return np.mean([g.radius_um for layout in layouts for g in layout.glomeruli])

    assert radius("human") > 1.8 * radius("mouse")


def test_field_without_room_for_a_tubule_is_laid_out():
    tiny = lay_out(anatomy("mouse"), 40, 40, 1.0, 1)
    assert tiny.shape == (40, 40)


def test_mistakes_are_told():
    with pytest.raises(InputError, match="mouse"):
        anatomy("mice")
    with pytest.raises(InputError, match="proximal_um"):
        anatomy("mouse", proximal=3)
    with pytest.raises(InputError, match="outline"):
        lay_out(anatomy("mouse"), 300, 300, 1.0, 1, "bean")
    with pytest.raises(InputError, match="µm per pixel"):
        lay_out(anatomy("mouse"), 300, 300, -1.0, 1)
    with pytest.raises(InputError, match="did you mean 'CAP'"):
        lay_out(anatomy("mouse"), 60, 60, 1.0, 1, "full").mask("cap")


def test_tubule_table_lies_on_its_cross_sections():
    layout = lay_out(anatomy("mouse"), 400, 400, 1.0, 3, "full")
    table = layout.tubules.table
    inside = table[table["x_um"].between(5, 395) & table["y_um"].between(5, 395)]
    number = layout.tubules.cell[inside["y_um"].astype(int), inside["x_um"].astype(int)]
    assert (number == inside.index + 1).mean() > 0.95, "the middle of a cross section lies in its territory"
