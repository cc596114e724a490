"""Reads one case after the other within bounds of memory and processor time; it may die of any of them.

python child.py KIND SEED FILE_DESCRIPTOR SECONDS MEGABYTES        cases come in on standard input
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import time
import traceback
import unicodedata
from pathlib import Path

from nephrospot.errors import InputError

LONGEST = 1500  # characters: a line that is longer is a file's content, not a sentence


def main() -> None:
    kind, seed, answers, seconds, megabytes = sys.argv[1:]
    from readers import READERS  # what the kinds need is imported as they need it

    read = READERS[kind]
    with os.fdopen(int(answers), "w", encoding="utf-8") as answers:
        try_reading(read, Path(seed))
        # Only now, since the libraries themselves reserve several gigabytes of addresses.
        limit = count("VmSize") * 1024 + int(megabytes) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + float(seconds)) + 1, -1))
            faulthandler.dump_traceback_later(0.8 * float(seconds))  # to the log, should it come to a hang
            print(json.dumps(measure(read, Path(json.loads(line)))), file=answers, flush=True)
            faulthandler.cancel_dump_traceback_later()


def measure(read, case: Path) -> dict:
    """`try_reading` with seconds of processor time and the most memory (MB) beyond what was in use before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = count("VmRSS"), time.process_time()
    end, why = try_reading(read, case)
    used = {"seconds": round(time.process_time() - started, 2), "mb": round(max(0, count("VmHWM") - before) / 1024, 1)}
    return {"end": end, "why": why, **used}


def try_reading(read, case: Path) -> tuple[str, str]:
    """("read" | "refused" | "finding", what was said)."""
    try:
        read(case)
    except InputError as error:
        wrong = find_fault(str(error))
        return ("finding", f"{error}\nno sentence: {wrong}") if wrong else ("refused", str(error))
    except Exception:
        return "finding", traceback.format_exc()
    return "read", ""


def find_fault(message: str) -> str:
    """Why a message isn't made of whole sentences that a terminal can show; nothing where it is."""
    for line in message.split("\n"):
        if not line.rstrip().endswith((".", "?", ".)", "?)")):
            return f"a line ends in {line[-30:]!r}"
        if len(line) > LONGEST:
            return f"a line of {len(line)} characters"
        if strange := [sign for sign in line if unicodedata.category(sign) in ("Cc", "Cs")]:
            return f"it holds {strange[0]!r}"
    return ""


def count(name: str) -> int:
    """A size of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
