"""Files that the configuration names: looked for before Snakemake plans, which would name a rule and no key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nephrospot.errors import Problems
from nephrospot.files import find_kind, list_paths
from nephrospot.settings import NAME
from nephrospot.sheet import is_below


def look_for_files(settings: dict, slides: Iterable[str], generated: Iterable[str | Path] = ()) -> None:
    """Look for weights, drop-in masks, the reference and the published numbers; their content is read later.

    Parameters
    ----------
    settings
        From `nephrospot.settings.read_settings`.
    slides
        The slides that aren't excluded; each needs masks of every drop-in method.
    generated
        Folders that the workflow fills itself: files below them needn't exist yet.

    Raises
    ------
    InputError
        One sentence for each path that isn't there, with its key.
    """
    problems, generated = Problems(), list(generated)

    def look(path: str, key: str, what: str, folder_allowed: bool = False) -> None:
        if any(is_below(path, folder) for folder in generated):
            return
        found = find_kind(path)
        if found == "folder" and not folder_allowed:
            problems.add(f"{NAME}, {key}: {path!r} is a folder; give {what}.")
        elif not found:
            problems.add(
                f"{NAME}, {key}: {path!r} doesn't exist; correct the path to {what} (paths start from {Path.cwd()})."
            )

    look(settings["published"], "published", "the table of published numbers")
    deconvolution = settings["deconvolution"]
    for part, key in ((deconvolution, "deconvolution"), (deconvolution["second"], "deconvolution.second")):
        if part["reference"]:
            look(part["reference"], f"{key}.reference", "the single-cell reference", folder_allowed=True)
    for name, method in settings["methods"].items():
        weights, key = method.get("weights", []), f"methods.{name}.weights"
        for index, path in enumerate(list_paths(weights)):
            look(path, key if isinstance(weights, str) else f"{key}.{index}", "the network's weights")
        for slide in slides if "masks" in method else ():
            path, _, rest = method["masks"].replace("{slide}", slide).partition("{tissue}")
            folder = str(Path(path + "_").parent) if rest else path
            look(folder, f"methods.{name}.masks", f"the masks of slide {slide}", folder_allowed=bool(rest))
    problems.raise_if_any()
