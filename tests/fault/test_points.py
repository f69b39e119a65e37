"""
SIGKILL at every named point of common/fault_points.def, one after the other, in one farm under load.

Whatever dies between two lines: each job ends once, with the right result, and nothing of it stays behind.
"""

import concurrent.futures
import contextlib
import mmap
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import pytest
import requests
from farm import ROOT, Farm, wait_for

BUILD = ROOT / "build/fault"
POINTS = re.findall(r"^FAULT_POINT\((\w+),", (ROOT / "common/fault_points.def").read_text(), re.M)
WARM, SLOTS = 3, 16


class Switch:
    """The file of common/fault.h: for each point a countdown, and how often it was passed."""

    def __init__(self, path):
        path.write_bytes(bytes(8 * len(POINTS)))
        path.chmod(0o666)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def arm(self, point):
        struct.pack_into("=I", self.map, 8 * POINTS.index(point), 1)

    def disarm(self):
        for n in range(len(POINTS)):
            struct.pack_into("=I", self.map, 8 * n, 0)

    def fired(self, point):
        return struct.unpack_from("=I", self.map, 8 * POINTS.index(point))[0] == 0


class FaultFarm(Farm):
    """A farm of the build with the switch, whose daemons are started again by the test."""

    def start(self, name, *, suffix=""):
        if not hasattr(self, "switch"):
            self.switch = Switch(self.dir / "faults")
        self.procs[name + suffix] = subprocess.Popen(
            [BUILD / f"unfarm-{name}", "-c", self.dir / "unfarm.conf"],
            stdout=open(self.dir / f"log/{name}{suffix}.log", "a"), stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, env=os.environ | {"UNFARM_FAULTS": str(self.dir / "faults")},
        )

    def restart_dead(self):
        """As a service manager would; the names of those that had died."""
        dead = [name for name, proc in self.procs.items() if proc.poll() is not None]
        for name in dead:
            assert self.procs[name].returncode == -signal.SIGKILL, (name, self.procs[name].returncode)
            self.start(name)
        return dead

    def groups(self):
        return len(list(pathlib.Path(f"/sys/fs/cgroup/pids/{self.cgroup}").glob("n[0-9]*")))


@pytest.fixture(scope="module")
def farm():
    assert (BUILD / "unfarm-worker").exists(), "make B=build/fault FAULTS=1"
    conf = {
        "job": {"lease_seconds": 2, "max_attempts": 20},
        "worker": {"slots": SLOTS, "warm": WARM, "processes": 2},
        "scheduler": {"tick_ms": 100, "lock_ms": 600},
        "gateway": {"hold_seconds": 20},
    }
    with FaultFarm(languages=["bash", "python", "c"], conf=conf) as started:
        started.wait_languages("bash", "python", "c")
        started.wait_canaries()
        yield started


# ---- clients that do not give up ----

PROGRAM = '#include <stdio.h>\nint main(void) { puts("built"); return fclose(fopen("/tmp/artifacts/a", "w")); }\n// '
BIG = 400_000
JOBS = {  # name: (language, code, options, expected stdout)
    **{f"short {n}": ("bash", f"echo {n} $(({n} * {n}))", {}, f"{n} {n * n}\n") for n in range(6)},
    "long": ("bash", "sleep 1; echo late", {}, "late\n"),
    "compiled": ("c", PROGRAM, {"return_artifact": True}, "built\n"),
    "large": ("python", f"print('x' * {BIG})", {}, "x" * BIG + "\n"),
}


def call(farm, method, target, body=b"", *, key=None, seconds=60):
    """Again and again while nobody is there: a 200, or the test fails."""
    deadline = time.monotonic() + seconds
    headers = {"Idempotency-Key": key} if key else {}
    with requests.Session() as session:
        while True:
            try:
                answer = farm.call(method, target, body, headers=headers, session=session, timeout=30)
            except requests.ConnectionError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return answer.json()
            assert answer is None or answer.status_code == 503, answer.text
            if answer is not None:
                assert int(answer.headers["Retry-After"]) >= 1
            assert time.monotonic() < deadline, f"{method} {target}"
            time.sleep(0.05)


def asynchronous(farm, name, run):
    language, code, options, expected = JOBS[name]
    if name == "compiled":
        code += run  # or it would not be compiled again
    job = call(farm, "POST", "/execute/async", {"language": language, "code": code, **options}, key=f"{run} {name}")
    ended = wait_for(name, lambda: final(call(farm, "GET", f"/jobs/{job['job_id']}?wait=5")), 60)
    assert (ended["status"], ended["stdout"]) == ("completed", expected), ended
    if options:
        assert any(a["filename"] == "a" for a in ended["artifacts"]), ended
    return ended


def final(job):
    return job if job["status"] not in ("pending", "running") else None


def synchronous(farm, run):
    done = call(farm, "POST", "/execute", {"language": "bash", "code": "sleep 0.2; echo here"}, key=f"{run} sync")
    assert (done["status"], done["stdout"]) == ("completed", "here\n"), done
    return done


def cancelled(farm, run):
    job = call(farm, "POST", "/execute/async", {"language": "bash", "code": "sleep 99"}, key=f"{run} cancel")
    call(farm, "DELETE", f"/jobs/{job['job_id']}")
    ended = wait_for("the cancelled job", lambda: final(call(farm, "GET", f"/jobs/{job['job_id']}?wait=5")), 60)
    assert ended["status"] == "cancelled", ended
    return ended


# ---- what brings a process to its point, besides the jobs ----


def kill_a_worker(farm):
    os.kill(wait_for("a worker", farm.workers)[0], signal.SIGKILL)


def kill_sandboxes(farm):
    wait_for("a job that runs", lambda: farm.redis("ZCARD", "{unfarm}:leases") != "0")
    for pid in farm.inits():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def restart_scheduler(farm):
    farm.stop_one("scheduler")
    farm.start("scheduler")


def look_at_the_host_again(farm):
    """Nests show what was there when they were made: new ones are."""
    farm.procs["worker"].send_signal(signal.SIGHUP)


TRIGGERS = {
    "master_cloned": look_at_the_host_again,
    "worker_starting": kill_a_worker,
    "worker_abandoned": kill_a_worker,
    "worker_giving_back": kill_sandboxes,
    "master_noticing": kill_a_worker,
    "master_respawning": kill_a_worker,
    "scheduler_leading": restart_scheduler,
}


def books(farm):
    """What must be empty when nothing is to do, and whether every job that was admitted has ended."""
    left = [k for k in farm.keys() if k.startswith(("wait:", "leases", "delayed"))]
    stats = dict(zip(*[iter(farm.redis("HGETALL", "{unfarm}:stats").split("\n"))] * 2))
    ended = sum(int(n) for name, n in stats.items() if name.startswith("ended_"))
    return left, int(farm.redis("GET", "{unfarm}:seq")) - ended, int(stats["waiting"]), int(stats.get("slots_freed", 0))


def test_there_are_more_than_twenty_points_in_every_process():
    assert len(POINTS) >= 20 and {p.split("_")[0] for p in POINTS} == {"gateway", "worker", "master", "scheduler"}
    sources = "".join(p.read_text() for d in ("gateway", "worker", "sandbox", "scheduler") for p in (ROOT / d).glob("*.c"))
    assert sorted(POINTS) == sorted(re.findall(r"\bFAULT\((\w+)\)", sources))


def test_the_switch_is_not_in_the_programs_that_are_installed():
    for name in ("gateway", "worker", "scheduler"):
        assert b"UNFARM_FAULTS" in (BUILD / f"unfarm-{name}").read_bytes()
        assert b"UNFARM_FAULTS" not in (ROOT / f"build/debug/unfarm-{name}").read_bytes()


@pytest.mark.parametrize("point", POINTS)
def test_death_at(farm, point):
    victim = {"master": "worker"}.get(point.split("_")[0], point.split("_")[0])
    said = {"worker": 'msg="worker died"', "gateway": 'msg="a gateway process was killed"'}.get(point.split("_")[0])
    deaths = farm.log(victim).count(said) if said else 0
    farm.switch.arm(point)
    with concurrent.futures.ThreadPoolExecutor(len(JOBS) + 2) as pool:
        running = [pool.submit(asynchronous, farm, name, point) for name in JOBS]
        running += [pool.submit(synchronous, farm, point), pool.submit(cancelled, farm, point)]
        if point in TRIGGERS:
            TRIGGERS[point](farm)
        died = []

        def over():
            died.extend(farm.restart_dead())
            return farm.switch.fired(point) and all(r.done() for r in running)

        try:
            wait_for(f"{point} and its jobs", over, 90, 0.01)
        finally:
            farm.switch.disarm()
            farm.restart_dead()
        ended = [r.result() for r in running]
    if said:  # its parent started another one
        assert died == [] and farm.log(victim).count(said) > deaths
    else:
        assert died == [victim]
    assert len({job["id"] for job in ended}) == len(ended)
    for job in ended:  # it stays as it was
        again = call(farm, "GET", f"/jobs/{job['id']}")
        assert [again.get(k) for k in ("status", "stdout", "completed_at")] == [job.get(k) for k in ("status", "stdout", "completed_at")]
    wait_for("no half of a compiled program", lambda: not (farm.dir / "data/compiled/.new").exists(), 15)
    wait_for("balanced books", lambda: books(farm) == ([], 0, 0, 0), 15)
    wait_for("two workers", lambda: len(farm.workers()) == 2)
    # Jobs that had to wait asked for more than WARM; over all points they stay as few, each with its process.
    wait_for("only ready sandboxes", lambda: farm.groups() == len(farm.nests()) and len(farm.inits()) <= WARM + 2 * SLOTS, 15)
