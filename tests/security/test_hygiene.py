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


# Leaves everything it can: other users, sessions, groups, stopped and ignoring ones, one in a loop, threads.
STAYS = """
import os, signal, sys, threading, time
def stay(uid):
    os.setsid() if uid % 2 else os.setpgid(0, 0)
    for s in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(s, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    for i in range(3): os.dup2(null, i)
    for i in range(2): threading.Thread(target=time.sleep, args=(60,)).start()
    os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    if os.fork() == 0:
        if uid % 3: os.kill(os.getpid(), signal.SIGSTOP)
        while True: pass
    time.sleep(60)
for uid in (1, 2, 3, 999, 1000, 65534, 65535):
    if os.fork() == 0: stay(uid)
time.sleep(0.1)
print(os.readlink("/proc/self/ns/pid"), open("/proc/self/uid_map").read().split()[1])
"""


def members(space):
    """Host pids in a pid namespace, and those of whom nothing is left but their parent's to take note of."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == space:
                found.append(int(pid))
    return found


def in_groups(farm):
    """Every process in a control group of the farm's sandboxes: pid -> number in its own namespace, uid."""
    found = {}
    for procs in pathlib.Path("/sys/fs/cgroup").glob(f"*/{farm.cgroup}/*/cgroup.procs"):
        with contextlib.suppress(OSError):
            for pid in map(int, procs.read_text().split()):
                found[pid] = int(_status(pid, "NSpid").split()[-1]), int(_status(pid, "Uid").split()[0])
    return found


def test_no_process_of_a_job_is_left_whatever_its_user(farm):
    """By the job's pid namespace, and by what is in the farm's groups: only inits of sandboxes that are ready."""
    for r in run_all(farm, [("python", STAYS, {"ttl": 20})] * 8):
        assert r["end_reason"] == "exited", r
        space, base = r["stdout"].split()
        assert int(base) >= 1879048192
        wait_for("the processes of a job to be gone", lambda space=space: not members(space), 5, 0.05)
    def ready():
        with contextlib.suppress(OSError):
            left = in_groups(farm)
            return left if left and all(number == 1 for number, _ in left.values()) else None

    left = wait_for("nothing but inits in the groups", ready, 10, 0.1)
    bases = [uid for _, uid in left.values()]
    assert len(set(bases)) == len(bases) and all(uid >= 1879048192 and (uid - 1879048192) % 65536 == 0 for uid in bases)
    master = farm.procs["worker"].pid
    assert set(left) <= {int(p) for p in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()}


def _status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))
