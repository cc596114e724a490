"""Environment variables of every job, read when a process starts; what each gives is in docs/performance.md."""

MALLOC = {
    # What was freed is kept for the next window.
    "mmap_threshold": 4 << 30,
    "trim_threshold": 8 << 30,
    # One arena for all threads: a second one can't be larger than 64 MB, and is mapped and given back again and again.
    "arena_max": 1,
    # Huge pages where the system has them: a network walks through more small ones than the processor keeps in mind.
    "hugetlb": 1,
}

JOB_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait make a shared node 4–6 times slower
    "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in MALLOC.items()),
}
