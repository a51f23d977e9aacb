"""A SLURM cluster of one node, this machine, to try ``WORKFLOW=slurm`` without a cluster.

    python workflow/slurm-one-node/cluster.py start FOLDER
    make reproduce WORKFLOW=workflow/slurm-one-node/profile ...
    python workflow/slurm-one-node/cluster.py stop FOLDER

It needs root and Debian's packages munge, slurmctld, slurmd and slurm-client, and a machine that is
no part of a cluster. Everything is written below FOLDER, but for munge's socket and the copy of the
configuration that slurmd leaves below /run, where all of SLURM's commands find it. The daemons
listen on this machine alone, and jobs are tracked by parent and child, so it runs in a container
without cgroups. A GPU is a number here: jobs that ask for one wait for one, and no device is
touched. Not for use as a cluster: it has no accounting and one user.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
DAEMONS = ("munged", "slurmctld", "slurmd")
MUNGE = Path("/run/munge")  # where munge's socket is looked for
# where slurm.conf is looked for; slurmd makes the second a link to its copy
CONFIGURED = (Path("/etc/slurm/slurm.conf"), Path("/run/slurm/conf/slurm.conf"))
SECONDS = 60  # until the node takes jobs
CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
# jobs find the configuration below /run/slurm: Snakemake clears their SLURM_CONF
SlurmctldParameters=enable_configless
SlurmdPort={d_port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# by parent and child: a notebook's kernel is a session of its own
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
# a job that has ended is told of so long: Snakemake asks squeue, for want of accounting
MinJobAge=600
# what is over its time is ended at once, and killed five seconds later
OverTimeLimit=0
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(RuntimeError):
    """The cluster cannot be started here; the message says why."""


def missing() -> str | None:
    """Why a cluster cannot be started on this machine; None if it can."""
    lacking = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"{', '.join(lacking)}: not installed (Debian: munge slurmctld slurmd slurm-client)"
    if os.geteuid():
        return "only root may start the daemons"
    taken = [str(place) for place in (*CONFIGURED, MUNGE / "munge.socket.2") if place.exists()]
    return f"this machine has SLURM or munge at work: {', '.join(taken)}" if taken else None


def start(folder: Path) -> Path:
    """Starts the daemons in ``folder`` and waits for the node; returns the path of slurm.conf.

    Raises NoCluster where packages are missing, a daemon ends, or the node takes no job in time.
    """
    if reason := missing():
        raise NoCluster(reason)
    folder = folder.resolve()
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munge refuses a socket below a folder that others may write to
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    ports = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            host=host, folder=folder, ctld_port=ports[0], d_port=ports[1],
            cpus=os.cpu_count(), memory=memory * 9 // 10,
        ),
        encoding="utf-8",
    )  # fmt: skip
    gres = f"NodeName={host} Name=gpu File=/dev/null\n"
    (folder / "gres.conf").write_text(gres, encoding="utf-8")
    # the plugin that asks nothing of the system as long as nothing is asked of it
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = folder / "munge"
    MUNGE.mkdir(mode=0o755, parents=True, exist_ok=True)
    _daemon(
        folder, "munged", "--force", f"--key-file={key}", f"--pid-file={folder}/munged.pid",
        f"--log-file={munge}.log", f"--seed-file={munge}.seed",
    )  # fmt: skip
    _daemon(folder, "slurmctld", "-c", "-f", str(conf))  # -c: without what a last one left
    _daemon(folder, "slurmd", "-c", "--conf-server", f"127.0.0.1:{ports[0]}")
    _wait(folder)
    return conf


def stop(folder: Path) -> None:
    """Ends the daemons of ``folder`` and the jobs that they run."""
    folder = folder.resolve()
    environment = _environment(folder)
    subprocess.run(["scancel", "--full", "--user=root"], env=environment, capture_output=True)
    for name in reversed(DAEMONS):
        file = folder / f"{name}.pid"
        if not file.exists():
            continue
        _end(int(file.read_text(encoding="utf-8")))
    if CONFIGURED[1].parent.is_symlink():
        CONFIGURED[1].parent.unlink()


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.1)
            os.kill(pid, 0)  # raises once it is gone
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _daemon(folder: Path, *command: str) -> None:
    done = subprocess.run(command, env=_environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise NoCluster(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")


def _wait(folder: Path) -> None:
    """Until the node is idle."""
    said = ""
    for _ in range(2 * SECONDS):
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"],
            env=_environment(folder), capture_output=True, text=True,
        )  # fmt: skip
        said = asked.stdout.strip() or asked.stderr.strip()
        if said == "idle":
            return
        time.sleep(0.5)
    raise NoCluster(f"the node took no job in {SECONDS} s ({said}); see {folder}/slurmd.log")


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": _path()}


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where daemons lie


def _free_ports(n: int) -> list[int]:
    """Ports that nobody listens to; held together, so that they differ."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    try:
        print({"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2])) or "stopped")
    except NoCluster as error:
        sys.exit(f"error: {error}")
