"""A program that stands for the user's Space Ranger: it notes its arguments and hands out a Visium folder."""

import stat
import sys
from pathlib import Path

BODY = """
import json, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
told, rest = sys.argv[1:], dict(part[2:].split("=", 1) for part in sys.argv[1:] if "=" in part)
if told == ["--version"]:
    print("spaceranger spaceranger-VERSION")
elif told[0] == "count":
    with (here / "calls.jsonl").open("a") as file:
        file.write(json.dumps(told) + "\\n")
    pipestance = pathlib.Path(rest["id"])
    pipestance.mkdir(exist_ok=True)
    (pipestance / "_lock").touch(exist_ok=False)
    print("2026-11-21 12:00:00 [runtime] (run:local) stage")
    if (here / "broken").exists():
        (pipestance / "half").touch()
        sys.exit("[error] Your FASTQs are too few.")
    shutil.copytree(here / "outs", pipestance / "outs")
elif told[:2] == ["mkfastq", "--help"]:
    sys.exit(MKFASTQ)
elif told[0] == "mkfastq":
    (here / "mkfastq.json").write_text(json.dumps(told))
    folder = pathlib.Path(rest["output-dir"]) / "project"
    folder.mkdir(parents=True)
    for read in ("R1", "R2"):
        (folder / f"K1_S1_L001_{read}_001.fastq.gz").touch()
"""


def install(folder: Path, version: str = "3.1.2", mkfastq: int = 0) -> Path:
    """Write the program; its ``outs`` are what it hands out, a file ``broken`` beside it makes it fail."""
    program = folder / "spaceranger"
    program.parent.mkdir(parents=True, exist_ok=True)
    body = BODY.replace("VERSION", version).replace("MKFASTQ", str(mkfastq))
    program.write_text(f"#!{sys.executable}\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
