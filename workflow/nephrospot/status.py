"""What is done, running, failed and left of a cohort, from its files alone: nothing is locked, planned or started."""

from __future__ import annotations

import base64
import binascii
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephrospot.files import read_json
from nephrospot.forecast import CORE_MACS_A_SECOND, Cost, read_cost, tell_hours, work_per_mm2
from nephrospot.job import MARK

DONE, RUNNING, FAILED, LEFT = "done", "running", "failed", "left"
STATES = (DONE, RUNNING, FAILED, LEFT)
BY_SPOTS = ("deconvolve_spots",)  # what their cost grows with; that of the others grows with the tissue


@dataclass(frozen=True)
class Step:
    """One job of one slide.

    Attributes
    ----------
    rule, slide, method : str
        ``method`` is empty where a rule has none.
    output, log, benchmark : str
        Paths; ``benchmark`` is empty where a rule has none.
    """

    rule: str
    slide: str
    method: str
    output: str
    log: str
    benchmark: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule} {self.method}".strip()


class Looker:
    """Whether files exist, with one look at each folder: a cohort has tens of thousands of them."""

    def __init__(self) -> None:
        self._folders: dict[str, set[str]] = {}

    def exists(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            try:
                self._folders[folder] = set(os.listdir(folder or "."))  # noqa: PTH208
            except OSError:
                self._folders[folder] = set()
        return name in self._folders[folder]


def list_begun(snakemake: str | Path) -> set[str]:
    """Outputs of jobs that Snakemake has begun and not seen the end of, from its folder ``.snakemake``.

    Its marks are files called after the output in base64, in folders that begin with @ where that is long.
    """
    begun = set()
    for path in Path(snakemake, "incomplete").rglob("*"):
        if path.is_file():
            name = "".join(part.removeprefix("@") for part in path.relative_to(Path(snakemake, "incomplete")).parts)
            try:
                begun.add(base64.urlsafe_b64decode(name).decode())
            except (binascii.Error, UnicodeDecodeError):
                continue  # something else, such as a migration's mark
    return begun


def judge_steps(steps: Iterable[Step], snakemake: str | Path = ".snakemake") -> dict[Step, tuple[str, str]]:
    """Each step's state, and for a failed one the sentence that it ended with.

    Returns
    -------
    {step: (state, sentence)}
        "running" is begun and not ended while a run holds Snakemake's lock, which on a cluster can mean queued, too;
        "failed" is without its output, with a log that says why; a job that was killed is "left".
    """
    locks = Path(snakemake, "locks")
    begun = list_begun(snakemake) if locks.is_dir() and any(locks.iterdir()) else set()
    looker, found = Looker(), {}
    for step in steps:
        if step.output in begun:
            found[step] = RUNNING, ""
        elif looker.exists(step.output):
            found[step] = DONE, ""
        else:
            sentence = _read_failure(step.log) if looker.exists(step.log) else ""
            found[step] = (FAILED, sentence) if sentence else (LEFT, "")
    return found


def _read_failure(log: str) -> str:
    lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if not told and any(line.startswith("Traceback") for line in lines):
        told = [f"an error of the program; {log} has it"]
    return told[0] if told else ""


def tell_status(
    steps: Sequence[Step],
    manifests: Mapping[str, str],
    plan: Mapping[str, Mapping],
    snakemake: str | Path = ".snakemake",
) -> str:
    """The cohort as text: its slides but for those that are done, its steps, and what they cost and will cost.

    Parameters
    ----------
    manifests
        {slide: path of its slide.json}; the cost goes by its ``tissue_mm2`` and ``spots_in_tissue``.
    plan
        ``networks, weights, segmentation`` by method and ``readings`` by slide and method, for the forecast.
    """
    judged = judge_steps(steps, snakemake)
    by_slide: dict[str, list[Step]] = {}
    for step in steps:
        by_slide.setdefault(step.slide, []).append(step)
    lines, counted = [], Counter()
    for slide, own in by_slide.items():
        state, line = _tell_slide(slide, own, judged)
        counted[state] += 1
        if state != DONE:
            lines.append(line)
    told = ", ".join(f"{counted[state]:,} {state}" for state in STATES)
    lines += ["", f"{len(by_slide):,} slides: {told}.", ""]
    sizes = {slide: _read_sizes(path) for slide, path in manifests.items()}
    known = [size["tissue"] for size in sizes.values() if math.isfinite(size["tissue"])]
    lines.append(
        f"Tissue: {sum(known):,.0f} mm² on {len(known):,} slides that were looked at"
        + (f"; `snakemake check` looks at the other {len(sizes) - len(known):,}." if len(known) < len(sizes) else ".")
    )
    return "\n".join([*lines, *_tell_costs(steps, judged, sizes, plan)]).lstrip("\n")


def _tell_slide(slide: str, steps: Sequence[Step], judged: Mapping[Step, tuple[str, str]]) -> tuple[str, str]:
    """A slide's state and its line."""
    by_state = {state: [step for step in steps if judged[step][0] == state] for state in STATES}
    done = f"{len(by_state[DONE])} of {len(steps)} steps done"
    if failed := by_state[FAILED]:
        return FAILED, f"{slide}: failed at {failed[0].name}, {done} – {judged[failed[0]][1]}"
    if running := by_state[RUNNING]:
        return RUNNING, f"{slide}: running {', '.join(step.name for step in running)}, {done}"
    if left := by_state[LEFT]:
        return LEFT, f"{slide}: left, {done}, next {left[0].name}"
    return DONE, f"{slide}: done"


def _read_sizes(manifest: str) -> dict[str, float]:
    """Tissue in mm², spots on tissue and mpp of a slide; NaN where it wasn't looked at."""
    try:
        facts = read_json(manifest)
    except (OSError, ValueError):
        return dict.fromkeys(("tissue", "spots", "mpp"), math.nan)
    named = {"tissue": "tissue_mm2", "spots": "spots_in_tissue", "mpp": "mpp"}
    return {name: math.nan if facts.get(key) is None else float(facts[key]) for name, key in named.items()}


def _tell_costs(
    steps: Sequence[Step], judged: Mapping[Step, tuple[str, str]], sizes: Mapping[str, Mapping], plan: Mapping
) -> list[str]:
    """Lines of a table: a row for each step whose cost is measured."""
    rows = [("step", "done", "left", "used CPU h", "used GPU h", "rest CPU h", "rest GPU h", "before the run CPU h")]
    for name in dict.fromkeys(step.name for step in steps if step.benchmark):
        own = [step for step in steps if step.name == name]
        size = {step: sizes.get(step.slide, {}).get("spots" if step.rule in BY_SPOTS else "tissue", 0) for step in own}
        done = {step: cost for step in own if judged[step][0] == DONE and (cost := _find_cost(step))}
        left = [step for step in own if judged[step][0] != DONE]
        used, measured = _add_up(done.values()), sum(size[step] for step in done)
        waiting = sum(size[step] for step in left)
        rest = {kind: hours / measured * waiting if measured and hours else math.nan for kind, hours in used.items()}
        before = sum(_forecast(step, sizes, plan) for step in own) if own[0].rule == "predict_masks" else math.nan
        if not done and left:
            rest["cpu"] = sum(_forecast(step, sizes, plan) for step in left) if math.isfinite(before) else math.nan
        told = [tell_hours(total) for total in (used["cpu"], used["gpu"], rest["cpu"], rest["gpu"], before)]
        rows.append((name, f"{len(own) - len(left):,}", f"{len(left):,}", *told))
    if len(rows) == 1:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return ["", *table, "", EXPLAINED]


EXPLAINED = (
    "Used: by Snakemake's benchmarks of the steps that are done. Rest: at their rate a mm² of tissue (a spot for\n"
    "deconvolve_spots); before any is done, and in the last column for the whole cohort, from the network's\n"
    f"multiply–accumulates at an assumed {CORE_MACS_A_SECOND / 1e9:.0f}e9 a second and core (20e9 to 63e9 measured).\n"
    "GPU hours are known once a slide was done on the GPU. What a change would run again, snakemake -n tells."
)


def _find_cost(step: Step) -> Cost | None:
    summary = Path(step.output).with_name("predict.json") if step.rule == "predict_masks" else None
    return read_cost(step.benchmark, summary)


def _add_up(costs: Iterable[Cost]) -> dict[str, float]:
    """Seconds on processors, and on GPUs."""
    used = {"cpu": 0.0, "gpu": 0.0}
    for cost in costs:
        used["cpu"] += 0.0 if math.isnan(cost.cpu_seconds) else cost.cpu_seconds
        used["gpu"] += cost.seconds if cost.gpu else 0.0
    return used


def _forecast(step: Step, sizes: Mapping[str, Mapping], plan: Mapping) -> float:
    """Processor seconds of a slide's network by what it multiplies; 0 for a slide that wasn't looked at."""
    size, method = sizes.get(step.slide), step.method
    if method not in plan["networks"] or not size or not (math.isfinite(size["tissue"]) and math.isfinite(size["mpp"])):
        return 0.0
    given = plan["networks"][method], plan["weights"][method], plan["readings"][step.slide][method]
    return size["tissue"] * work_per_mm2(*given, size["mpp"], plan["segmentation"][method]) / CORE_MACS_A_SECOND
