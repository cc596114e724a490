"""What each reference is fitted with."""

import yaml

from nephrospot.fits import DEFAULTS, list_fits
from nephrospot.settings import read_settings
from test_settings import MINIMAL


def make_settings(**deconvolution):
    config = yaml.safe_load(MINIMAL)
    return read_settings(config | {"deconvolution": {"reference": "cells.h5ad", **deconvolution}})


def test_without_a_second_reference_there_is_one_fit():
    fits = list_fits(make_settings(min_umi=700))
    assert list(fits) == ["first"] and set(fits["first"]) == {*DEFAULTS, "tissues"}
    assert fits["first"]["min_umi"] == 700
    assert fits["first"]["tissues"] == {"PT": ["PT-S1"]}, "Tissues without cell types aren't summed."


def test_what_comes_after_the_fit_is_no_part_of_it():
    plain = list_fits(make_settings())
    assert list_fits(make_settings(cell_umi={"PT-S1": 9000}, cell_area_um2={"PT-S1": 90})) == plain


def test_the_second_has_its_own_labels_and_the_firsts_limits():
    own = {"reference": "b.h5ad", "label_column": "type", "leave_out": ["?"], "cell_types": {"CAP": ["podocyte"]}}
    first, second = list_fits(make_settings(second=own, max_mt_percent=60, mode="doublet")).values()
    assert second["tissues"] == {"PT": ["PT-S1"], "CAP": ["podocyte"]}, "A tissue that isn't named keeps its types."
    assert (second["label_column"], second["leave_out"], second["methods"]) == ("type", ["?"], ["rctd"])
    assert first["label_column"] == "cell_type" and first["methods"] == ["rctd", "nnls"]
    assert second["max_mt_percent"] == 60 and second["mode"] == "doublet"
