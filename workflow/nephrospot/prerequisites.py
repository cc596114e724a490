"""What all slides share – weights, reference, published numbers – and whether the counts go with it."""

from __future__ import annotations

from collections.abc import Mapping

import anndata as ad

from nephrospot.deconvolve import prepare_reference, prepare_spots
from nephrospot.errors import Problems, did_you_mean
from nephrospot.fits import list_fits
from nephrospot.models import TISSUES
from nephrospot.models.ensemble import load_ensemble
from nephrospot.neighbours import find_edge
from nephrospot.rctd import find_program
from nephrospot.readings import method_readings
from nephrospot.settings import NAME
from nephrospot.shares import check_factors
from nephrospot.table2 import read_published
from nephrospot.visium import read_positions


def check_prerequisites(manifests: list[dict], settings: Mapping) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Read everything that some later step reads, so that none of them fails after hours.

    Parameters
    ----------
    manifests
        Content of each slide's ``slide.json``.
    settings
        From `nephrospot.settings.read_settings`.

    Returns
    -------
    lines : list of str, for people
    problems : list of str, one sentence a mistake
    of_slides : {slide: sentences}, on counts that don't go with the reference
    """
    lines, problems, of_slides = [], Problems(), {}
    problems.catch(read_published, settings["published"])
    _check_networks(settings, {manifest["species"] for manifest in manifests}, problems)
    with_spots = [manifest for manifest in manifests if manifest["visium"]]
    if settings["deconvolution"]["reference"] and with_spots:
        lines += _check_references(settings, with_spots, problems, of_slides)
    return lines, problems.sentences, of_slides


def _check_networks(settings: Mapping, species: set[str], problems: Problems) -> None:
    for name, method in settings["methods"].items():
        if "network" not in method:
            continue
        where, told = f"{NAME}, methods.{name}", Problems()
        loaded = told.catch(load_ensemble, method["network"], method["weights"])
        for sentence in told.sentences:
            problems.add(f"{where}: correct network or weights – {sentence}")
        known = loaded[0].tissues if loaded else TISSUES
        for kind in sorted(species):
            for tissue, _, _ in method_readings(method, settings["species"], kind):
                if tissue not in TISSUES:
                    problems.add(
                        f"{where}: no network knows tissue {tissue!r} (under {kind}); {did_you_mean(tissue, TISSUES)}"
                    )
                elif tissue not in known:
                    problems.add(
                        f"{where}: these weights of {method['network']} know {', '.join(known)} and not {tissue} "
                        f"(under {kind}); give this method species_readings.{kind} without {tissue}, or weights that "
                        "know it."
                    )
        if loaded:
            _check_window(settings["segmentation"], method, loaded[0].stride, where, problems)


def _check_window(segmentation: Mapping, method: Mapping, stride: int, where: str, problems: Problems) -> None:
    window_px, mode = segmentation["window_px"], method.get("mode") or segmentation["mode"]
    # The other modes have windows of their own, which suit every network.
    if mode == "nephrospot" and window_px % stride:
        below = window_px // stride * stride
        problems.add(
            f"{where}: {method['network']} needs windows of a multiple of {stride} px, and segmentation.window_px is "
            f"{window_px}; give {below} or {below + stride}."
        )


def _check_references(settings: Mapping, with_spots: list[dict], problems: Problems, of_slides: dict) -> list[str]:
    deconvolution, lines = settings["deconvolution"], []
    paths = {"first": deconvolution["reference"], "second": deconvolution["second"]["reference"]}
    for name, fit in list_fits(settings).items():
        if "rctd" in fit["methods"]:
            problems.catch(find_program)
        reference = problems.catch(prepare_reference, paths[name], fit)
        if reference is None:
            continue
        types = sorted(set(reference.obs[fit["label_column"]]))
        if name == "first":
            problems.catch(check_factors, types, deconvolution["cell_umi"], deconvolution["cell_area_um2"])
        which = "reference" if name == "first" else "second reference"
        for manifest in with_spots:
            where = f"slide {manifest['slide']}" + (", second reference" if name == "second" else "")
            if sentences := _check_counts(manifest, reference, fit, where):
                of_slides[manifest["slide"]] = of_slides.get(manifest["slide"], []) + sentences
        lines.append(f"{which}: ok – {reference.n_obs} cells of {len(types)} types, {reference.n_vars} genes")
        lines += [f"  note: {note}" for note in reference.uns["notes"]]
    return lines


def _check_counts(manifest: dict, reference: ad.AnnData, fit: Mapping, where: str) -> list[str]:
    folder = manifest["visium"]
    if any(folder in sentence for sentence in manifest["problems"]):
        return []  # what is wrong with the folder is told already
    in_tissue = read_positions(folder).in_tissue
    # Nothing but the limits is looked at here, and squidpy takes its time.
    in_tissue = in_tissue.assign(edge=find_edge(in_tissue) if fit["drop_edge"] else False)
    told = Problems()
    told.catch(prepare_spots, folder, in_tissue, reference, fit)
    return [f"{where}: {sentence}" for sentence in told.sentences]
