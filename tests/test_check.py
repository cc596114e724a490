"""The check of one slide: its facts when all is well, every problem when not, never an exception."""

import gzip

import numpy as np
import pytest
import tifffile
import yaml

from nephrospot.barcodes import read_count_barcodes
from nephrospot.check import check_slide, read_slide_manifest
from nephrospot.errors import InputError
from nephrospot.files import write_json
from nephrospot.judge import judge_cohort, report_check, write_check
from nephrospot.settings import read_settings
from nephrospot.visium import read_positions
from test_settings import MINIMAL
from visium_folder import make_positions, paint_tissue, write_outs

REGISTRATION = read_settings(yaml.safe_load(MINIMAL))["registration"]
TISSUES = ["CAP", "PT"]
PICTURE = paint_tissue(1000, 1200, seed=3)


def write_slide(path, picture, mpp=None):
    """A tiled TIFF, with a resolution tag on demand."""
    tags = {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    tifffile.imwrite(path, picture, tile=(256, 256), photometric="rgb", **tags)


@pytest.fixture
def row(tmp_path):
    """One slide of 2.4 × 2 mm with 9 × 11 spots, all consistent."""
    write_slide(tmp_path / "slide.tiff", PICTURE, mpp=2.0)
    positions = make_positions(rows=18, columns=20, pitch_px=50, origin=(100, 80))
    outs = write_outs(tmp_path / "outs", positions, pitch_px=50, hires=PICTURE[::2, ::2, ::-1], hires_scalef=0.5)
    scores = [
        "barcode,CAP,PT",
        *(f"{barcode},10,80" for barcode in positions["barcode"][:30]),
        f"{positions['barcode'][31]},,",
    ]
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    return {
        "slide": "B1", "image": str(tmp_path / "slide.tiff"), "visium": str(outs),
        "scores": str(tmp_path / "scores.csv"),
        "species": "mouse", "stain": "H&E", "mpp": np.nan, "group": "", "visium_scale": 1.0, "visium_x_px": 0.0,
        "visium_y_px": 0.0, "exclude": "",
    }  # fmt: skip


def problems_of(row):
    return check_slide(row, REGISTRATION)["problems"]


def check_cohort(rows, output):
    """The check of a cohort, as the workflow's two rules do it; excluded rows come last."""
    excluded = {r["slide"]: r["exclude"] for r in rows if r["exclude"]}
    given = {r["slide"]: r for r in rows if not r["exclude"]}
    verdicts = judge_cohort([check_slide(r, REGISTRATION) for r in given.values()], given, TISSUES)
    write_check(verdicts, excluded, output)


def cohort_problems(tmp_path, *rows):
    """The sentences with which a cohort is refused, and no text left behind."""
    with pytest.raises(InputError) as caught:
        check_cohort(rows, tmp_path / "check.txt")
    assert not (tmp_path / "check.txt").exists()
    return str(caught.value).splitlines()


def test_a_good_slide(row, tmp_path):
    manifest = check_slide(row, REGISTRATION)
    assert manifest["problems"] == [] and manifest["notes"] == []
    assert manifest["mpp"] == pytest.approx(2.0, rel=1e-3)
    assert set(manifest["mpp_witnesses"]) == {"tag", "pitch", "fiducial"}
    assert (manifest["width_px"], manifest["height_px"]) == (1200, 1000)
    assert manifest["levels"][0] == {"width_px": 1200, "height_px": 1000, "downsample": 1.0}
    assert manifest["spots_in_tissue"] == manifest["spots_total"] == 180
    assert manifest["registration"]["correlation"] > 0.95
    write_json(tmp_path / "slide.json", manifest)
    assert read_slide_manifest(tmp_path / "slide.json")["transform"] == {"scale": 1, "x_px": 0, "y_px": 0}


def test_a_slide_without_visium(row):
    manifest = check_slide({**row, "visium": "", "scores": ""}, REGISTRATION)
    assert manifest["problems"] == [] and manifest["mpp_witnesses"].keys() == {"tag"}
    assert manifest["registration"] is None and manifest["spots_total"] == 0


def test_the_pitch_alone_settles_mpp(row, tmp_path):
    write_slide(tmp_path / "slide.tiff", PICTURE)
    assert check_slide(row, REGISTRATION)["mpp"] == pytest.approx(2.0, rel=1e-6)


def test_a_resized_image_needs_its_scale(row, tmp_path):
    write_slide(tmp_path / "slide.tiff", np.kron(PICTURE, np.ones((2, 2, 1), np.uint8)), mpp=1.0)
    assert any("visium_scale" in sentence for sentence in problems_of(row))
    manifest = check_slide({**row, "visium_scale": 2.0}, REGISTRATION)
    assert manifest["problems"] == [] and manifest["notes"] == []
    assert manifest["mpp_witnesses"]["pitch"] == pytest.approx(1.0)


def test_contradicting_and_missing_mpp(row, tmp_path):
    assert "0.5" in " ".join(problems_of({**row, "mpp": 0.5}))
    write_slide(tmp_path / "slide.tiff", PICTURE)
    assert "mpp" in problems_of({**row, "visium": "", "scores": ""})[0]


def test_every_problem_of_a_slide_at_once(row, tmp_path):
    (tmp_path / "slide.tiff").write_bytes((tmp_path / "slide.tiff").read_bytes()[:5000])
    (tmp_path / "scores.csv").write_text("barcode,CAP\nNNNN-1,5\n")
    (tmp_path / "outs" / "filtered_feature_bc_matrix.h5").write_bytes(b"short")
    told = cohort_problems(tmp_path, row)
    assert len(told) == 3 and all(sentence.startswith("slide B1") for sentence in told)
    for name in ("slide.tiff", "scores.csv", "filtered_feature_bc_matrix.h5"):
        assert any(name in sentence for sentence in told), name


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_slide_cut_short_anywhere(row, tmp_path, share):
    path = tmp_path / "slide.tiff"
    tags = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, PICTURE, tile=(256, 256), photometric="rgb", compression="jpeg", **tags)
    assert problems_of(row) == [], "whole, it is a good slide"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    told = problems_of(row)
    assert len(told) == 1 and str(path) in told[0] and "copy" in told[0], "even where its header is whole"


def test_spots_outside_the_image(row):
    moved = {**row, "visium_x_px": 5000.0}
    assert any("180 of 180 spots on tissue lie outside" in sentence for sentence in problems_of(moved))
    manifest = check_slide({**row, "visium_x_px": -140.0}, REGISTRATION)
    assert any("outside the image" in note for note in manifest["notes"]), "a few are told, not refused"


def test_another_tissue_in_the_picture(row, tmp_path):
    write_slide(tmp_path / "slide.tiff", paint_tissue(1000, 1200, seed=4), mpp=2.0)
    assert any("same tissue" in sentence for sentence in problems_of(row))


def test_a_crop_is_noted(row, tmp_path):
    write_slide(tmp_path / "slide.tiff", np.pad(PICTURE, ((0, 300), (0, 0), (0, 0)), constant_values=250), mpp=2.0)
    manifest = check_slide(row, REGISTRATION)
    assert manifest["problems"] == [] and "crop" in manifest["notes"][0]
    write_slide(tmp_path / "slide.tiff", np.pad(PICTURE, ((300, 0), (100, 0), (0, 0)), constant_values=250), mpp=2.0)
    assert any("add +100 to visium_x_px and +300 to visium_y_px" in sentence for sentence in problems_of(row))
    manifest = check_slide({**row, "visium_x_px": 100.0, "visium_y_px": 300.0}, REGISTRATION)
    assert manifest["problems"] == [] and manifest["notes"] == [], "the sheet says where the crop lies"


def test_scores_and_counts_of_another_slide(row, tmp_path):
    positions = make_positions(rows=18, columns=20, pitch_px=50, origin=(100, 80))
    positions.loc[:40, "in_tissue"] = 0
    positions.to_csv(tmp_path / "outs" / "spatial" / "tissue_positions.csv", index=False)
    assert any("off the tissue" in sentence for sentence in cohort_problems(tmp_path, row))
    other = make_positions()
    other["barcode"] = other["barcode"].str.replace("-1", "-7")
    write_outs(tmp_path / "other", other)
    (tmp_path / "other" / "filtered_feature_bc_matrix.h5").replace(tmp_path / "outs" / "filtered_feature_bc_matrix.h5")
    assert any("different slides" in sentence for sentence in problems_of(row))


def test_missing_counts_are_a_note(row, tmp_path):
    (tmp_path / "outs" / "filtered_feature_bc_matrix.h5").unlink()
    manifest = check_slide(row, REGISTRATION)
    assert manifest["problems"] == [] and "deconvolved" in manifest["notes"][0]


@pytest.mark.parametrize("name", ["barcodes.tsv.gz", "barcodes.tsv"])
def test_barcodes_of_a_matrix_folder(row, tmp_path, name):
    expected = read_count_barcodes(tmp_path / "outs")
    (tmp_path / "outs" / "filtered_feature_bc_matrix.h5").unlink()
    folder = tmp_path / "outs" / "filtered_feature_bc_matrix"
    folder.mkdir()
    content = "\n".join(expected).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert (
        read_count_barcodes(tmp_path / "outs")
        == expected
        == read_positions(tmp_path / "outs").table["barcode"].tolist()
    )
    if name.endswith("gz"):
        (folder / name).write_bytes(gzip.compress(content)[:-20])
        assert "cut short" in problems_of(row)[0]


@pytest.mark.parametrize("column", ["image", "visium", "scores"])
def test_what_is_missing_is_a_problem_and_told_once(row, column, tmp_path):
    told = cohort_problems(tmp_path, {**row, column: "nowhere/at/all"})
    assert len(told) == 1 and column in told[0]


def test_later_steps_stop_at_a_refused_slide(row, tmp_path):
    manifest = check_slide({**row, "image": "nowhere.tiff", "visium": "nowhere"}, REGISTRATION)
    write_json(tmp_path / "slide.json", manifest)
    with pytest.raises(InputError) as caught:
        read_slide_manifest(tmp_path / "slide.json")
    assert str(caught.value).splitlines() == manifest["problems"] and len(manifest["problems"]) == 2


def test_a_good_cohort_leaves_a_text(row, tmp_path):
    rows = [row, {**row, "slide": "B2", "scores": ""}, {**row, "slide": "B3", "image": "gone", "exclude": "folded"}]
    check_cohort(rows, tmp_path / "check.txt")
    lines = (tmp_path / "check.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "B1: ok – 1200 × 1000 px, 2 µm per pixel, 180 spots on tissue, 30 scored",
        "B2: ok – 1200 × 1000 px, 2 µm per pixel, 180 spots on tissue, no scores",
        "2 of 2 slides can be used.",
        "B3: left out – folded",
    ], "a row of empty cells isn't scored, and what is left out is told"


def test_scores_off_the_tissue_are_noted(row, tmp_path):
    positions = make_positions(rows=18, columns=20, pitch_px=50, origin=(100, 80))
    positions.loc[:4, "in_tissue"] = 0
    positions.to_csv(tmp_path / "outs" / "spatial" / "tissue_positions.csv", index=False)
    check_cohort([row], tmp_path / "check.txt")
    assert "note: slide B1: 5 scored spots" in (tmp_path / "check.txt").read_text(encoding="utf-8")


def test_problems_of_all_slides_come_together(row, tmp_path):
    told = cohort_problems(tmp_path, {**row, "image": "nowhere.tiff"}, {**row, "slide": "B2", "mpp": 0.5})
    assert told[0].startswith("slide B1: nowhere.tiff") and told[1].startswith("slide B2")


def test_verdicts_say_which_slide_can_not_be_used_without_raising(row):
    rows = {"B1": row, "B2": {**row, "slide": "B2", "image": "no.tiff"}, "B3": {**row, "slide": "B3"}}
    manifests = [check_slide(own, REGISTRATION) for own in rows.values()]
    shared = (["reference: ok"], ["config: wrong."], {"B3": ["slide B3: 0 genes in common."]})
    verdicts = judge_cohort(manifests, rows, TISSUES, shared)
    assert verdicts["problems"] == ["config: wrong."] and list(verdicts["slides"]) == ["B2", "B3"]
    assert verdicts["slides"]["B3"] == ["slide B3: 0 genes in common."]
    assert verdicts["slides"]["B2"][0].startswith("slide B2: no.tiff")
    assert "1 of 3 slides can be used." in verdicts["lines"] and verdicts["lines"][-1] == "reference: ok"


def test_report_says_ok_or_refused(row):
    good, bad = check_slide(row, REGISTRATION), check_slide({**row, "slide": "B2", "image": "no.tiff"}, REGISTRATION)
    text = report_check([good, bad])
    assert "B1: ok" in text and "B2: refused – µm per pixel unknown" in text
    assert "  problem: slide B2: no.tiff" in text
    assert text.endswith("1 of 2 slides can be used.\n")


def test_real_mosaic(shared_data, row):
    folder = shared_data / "mouse_pas_mosaic"
    manifest = check_slide(
        {**row, "image": str(folder / "mosaic_pas_mouse.tiff"), "visium": str(folder), "scores": ""}, REGISTRATION
    )
    assert manifest["problems"] == []
    assert manifest["mpp"] == pytest.approx(0.3372, abs=1e-4)
    assert manifest["registration"]["correlation"] > 0.9
    assert (manifest["spots_in_tissue"], manifest["spots_total"]) == (17, 4992)
