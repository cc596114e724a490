"""`make fuzz`: damaged files by the thousand, each of which must be read, or be refused in a sentence.

    python tests/fuzz/fuzz.py --cases 200 --seed 1
    python tests/fuzz/fuzz.py --kind tiff --seed 1 --only 417      one case once more, with all that it said

A case is a whole little input (a slide, a Space Ranger folder …) of which one file was changed. It is named by kind,
seed and number alone, so that it can be made again on any machine with the same material. A process of its own reads
it, within bounds of memory and processor time. It passes when the library returns or raises an `InputError` of whole
sentences; whatever else happens is a finding, kept with its files below results/fuzz.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parents[1] / "workflow")]

from damage_bytes import put_in  # noqa: E402
from kinds import KINDS, Kind  # noqa: E402
from supervise import Bounds, Reader  # noqa: E402

PROJECT = HERE.parents[1]
SHARED = PROJECT.parent / "shared" / "data"  # public material beside the checkout, used where there is some
COLUMNS = ("kind", "cases", "refused with a sentence", "read", "findings", "most MB", "most s")


def main() -> int:
    """Run what is asked for; 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--only", type=int, help="the number of one case, to see it again")
    parser.add_argument("--seconds", type=float, default=20, help="processor time of a case")
    parser.add_argument("--megabytes", type=int, default=2500, help="memory of a case")
    parser.add_argument("--kept", type=Path, default=PROJECT / "results" / "fuzz", help="where findings go")
    asked = parser.parse_args()
    bounds = Bounds(asked.seconds, asked.megabytes)
    table = []
    for name in asked.kind:
        with tempfile.TemporaryDirectory(prefix="nephrospot_fuzz_") as work:
            table.append(run_kind(name, KINDS[name], asked, bounds, Path(work)))
    print_table(table)
    return int(any(row["findings"] for row in table))


def run_kind(name: str, kind: Kind, asked: argparse.Namespace, bounds: Bounds, work: Path) -> dict:
    """Every case of one kind; its row of the table."""
    seeds = write_seeds(kind, work)
    told, most_mb, most_s = Counter(), 0.0, 0.0
    with Reader(name, seeds[0], work, bounds) as reader:
        for number in range(asked.cases) if asked.only is None else [asked.only]:
            case = work / "case"
            changes = make_case(name, kind, asked.seed, number, seeds, case)
            answer = reader.read(case)
            if not changes and answer["end"] != kind.untouched:
                answer |= {"end": "finding", "why": f"an undamaged file was to be {kind.untouched}: {answer['why']}"}
            told[answer["end"]] += 1
            most_mb, most_s = max(most_mb, answer["mb"]), max(most_s, answer["seconds"])
            answer |= {"kind": name, "seed": asked.seed, "number": number, "changes": changes}
            if asked.only is not None:
                print(json.dumps(answer, indent=2, ensure_ascii=False))
            if answer["end"] == "finding":
                keep(case, answer, asked.kept)
    ends = ("refused", "read", "finding")
    counted = (name, sum(told.values()), *(told[end] for end in ends), most_mb, most_s)
    return dict(zip(COLUMNS, counted, strict=True))


def write_seeds(kind: Kind, work: Path) -> list[Path]:
    """The undamaged inputs of a kind, a folder each."""
    folders = []
    for number, write in enumerate(kind.seeds):
        folder = work / f"seed{number}"
        folder.mkdir()
        if write(folder, SHARED) is not False:  # material that isn't here
            folders.append(folder)
    return folders


def make_case(name: str, kind: Kind, seed: int, number: int, seeds: list[Path], case: Path) -> list[str]:
    """Write a case and say what was changed; the first ones are the seeds themselves."""
    shutil.rmtree(case, ignore_errors=True)
    shutil.copytree(seeds[number % len(seeds)], case)
    if number < len(seeds):
        return []
    rng = random.Random(f"{name}/{seed}/{number}")
    targets = sorted(path for pattern in kind.targets for path in case.rglob(pattern) if path.is_file())
    changes = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(targets)
        change = rng.choice(kind.aware) if kind.aware and rng.random() < 0.7 else rng.choice(kind.blind)
        try:
            what = change(path, rng)
        except Exception:  # this file, or what an earlier change left of it, isn't of the form that it knows
            change = put_in
            what = change(path, rng) if path.is_file() else "nothing"
        changes.append(f"{path.relative_to(case)}: {change.__name__}: {what}")
    return changes


def keep(case: Path, answer: dict, kept: Path) -> None:
    """A finding with its files, to be looked at."""
    folder = kept / f"{answer['kind']}-{answer['seed']}-{answer['number']}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(case, folder)
    (folder / "finding.json").write_text(json.dumps(answer, indent=2, ensure_ascii=False), encoding="utf-8")
    print(f"finding: {folder.name}: {answer['why'].strip().splitlines()[-1][:200]}", flush=True)


def print_table(table: list[dict]) -> None:
    """The counts by kind, and their sums."""
    totals = {name: sum(row[name] for row in table) for name in COLUMNS[1:5]}
    totals |= {name: max(row[name] for row in table) for name in COLUMNS[5:]}
    rows = [COLUMNS, *(tuple(map(tell, row.values())) for row in [*table, {"kind": "all", **totals}])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def tell(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
