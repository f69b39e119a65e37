"""After many jobs nothing has piled up.  SOAK=1 makes them ten thousand."""

import contextlib
import os
import pathlib
import time

from attack import run_all
from farm import wait_for

JOBS = 10000 if os.environ.get("SOAK") else 300
BATCH = 60

MIXED = [
    ("dash", "echo ok", {}),
    ("dash", "exit 3", {}),
    ("bash", "sleep 60 & echo x > /tmp/artifacts/x", {"return_artifacts": True}),
    ("bash", "kill -9 $$", {}),
    ("dash", "sleep 60", {"ttl": 1}),
    ("bash", "for i in 1 2 3 4 5; do setsid sleep 60 & done", {}),
    ("dash", "head -c 300000 /dev/urandom", {}),
    ("bash", "kill -STOP 0", {"ttl": 1}),
    ("bash", "x=x; while :; do x=$x$x; done", {"memory_mb": 16}),
    ("dash", "no-such-program", {}),
]


def daemons(farm):
    """Process name -> pid."""
    found = {name: proc.pid for name, proc in farm.procs.items()}
    found.update({f"worker {i}": pid for i, pid in enumerate(farm.workers())})
    return found


def books(farm):
    """What exists now, by kind."""
    master = farm.procs["worker"].pid
    ours = {int(p) for p in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()}
    spaces = set()
    for pid in ours:
        with contextlib.suppress(OSError):
            spaces.add(os.readlink(f"/proc/{pid}/ns/net"))
    groups = [d for top in pathlib.Path("/sys/fs/cgroup").glob(f"*/{farm.cgroup}") for d in top.iterdir() if d.is_dir()]
    count = {
        "processes": len(ours), "network namespaces": len(spaces), "cgroups": len(groups),
        "mounts": len(pathlib.Path("/proc/self/mounts").read_text().splitlines()),
        "zombies": sum(zombie(pid) for pid in ours),
        "leases": len([k for k in farm.keys() if "lease" in k or "running" in k]),
    }
    for name, pid in daemons(farm).items():
        count[f"descriptors of {name}"] = len(os.listdir(f"/proc/{pid}/fd"))
        count[f"mounts of {name}"] = len(pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines())
        count[f"threads of {name}"] = len(os.listdir(f"/proc/{pid}/task"))
    return count


def zombie(pid):
    with contextlib.suppress(OSError):
        return ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text()
    return False


def rss(farm):
    size = os.sysconf("SC_PAGE_SIZE")
    return {name: int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * size >> 10 for name, pid in daemons(farm).items()}


def settled(farm):
    """The books once they stay as they are."""
    last = books(farm)
    for _ in range(40):
        time.sleep(0.25)
        now = books(farm)
        if now == last and now["zombies"] == 0:
            return now
        last = now
    return last


def run_some(farm, n):
    for start in range(0, n, BATCH):
        done = run_all(farm, [MIXED[(start + i) % len(MIXED)] for i in range(min(BATCH, n - start))])
        assert all(r["status"] in ("completed", "timeout") for r in done)


def test_nothing_piles_up_after_many_mixed_jobs(farm):
    run_some(farm, BATCH)  # buffers and pools find their size
    farm.session.close()
    before, memory = settled(farm), rss(farm)
    run_some(farm, JOBS)
    farm.session.close()
    wait_for("the pool to be as it was", lambda: (books(farm)["processes"] <= before["processes"]), 20, 0.2)
    after, grown = settled(farm), rss(farm)
    assert {k: (before[k], v) for k, v in after.items() if v > before.get(k, 0)} == {}
    assert {k: (memory[k], v) for k, v in grown.items() if v > memory[k] + 4096 + memory[k] // 5} == {}


def test_used_ranges_of_uids_have_no_process(farm):
    """Every process in the subordinate range is in a sandbox that is ready, and each has one."""
    settled(farm)
    bases = {}
    master = farm.procs["worker"].pid
    inits = [int(p) for p in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    for pid in inits:
        uid = os.stat(f"/proc/{pid}").st_uid or int(_status(pid, "Uid").split()[0])
        if pid not in farm.workers():
            bases[pid] = int(_status(pid, "Uid").split()[0])
    assert bases and len(set(bases.values())) == len(bases)
    assert uid is not None and all(b >= 1879048192 for b in bases.values())


def _status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))
