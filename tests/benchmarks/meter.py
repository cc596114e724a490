"""What a benchmarked process says of itself: processor time, time inside the network, memory.

Standard library alone, since the peers' environment imports it too.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path


def cpu_seconds() -> float:
    """Processor time of this process and of the children it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_mb() -> float:
    """Largest resident memory so far; unlike ru_maxrss it doesn't carry over what the parent had before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM: the benchmarks need Linux")


def children_mb() -> float:
    """The largest that a child was which has ended; the pages that it shares with this process count too."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def disk_mb(folder: Path) -> float:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


class Meter:
    """Counts from when it is made, which is after the imports; what the imports took is told apart."""

    def __init__(self) -> None:
        self.start_cpu, self.start_mb = cpu_seconds(), peak_mb()
        self.wall = time.perf_counter()
        self.forward_cpu, self.forward_wall, self.passes, self.windows = 0.0, 0.0, 0, 0

    def watch(self, module, name: str = "forward") -> None:
        """Time every call of a torch module's method. With one torch thread all of it runs in the calling thread, whose
        own clock leaves out what other threads decode meanwhile."""
        call = getattr(module, name)

        def timed(images, *rest, **options):
            wall, started = time.perf_counter(), time.thread_time()
            answer = call(images, *rest, **options)
            self.forward_cpu += time.thread_time() - started
            self.forward_wall += time.perf_counter() - wall
            self.passes += 1
            self.windows += len(images)
            return answer

        setattr(module, name, timed)

    def tell(self, path: str | Path, **facts) -> None:
        """Write what was counted, with ``facts``, as JSON."""
        cpu = cpu_seconds() - self.start_cpu
        told = {
            "cpu_seconds": cpu,
            "wall_seconds": time.perf_counter() - self.wall,
            "forward_cpu_seconds": self.forward_cpu,
            "forward_wall_seconds": self.forward_wall,
            "other_cpu_seconds": cpu - self.forward_cpu,
            "passes": self.passes,
            "windows": self.windows,
            "start_cpu_seconds": self.start_cpu,
            "start_mb": self.start_mb,
            "peak_mb": peak_mb(),
        }
        Path(path).write_text(json.dumps(told | facts, indent=1) + "\n")
