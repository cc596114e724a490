"""Environment variables of every job, read when a process starts; what each gives is in docs/performance.md."""

MALLOC = {
    # What was freed is kept for the next window.
    "mmap_threshold": 4 << 30,
    "trim_threshold": 8 << 30,
    # One arena for all threads: with huge pages, threads that had their own were slower (measured, not understood).
    "arena_max": 1,
    # Huge pages where the system has them: a network walks through more small ones than the processor keeps in mind.
    "hugetlb": 1,
}

JOB_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait make a shared node 4–6 times slower
    "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in MALLOC.items()),
}
