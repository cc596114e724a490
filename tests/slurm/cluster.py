"""A real Slurm of three nodes on this one machine, for the tests: `python tests/slurm/cluster.py start --install`.

It comes from Debian's packages and needs root, neither systemd nor cgroups. Every daemon listens on loopback alone, but
Munge's key and Slurm's user are root's, so never start it where other people log in. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path("/var/tmp/nephrospot-slurm")
# The executor plugin's job step drops $SLURM_CONF, so the file must be where Slurm looks by itself.
CONFIG = Path("/etc/slurm")
CLUSTER = "nephrospot-test"
NODES = ("n1", "n2", "n3")
PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PORT = 17001

# proctrack/linuxproc and polling for memory: containers have no cgroups to give away. A job above its memory dies
# within a second or so. MinJobAge keeps finished jobs in squeue, which the profile asks where there is no accounting.
SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/spool/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=2
InactiveLimit=0
MinJobAge=3600
JobRequeue=1
JobCompType=jobcomp/filetxt
JobCompLoc={state}/finished.log
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES DefaultTime=00:10:00 DefMemPerCPU=500 MaxTime=1-00:00:00
PartitionName=gpu Nodes=ALL DefaultTime=00:10:00 DefMemPerCPU=500 MaxTime=1-00:00:00
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} CoresPerSocket={cpus} "
    "ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:1 State=UNKNOWN"
)


def main() -> None:
    """Start or stop the cluster, or make a node fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["start", "stop", "crash", "recover"])
    parser.add_argument("node", nargs="?", choices=NODES, help="for crash and recover")
    parser.add_argument("--install", action="store_true", help="fetch the packages with apt where they are missing")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Slurm's daemons need root here; run this with sudo.")
    if given.action == "start":
        print(f"Slurm of {len(NODES)} nodes is up after {start(given.install):.1f} s; {STATE} has its logs.")
    elif given.action == "stop":
        stop()
    elif given.node is None:
        sys.exit(f"Which node? {', '.join(NODES)}.")
    else:
        {"crash": crash, "recover": recover}[given.action](given.node)


def start(install: bool = False) -> float:
    """Bring the cluster up; where it is up, start what is missing of it.

    Returns
    -------
    float
        Seconds until a job had run on it.
    """
    began = time.monotonic()
    refuse_real_cluster()
    missing = [name for name in PACKAGES if not is_installed(name)]
    if missing and not install:
        sys.exit(f"{', '.join(missing)} aren't installed; run this with --install, or apt-get install them.")
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", env=environment)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=environment)
        refuse_real_cluster()
    write_configuration()
    start_munge()
    if not is_alive(STATE / "slurmctld.pid", "slurmctld"):
        run("slurmctld", "-i")
        wait_for(lambda: " UP" in told("scontrol", "ping"), "slurmctld doesn't answer")
    for node in NODES:
        recover(node)
    ready = ("sinfo", "-hN", "-pcpu", "-tidle,mixed,allocated", "-o%N")
    wait_for(lambda: len(told(*ready).split()) == len(NODES), "the nodes don't answer")
    run("srun", "--time=1", "--mem=100", "true")
    return time.monotonic() - began


def stop() -> None:
    """End the jobs, then the daemons that `start` started and no others, and take the configuration away."""
    if jobs := told("squeue", "-h", "-o%A").split():
        told("scancel", *jobs)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not told("squeue", "-h", "-trunning,completing", "-o%A"), "jobs don't end")
    for name in (*NODES, "slurmctld", "munged"):
        end(STATE / f"{name}.pid", "slurmd" if name in NODES else name)
    for name in FILES:
        if is_ours(CONFIG / name):
            (CONFIG / name).unlink()
    shutil.rmtree(STATE, ignore_errors=True)


def crash(node: str) -> None:
    """A node dies: its slurmd, the job steps on it and all that they run, at once and without a word."""
    jobs = told("squeue", "-h", "-w", node, "-trunning,completing", "-o%A").split()
    steps = tuple(f"slurmstepd: [{job}." for job in jobs)
    own = [pid for pid, line in command_lines().items() if steps and line.startswith(steps)]
    doomed = [int((STATE / f"{node}.pid").read_text()), *descendants(own)]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (STATE / f"{node}.pid").unlink()


def recover(node: str) -> None:
    """A node comes back, or is there for the first time."""
    if not is_alive(STATE / f"{node}.pid", "slurmd"):
        shutil.rmtree(STATE / "spool" / node, ignore_errors=True)
        (STATE / "spool" / node).mkdir(parents=True)
        run("slurmd", "-N", node)


def refuse_real_cluster() -> None:
    """Stop where Slurm is somebody else's."""
    if "SLURM_CONF" in os.environ or ((CONFIG / "slurm.conf").exists() and not is_ours(CONFIG / "slurm.conf")):
        sys.exit(f"This machine belongs to a cluster ({CONFIG / 'slurm.conf'} or $SLURM_CONF); nothing was started.")


def write_configuration() -> None:
    """Configuration below `STATE`, with links where Slurm looks; each node's GPU is a second /dev/null."""
    for folder in (STATE, STATE / "ctld", STATE / "devices", CONFIG):
        folder.mkdir(parents=True, exist_ok=True)
    facts = {"cpus": 2, "memory_mb": 16000}
    nodes = [NODE.format(name=name, port=PORT + i, **facts) for i, name in enumerate(NODES, start=1)]
    for name in NODES:
        device = STATE / "devices" / name
        # Where the device may not be made, a plain file will do: only CUDA_VISIBLE_DEVICES stays empty then.
        if not device.exists() and subprocess.run(["mknod", device, "c", "1", "3"], capture_output=True).returncode:
            device.touch()
    newest = tuple(map(int, re.findall(r"\d+", told("slurmd", "-V"))[:2])) >= (23, 11)
    texts = {
        "slurm.conf": SLURM_CONF.format(cluster=CLUSTER, port=PORT, state=STATE, nodes="\n".join(nodes)),
        "gres.conf": "".join(f"NodeName={name} Name=gpu File={STATE}/devices/{name}\n" for name in NODES),
        "cgroup.conf": "CgroupPlugin=disabled\n" if newest else "IgnoreSystemd=yes\n",
    }
    for name, text in texts.items():
        (STATE / name).write_text(text)
        if not is_ours(CONFIG / name):
            (CONFIG / name).symlink_to(STATE / name)


def start_munge() -> None:
    """Munge, unless one answers already; only ours is noted, and ended by `stop`."""
    if subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0:
        return
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    shutil.chown(key, "munge", "munge")
    for folder, mode in (("/run/munge", 0o755), ("/var/log/munge", 0o700), ("/var/lib/munge", 0o711)):
        Path(folder).mkdir(exist_ok=True)
        Path(folder).chmod(mode)
        shutil.chown(folder, "munge", "munge")
    run("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--force")
    wait_for(Path("/run/munge/munged.pid").exists, "munged doesn't start")
    shutil.copy("/run/munge/munged.pid", STATE / "munged.pid")


def is_ours(path: Path) -> bool:
    return path.is_symlink() and path.readlink().parent == STATE


def is_installed(package: str) -> bool:
    return "install ok installed" in told("dpkg-query", "-W", "-f=${Status}", package)


def is_alive(pid_file: Path, name: str) -> bool:
    """Whether the process of a pid file runs and is what it should be; one that nobody reaped doesn't count."""
    try:
        fields = Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text()
    except OSError:
        return False
    return fields[fields.index("(") + 1 : fields.rindex(")")] == name and fields.rsplit(") ", 1)[1][0] not in "ZX"


def end(pid_file: Path, name: str) -> None:
    """End one process by its pid file."""
    if is_alive(pid_file, name):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        try:
            wait_for(lambda: not is_alive(pid_file, name), f"{name} doesn't end")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)


def command_lines() -> dict[int, str]:
    """{process id: command line} of everything that runs."""
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return lines


def descendants(pids: list[int]) -> list[int]:
    """The processes, and all that they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(") ", 1)[1].split()[1])
    found = list(pids)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def wait_for(condition, what: str, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} after {seconds} s; {STATE} has the logs")
        time.sleep(0.05)


def told(*command) -> str:
    """What a command prints; nothing where it fails or isn't there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError:
        return ""


def run(*command, **options) -> None:
    """Run a command, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stderr.strip() or done.stdout.strip()}")


if __name__ == "__main__":
    main()
