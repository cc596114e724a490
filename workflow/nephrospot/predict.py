"""One slide by one method of the configuration: from its files to its bits, and a summary of how that was done.

Slides can also be done ahead of the workflow, by processes that take slide after slide and each do a share of every
one (`run_share`, `join_shares`): many small slides on one GPU, or one large slide on many. `run_method` then takes
that work over.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephrospot.chunks import COSTS, sum_up
from nephrospot.errors import InputError
from nephrospot.files import list_paths, read_json, remove, sha256, whole, write_json
from nephrospot.readings import Reading, split_readable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What one method needs to segment one slide.

    Parameters
    ----------
    image : the slide
    manifest : its slide.json
    tiles, tissue : its tiles.parquet and tissue.png
    network, weights : of the method; a file of weights, or one for each fold
    readings : tissue, magnification and scale code, one tuple a tissue
    segmentation : the section of the configuration, with the method's own ``mode`` and ``flips`` in it
    code : version of the code, so that unfinished work of another one isn't gone on with
    """

    image: str
    manifest: dict
    tiles: str
    tissue: str
    network: str
    weights: str | Sequence[str]
    readings: Sequence[tuple[str, float, int]]
    segmentation: dict
    code: str = ""

    @property
    def key(self) -> str:
        """Hash of everything that decides the bits, but for the device."""
        stat = Path(self.image).stat()
        said = [
            self.image, stat.st_size, stat.st_mtime_ns, self.manifest["mpp"], sha256(self.tiles), sha256(self.tissue),
            self.network, sha256(self.weights), [tuple(reading) for reading in self.readings],
            sorted(self.segmentation.items()), self.code,
        ]  # fmt: skip
        return hashlib.sha256(repr(said).encode()).hexdigest()


def run_method(task: Task, output: str | Path, summary: str | Path, threads: int | None = None) -> None:
    """Segment a slide, or go on where an earlier process stopped, or take over what was done ahead.

    Parameters
    ----------
    output : Zarr group of bits, see `nephrospot.infer`
    summary : predict.json
    """
    store, notes = _ahead(output, "ahead")
    if notes.exists() and (done := read_json(notes))["key"] == task.key:
        remove(Path(output))
        store.replace(output)
        facts = done["facts"]
    else:
        facts = _predict(task, output, threads)
    write_json(summary, _without_pieces(facts))
    for leftover in Path(output).parent.glob(f".{Path(output).stem}.ahead*"):
        remove(leftover)


def list_tasks(
    slides: Iterable[tuple[str, str, dict, str, str]],
    networks: dict[str, str],
    weights: dict[str, str | Sequence[str]],
    readings: dict[str, dict[str, list]],
    segmentation: dict[str, dict],
    code: str,
    results: str | Path,
) -> list[tuple[Task, Path, Path]]:
    """Every method on every slide that isn't done yet, with the output and the summary of `run_method`.

    Parameters
    ----------
    slides : name, image, slide.json, tiles.parquet and tissue.png of each
    networks, weights, segmentation : by method
    readings : by slide, then by method
    results : the folder that holds a folder for each slide
    """
    tasks = []
    for slide, image, manifest, tiles, tissue in slides:
        for method, network in networks.items():
            task = Task(
                image, manifest, tiles, tissue,
                network, weights[method], readings[slide][method], segmentation[method], code,
            )  # fmt: skip
            output = Path(results) / slide / method / "predicted.zarr"
            summary = output.with_name("predict.json")
            done = output.exists() and summary.exists() and read_json(summary).get("key") == task.key
            # The official pipeline adds up neighbouring regions, so that its work can't be shared.
            if not done and task.segmentation["mode"] != "omniseg-official":
                tasks.append((task, output, summary))
    return tasks


def run_share(tasks: list[tuple[Task, Path, Path]], i: int, n: int, threads: int | None = None) -> dict[str, dict]:
    """Do the i-th of n shares of every slide in one process, so that Python, torch and CUDA start once.

    Returns
    -------
    For each output what it cost, or under "problem" the sentence that stopped it; the other slides go on.
    """
    told: dict[str, dict] = {}
    for task, output, _ in tasks:
        store, notes = _ahead(output, f"ahead-{i}-of-{n}")
        try:
            if not (store.exists() and notes.exists() and read_json(notes)["key"] == task.key):
                write_json(notes, {"key": task.key, "facts": _predict(task, store, threads, (i, n))})
        except InputError as error:
            log.error("%s: %s", output, error)
            told[str(output)] = {"problem": str(error)}
            continue
        facts = read_json(notes)["facts"]
        told[str(output)] = {cost: facts[cost] for cost in COSTS}
        log.info("%s: %.1f s, of which %.1f s in the network", output, facts["seconds"], facts["forward_seconds"])
    return told


def join_shares(tasks: list[tuple[Task, Path, Path]], n: int) -> list[str]:
    """Make of each slide's n shares the very files that one process would have written, for `run_method` to take over.

    A chunk's file is in one share only, so files are linked, or copied where the file system has no links.

    Returns
    -------
    The outputs that are ready; one with a share missing is left to `run_method`.
    """
    ready = []
    for task, output, _ in tasks:
        shares = [_ahead(output, f"ahead-{i}-of-{n}") for i in range(1, n + 1)]
        if not all(notes.exists() and read_json(notes)["key"] == task.key for _, notes in shares):
            continue
        store, notes = _ahead(output, "ahead")
        facts = [read_json(path)["facts"] for _, path in shares]
        join_stores([path for path, _ in shares], store)
        pieces = {name: piece for fact in facts for name, piece in fact["pieces"].items()}
        joined = facts[0] | sum_up(pieces, facts[0]["tiles"], facts[0]["core_px"])
        joined["peak_mb"] = max(fact["peak_mb"] for fact in facts)
        write_json(notes, {"key": task.key, "facts": joined})
        for share in shares:
            for path in share:
                remove(path)
        ready.append(str(output))
    return ready


def join_stores(parts: list[Path], output: Path) -> None:
    """One folder with the files of all; the first to have a file gives it."""
    with whole(output) as temporary:
        for part in parts:
            for file in sorted(path for path in part.rglob("*") if path.is_file()):
                target = temporary / file.relative_to(part)
                if not target.exists():  # the arrays' metadata is in every share
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _link(file, target)


def _predict(task: Task, output: str | Path, threads: int | None, part: tuple[int, int] = (1, 1)) -> dict:
    # Imported here, so that work which was done ahead is taken over without starting torch.
    from nephrospot.infer import predict_slide
    from nephrospot.models.ensemble import load_ensemble
    from nephrospot.official import predict_official
    from nephrospot.scheme import make_scheme
    from nephrospot.slide import open_slide
    from nephrospot.tiles import make_grid, read_tiles
    from nephrospot.tissue import read_tissue

    options, manifest, weights = task.segmentation, task.manifest, list_paths(task.weights)
    method, card = load_ensemble(task.network, weights, options["flips"])
    readings = [Reading(*reading) for reading in task.readings]
    groups, refused = split_readable(readings, manifest["mpp"], options["max_upsampling"])
    for tissue, reason in refused.items():
        log.warning("%s: %s is left out: %s.", manifest["slide"], tissue, reason)
    grids = {magnification: make_grid(manifest, magnification, options) for magnification in groups}
    tiles, tissue = read_tiles(task.tiles), read_tissue(task.tissue)
    with open_slide(task.image) as slide:
        if options["mode"] == "omniseg-official":
            served = [reading for group in groups.values() for reading in group]
            facts = predict_official(
                slide, manifest["mpp"], tissue, served, method, output, threads=threads, precision=options["precision"]
            )
        else:
            scheme = make_scheme(*(options[name] for name in ("mode", "window_px", "halo_px", "shifts", "blend")))
            facts = predict_slide(
                slide, grids, tiles, tissue, groups, method, output,
                precision=options["precision"], threads=threads, schemes=dict.fromkeys(groups, scheme),
                part=part, key=task.key,
            )  # fmt: skip
        facts["decoder"] = slide.decoder
    return facts | {
        "refused": refused,
        "readings": {r.tissue: f"{r.magnification:g}x, code {r.scale_code}x" for rs in groups.values() for r in rs},
        **{name: options[name] for name in ("mode", "window_px", "halo_px", "shifts", "blend", "flips")},
        "weights": weights[0] if len(weights) == 1 else weights,
        "weights_sha256": sha256(weights),
        "card": card,
        "key": task.key,
    }


def _ahead(output: str | Path, name: str) -> tuple[Path, Path]:
    """Where work that is done ahead waits: a Zarr group and what is said of it, hidden beside the output."""
    output = Path(output)
    return output.with_name(f".{output.stem}.{name}.zarr"), output.with_name(f".{output.stem}.{name}.json")


def _without_pieces(facts: dict) -> dict:
    return {name: value for name, value in facts.items() if name != "pieces"}


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
