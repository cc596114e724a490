"""The tables of all slides, gathered from the results folder: what the correlations and the report read."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Hashable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from nephrospot import __version__
from nephrospot.files import list_paths, read_columns, read_json, sha256
from nephrospot.join import join_each
from nephrospot.registration import Transform
from nephrospot.scores import count_scored, read_readings, read_scores
from nephrospot.visium import read_barcodes, read_positions


def join_cohort(
    results: str | Path,
    slides: dict[str, dict[str, str]],
    deconvolved: list[str],
    methods: list[str],
    comparisons: list[dict],
    tissues: list[str],
) -> Iterator[pd.DataFrame]:
    """Predicted and observed percentages, one slide, method and comparison at a time.

    Parameters
    ----------
    results
        Folder with ``{slide}/slide.json``, ``{slide}/{method}/spots.parquet`` and ``{slide}/proportions.parquet``.
    slides
        {slide: {"visium": its Space Ranger folder, "scores": its scores or ""}}.
    deconvolved
        Slides that have proportions.
    methods, comparisons, tissues
        From the configuration.

    Yields
    ------
    DataFrame
        As `nephrospot.join.join_spots`, with the spots' places on the slide in µm, ``x_um`` and ``y_um``.
    """
    wanted = {comparison["reference"] for comparison in comparisons}
    others = wanted - {"pathologist"}
    columns = {"barcode", "x_px", "y_px", "reason", "deconvolution", "status"}
    columns |= {name for own in comparisons for name in (f"{own['tissue']}_percent", f"tissue:{own['tissue']}")}
    for slide, given in slides.items():
        folder = Path(results) / slide
        scores = read_slide_scores(slide, given, tissues) if given["scores"] and "pathologist" in wanted else None
        proportions = None
        if slide in deconvolved and others:
            proportions = read_columns(folder / "proportions.parquet", columns.__contains__)
        mpp = read_json(folder / "slide.json")["mpp"]
        for method in methods:
            spots = read_columns(folder / method / "spots.parquet", columns.__contains__)
            for joined in join_each(slide, method, spots, comparisons, scores, proportions):
                yield joined.assign(x_um=joined["x_px"] * mpp, y_um=joined["y_px"] * mpp)


def read_cohort_readings(
    manifests: list[str], slides: dict[str, dict[str, str]], tissues: list[str]
) -> tuple[Mapping[str, pd.DataFrame], Mapping[str, pd.DataFrame]]:
    """Every spot that was read more than once, and where it lies; read when they are asked for, slide by slide.

    Parameters
    ----------
    manifests
        slide.json of each of ``slides``, in their order.
    slides
        {slide: {"visium": its Space Ranger folder, "scores": its scores}}.

    Returns
    -------
    readings
        {slide: `nephrospot.scores.read_readings`}, of spots read once only each reader's first: a single reading says
        nothing of agreement but who there is
    places
        {slide: barcode, x_um, y_um}; no rows of a slide of which every spot was read once
    """

    def read(slide: str, given: dict[str, str]) -> pd.DataFrame:
        own = read_readings(given["scores"], tissues, read_barcodes(given["visium"]), f"slide {slide}")
        return own[own["barcode"].duplicated(keep=False) | ~own["reader"].duplicated()]

    def locate(slide: str, path: str) -> pd.DataFrame:
        barcodes = readings[slide]["barcode"]
        again = barcodes[barcodes.duplicated(keep=False)]
        if again.empty:
            return pd.DataFrame({"barcode": [], "x_um": [], "y_um": []})
        manifest, spots = read_json(path), read_positions(slides[slide]["visium"]).table
        spots = spots[spots["barcode"].isin(again)]
        x_px, y_px = Transform(**manifest["transform"]).to_slide(spots["x_px"], spots["y_px"])
        place = {"barcode": spots["barcode"], "x_um": x_px * manifest["mpp"], "y_um": y_px * manifest["mpp"]}
        return pd.DataFrame(place)

    readings = Tables(slides, read)
    return readings, Tables(dict(zip(slides, manifests, strict=True)), locate)


def list_scoring_spots(
    slides: dict[str, dict[str, str]], spots: list[str], tissue: str, tissues: list[str]
) -> dict[str, pd.DataFrame]:
    """Every slide's spots with whether each is thought to hold some of a tissue: by its scores, else by a method.

    Parameters
    ----------
    slides
        {slide: {"visium", "scores"}}.
    spots
        spots.parquet of a method on each of ``slides``, in their order.

    Returns
    -------
    {slide: barcode, x_px, y_px, positive}
    """
    found = {}
    for (slide, given), path in zip(slides.items(), spots, strict=True):
        table = pd.read_parquet(path)
        table = table[table["reason"] == ""]
        positive = table.get(f"{tissue}_percent", pd.Series(0.0, table.index)) > 0
        if given["scores"]:
            scores = read_slide_scores(slide, given, tissues).set_index("barcode")
            if tissue in scores:
                own = table["barcode"].map(scores[tissue])
                positive = positive.where(own.isna(), own > 0)
        found[slide] = table[["barcode", "x_px", "y_px"]].assign(positive=positive)
    return found


def read_slide_scores(slide: str, given: dict[str, str], tissues: list[str]) -> pd.DataFrame:
    return read_scores(given["scores"], tissues, read_barcodes(given["visium"]), f"slide {slide}")


def gather_report(
    results: str | Path, settings: dict, sheet: pd.DataFrame, refused: Mapping[str, list[str]] | None = None
) -> dict:
    """Everything that `nephrospot.report.page.write_report` wants, read from the results folder.

    Parameters
    ----------
    results
        The folder.
    settings
        The configuration, with the sweep's methods among ``methods``.
    sheet
        All rows, excluded ones included.
    refused
        {slide: why it can't be used}; of these nothing else is read.

    Returns
    -------
    The keyword arguments of ``write_report`` but ``output``.
    """
    from nephrospot.trials import read_trials  # imports zarr, which the other functions here can do without

    results = Path(results)
    included = sheet[(sheet["exclude"] == "") & ~sheet["slide"].isin(refused or {})].set_index("slide")
    methods = settings["methods"]
    pairs = [(slide, method) for slide in included.index for method in methods]

    def existing(name: str, keys: list) -> dict:
        folders = {key: results.joinpath(*([key] if isinstance(key, str) else key)) / name for key in keys}
        return {key: path for key, path in folders.items() if path.exists()}

    tissues = list(settings["tissues"])
    given = included[["visium", "scores"]].to_dict("index")
    scored = {slide: own for slide, own in given.items() if own["scores"] and own["visium"]}
    scores = Tables(scored, lambda slide, own: read_slide_scores(slide, own, tissues))
    manifests = {
        slide: read_json(path)
        | included.loc[slide, ["stain", "group"]].to_dict()
        | {"n_scores": count_scored(scored[slide]["scores"], tissues, f"slide {slide}") if slide in scored else 0}
        for slide, path in existing("slide.json", list(included.index)).items()
    }
    weights = {
        name: describe_weights(list_paths(method["weights"]))
        for name, method in methods.items()
        if method.get("weights")
    }
    # Read as often as they are asked for: what a cohort's small files say takes a hundred kilobytes a slide.
    trials = existing("trials.json", list(included.index))
    peaks = Tables(trials, lambda _, path: read_trials(path)[0])
    return {
        "settings": settings,
        "manifests": manifests,
        "refused": refused or {},
        "sheet": sheet,
        "table2": _read_tsv(results / "table2.tsv"),
        "correlations": pd.read_parquet(results / "correlations.parquet"),
        "differences": pd.read_parquet(results / "differences.parquet"),
        "spots": Tables(existing("spots.parquet", pairs)),
        "proportions": Tables(existing("proportions.parquet", list(included.index)), _read_tissues),
        "scores": scores,
        "overlays": {
            key: {"overview": path, "regions": path.with_name("regions.jpg")}
            for key, path in existing("overview.jpg", pairs).items()
        },
        "notes": {slide: read_json(p) for slide, p in existing("deconvolution.json", list(included.index)).items()},
        "second_notes": {
            slide: read_json(p)
            for slide, p in existing("second_deconvolution.json", list(included.index)).items()
            if settings["deconvolution"]["second"]["reference"]
        },
        "sensitivity": _read_tsv(results / "sensitivity.tsv") if settings["deconvolution"]["reference"] else None,
        "predictions": Tables(existing("predict.json", pairs), lambda _, path: read_json(path)),
        "weights": weights,
        "versions": list_versions(),
        "worst": pd.read_parquet(results / "worst.parquet") if (results / "worst.parquet").exists() else None,
        "worst_folder": str(results / "worst"),
        "readers": _read_tsv(results / "readers.tsv") if scores else None,
        "shifts": Tables(existing("shifts.parquet", list(included.index))),
        "diameters": (read_trials(path)[1] for path in trials.values()),
        "peaks": peaks,
        "evaluation": pd.read_csv(results / "evaluation.tsv", sep="\t") if settings["evaluation"]["truth"] else None,
        "objects": Tables(existing("objects.parquet", pairs)),
    }


def describe_weights(paths: list[str]) -> dict:
    """Path, SHA-256 and card of a method's weights; of folds, the cards are under folds, as in predict.json."""
    from nephrospot.models.weights import read_card  # imports torch, which the other functions here can do without

    cards = [read_card(path) for path in paths]
    card = cards[0] if len(cards) == 1 else {"folds": cards}
    return {"path": ", ".join(paths), "sha256": sha256(paths), "card": card}


def _read_tissues(_: Hashable, path: Path) -> pd.DataFrame:
    """A slide's proportions without those of single cell types, most columns by far, of which the page has nothing."""
    return read_columns(path, lambda name: not name.startswith("type:"))


def _read_tsv(path: Path) -> pd.DataFrame | None:
    """A table of this project; None where there is none."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["nan"]) if path.exists() else None


class Tables(Mapping):
    """A cohort's tables, or other contents of files, by key, read when they are asked for; only the last one is kept.

    Parameters
    ----------
    given
        {key: what ``read`` takes}, such as a path.
    read
        Function of a key and what is given for it; all of a Parquet file by default.
    """

    def __init__(self, given: Mapping, read: Callable[[Hashable, Any], Any] | None = None) -> None:
        self._given, self._read = given, read or (lambda _, path: read_columns(path))
        self._last: tuple[Hashable, Any] | None = None

    def __getitem__(self, key: Hashable) -> Any:
        given = self._given[key]
        if self._last is None or self._last[0] != key:
            self._last = key, self._read(key, given)
        return self._last[1]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._given

    def __iter__(self) -> Iterator:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def list_versions() -> dict[str, str]:
    """Versions of nephrospot, Python, and the packages that numbers depend on."""
    names = ("torch", "openslide-python", "tifffile", "opencv-python-headless", "numpy", "scipy", "pandas", "zarr")
    names += ("scanpy", "squidpy", "anndata", "rctd-py", "snakemake")
    names += ("torchvision", "timm", "segmentation-models-pytorch")  # the optional extra "kpis"
    versions = {"nephrospot": __version__, "python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
