"""Limits are exact, and what replaces the sandbox of an attack is as good as new: one slot, one job at a time."""

import contextlib
import pathlib
import statistics
import time

import pytest
from attack import probe
from farm import Farm, best, wait_for
from test_resources import BOMBS

MB = 1 << 20
SLACK_MS = 50
FLOOD = 256 * MB


@pytest.fixture(scope="module")
def one():
    """A worker with one slot: whoever comes next gets what replaced the sandbox before."""
    with Farm(conf={"worker": {"processes": 1, "slots": 1, "warm": 1}}, languages=["python", "bash", "c", "dash"]) as started:
        started.wait_languages("python", "bash", "c", "dash")
        started.wait_canaries()
        yield started


def late(farm, job, limit_ms, of):
    """Milliseconds past the limit in three runs, one at a time: none is early, and the middle one counts."""
    def measure():
        over = [of(farm.run(*job[:2], **job[2])) - limit_ms for _ in range(3)]
        assert min(over) >= 0, over
        return statistics.median(over)

    return best(measure, lambda ms: ms <= SLACK_MS, tries=5)


def ended(reason, value):
    def look(r):
        assert r["end_reason"] == reason, r
        return value(r)

    return look


TIMED = {  # name: (job, reason, milliseconds that its limit allows, what is measured)
    "sleeps": (("dash", "sleep 60", {"ttl": 1}), "timeout", 1000, "wall_ms"),
    "spins": (("python", "while True: pass", {"ttl": 1}), "timeout", 1000, "wall_ms"),
    "forks": (("bash", "b() { b | b & }; b; while :; do :; done", {"ttl": 1}), "timeout", 1000, "wall_ms"),
    "stops everything": (("bash", "kill -STOP 1; kill -STOP -1; kill -STOP $$; kill -STOP 0", {"ttl": 1}), "timeout", 1000, "wall_ms"),
    "holds its output": (("bash", "trap '' TERM; setsid sleep 60 & sleep 60", {"ttl": 1}), "timeout", 1000, "wall_ms"),
    "uses the processor": (("python", "while True: pass", {"cpu_limit": 1, "ttl": 20}), "cpu", 1000, "cpu_ms"),
    "uses it by many": (("bash", "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait", {"cpu_limit": 1, "ttl": 20}), "cpu", 1000, "cpu_ms"),
}


@pytest.mark.parametrize("name", TIMED)
def test_a_limit_of_time_is_exact(one, name):
    job, reason, limit, field = TIMED[name]
    assert late(one, job, limit, ended(reason, lambda r: r["run"][field])) <= SLACK_MS


def test_the_caller_hears_of_it_at_once(one):
    """As its clock has it: from the call to the answer."""
    def measure():
        times = []
        for _ in range(3):
            began = time.monotonic()
            one.run("dash", "sleep 60", ttl=1)
            times.append((time.monotonic() - began) * 1000 - 1000)
        assert min(times) >= 0
        return statistics.median(times)

    assert best(measure, lambda ms: ms <= 2 * SLACK_MS, tries=5) <= 2 * SLACK_MS


# Tells on standard error when each step was done; the last one done before the limit says when it was reached.
STAMPED = '''
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static void stamp(void)
{
	struct timespec t;
	char text[40];
	clock_gettime(CLOCK_MONOTONIC, &t);
	int n = snprintf(text, sizeof(text), "%lld\\n", t.tv_sec * 1000000LL + t.tv_nsec / 1000);
	if (write(2, text, n) != n) _exit(9);
}
int main(void)
{
	char *room = calloc(1, 1 << 20);
	for (;;) { stamp(); STEP; }
}
'''
BY_STEPS = {  # name: (one step of a MiB, reason, options)
    "memory": ("memset(malloc(1 << 20), 1, 1 << 20)", "memory", {"memory_mb": 64}),
    "output": ("for (int i = 0; i < 16; i++) write(1, room, 65536)", "output", {}),
}


@pytest.mark.parametrize("name", BY_STEPS)
def test_a_limit_of_size_ends_it_at_once(one, name):
    """From the last step within the limit to the end as the worker has it; what starting takes is in it."""
    step, reason, options = BY_STEPS[name]

    def measure():
        after = []
        for _ in range(5):
            r = one.run("c", STAMPED.replace("STEP", step), ttl=30, **options)
            assert r["end_reason"] == reason, r
            stamps = [int(line) for line in r["stderr"].split("\n")[:-1]]
            assert len(stamps) >= 40
            after.append(r["run"]["wall_ms"] - (stamps[-1] - stamps[0]) / 1000)
            if reason == "memory":
                assert 0.9 * options["memory_mb"] * MB <= r["run"]["memory_bytes"] <= options["memory_mb"] * MB
            else:
                assert FLOOD < r["stdout_bytes"] + r["stderr_bytes"] < FLOOD + 32 * MB
        return statistics.median(after)

    assert best(measure, lambda ms: ms <= SLACK_MS, tries=5) <= SLACK_MS


def test_the_number_of_threads_is_exact(one):
    """Threads are processes to the kernel: 128, of which one is the program."""
    r = one.run("c", '''
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void *rest(void *p) { pause(); return p; }
int main(void)
{
	pthread_attr_t a; pthread_t t; int n = 0, e;
	pthread_attr_init(&a); pthread_attr_setstacksize(&a, 65536);
	while ((e = pthread_create(&t, &a, rest, 0)) == 0 && n < 5000) n++;
	printf("%d %s\\n", n, strerror(e));
	return 1;
}''')
    assert r["stdout"] == "127 Resource temporarily unavailable\n" and r["end_reason"] == "processes", r


def groups(farm):
    """Control groups of nests with their sandboxes, and how many processes they have."""
    found = {}
    for tree in ("pids", "."):  # version 1 or 2
        for top in pathlib.Path("/sys/fs/cgroup", tree, farm.cgroup).glob("n*/"):
            with contextlib.suppress(FileNotFoundError):
                found[top.name] = len((top / "cgroup.procs").read_text().split())
    return found


def quota(farm):
    """Processors that the running job may use, as the kernel has it: of the group with more than inits and an interpreter."""
    for name, members in groups(farm).items():
        if members > 3:
            with contextlib.suppress(FileNotFoundError):
                folder = pathlib.Path("/sys/fs/cgroup/cpu", farm.cgroup, name)
                return int((folder / "cpu.cfs_quota_us").read_text()) / int((folder / "cpu.cfs_period_us").read_text())
            most, period = pathlib.Path("/sys/fs/cgroup", farm.cgroup, name, "cpu.max").read_text().split()
            return int(most) / int(period)
    return None


@pytest.mark.parametrize("vcpu", [1, 2])
def test_many_processes_get_no_more_processor_than_one(one, vcpu):
    """Loops for more than all cores: never noticeably more than a second of processor a second for each vcpu."""
    job = one.submit("bash", "for i in $(seq 20); do (while :; do :; done) & done; wait", ttl=2, vcpu=vcpu)
    assert wait_for("it to run", lambda: quota(one)) == vcpu
    r = one.wait_job(job)
    assert r["end_reason"] == "timeout" and r["run"]["cpu_ms"] <= 1.1 * vcpu * r["run"]["wall_ms"], r["run"]


def test_a_worker_does_not_spin_while_the_dead_are_taken_away(one):
    """init dies at once, the rest when its gigabytes are given back: meanwhile the worker has nothing to do."""
    hog = """
import os
for i in range(6):
    if os.fork() == 0:
        a = bytearray(b"x") * (290 << 20)
        while True: pass
os.wait()
"""
    worker, = one.workers()

    def used():
        return int(pathlib.Path(f"/proc/{worker}/schedstat").read_text().split()[0]) / 1e6

    before = used()
    for _ in range(3):
        r = one.run("python", hog, cpu_limit=1, ttl=20)
        assert r["end_reason"] == "cpu" and r["memory_bytes"] > 500 * MB, r
    assert used() - before < 60


def test_the_kernels_own_kill_is_not_a_limit(one):
    """A program that kills itself, as a limit would, within its limits: it was signalled."""
    for signal in ("KILL", "XCPU", "TERM"):
        r = one.run("bash", f"kill -{signal} $$", ttl=5, cpu_limit=5)
        assert (r["status"], r["exit_code"]) == ("completed", 128 + {"KILL": 9, "XCPU": 24, "TERM": 15}[signal]), r
        assert r["end_reason"] in ({"signaled"} if signal != "XCPU" else {"signaled", "cpu"}), r


# ---- what comes after ----

STATE = '''
found["host"] = socket.gethostname()
found["files"] = sorted(f for top, dirs, names in os.walk("/tmp") for f in dirs + names)
found["shm"] = os.listdir("/dev/shm") + os.listdir("/var/tmp") + os.listdir("/run/lock")
found["pids"] = sorted(int(p) for p in os.listdir("/proc") if p.isdigit())
found["me"] = os.getpid()
found["free"] = os.statvfs("/tmp").f_bavail * os.statvfs("/tmp").f_bsize >> 20
found["inodes"] = os.statvfs("/tmp").f_favail
found["limits"] = [resource.getrlimit(k) for k in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)]
n = 0
try:
    while n < 1000:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        n += 1
except OSError: pass
found["processes"] = n
'''
MEMORY = 'm = bytearray(b"x") * (40 << 20); print(len(m) >> 20, flush=True); m *= 2'
SAME = ("files", "shm", "pids", "me", "free", "inodes", "limits", "processes")


def test_the_replacement_of_an_attacked_slot_is_as_new(one):
    """After each bomb the same worker goes on, and its next jobs have all that a job has, in sandboxes never seen before."""
    worker = one.workers()
    first = probe(one, STATE)
    seen = {first["host"]}  # by its number
    assert first["processes"] == 127 and first["pids"] == [1, first["me"]] and first["free"] > 500
    for name, (language, code, options, reasons, _) in BOMBS.items():
        options = {**options, "ttl": min(options.get("ttl", 60), 1 if reasons == {"timeout"} else 60)}
        r = one.run(language, code, **options)
        assert r["end_reason"] in reasons, (name, r)
        now = probe(one, STATE)
        assert {k: now[k] for k in SAME} == {k: first[k] for k in SAME}, name
        assert now["host"] not in seen, name
        seen.add(now["host"])
        r = one.run("python", MEMORY, memory_mb=64)
        assert r["stdout"] == "40\n" and r["end_reason"] == "memory" and r["memory_bytes"] <= 64 * MB, (name, r)
        assert one.workers() == worker, name
    wait_for("nothing but inits in ready sandboxes", lambda: one.inits() and set(one.inits()) == set(one.inside()))


def test_out_of_memory_takes_a_process_of_the_job_and_not_its_nest(few_nests):
    """Each process is smaller than an interpreter that waits in the same control group."""
    many = """import os, signal, time
for _ in range(60):
  pid = os.fork()
  if pid == 0: kept = bytearray(3 << 20); time.sleep(30)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
  pid, status = os.waitpid(-1, 0)
  if os.WIFSIGNALED(status): break
os.killpg(0, signal.SIGTERM)
print("goes on", os.WTERMSIG(status))
"""
    nests = set(few_nests.nests())
    for _ in range(3):
        done = few_nests.run("python", many, memory_mb=128)
        assert done["stdout"] == "goes on 9\n", done
    assert nests and nests <= set(few_nests.nests())


def test_memory_of_the_last_job_is_not_the_next_ones(few_nests):
    """Its control group may be the same one."""
    large = "open('/tmp/large', 'wb').write(bytes(200 << 20)); kept = bytearray(300 << 20); import os; os.fork()"
    for _ in range(3):
        assert few_nests.run("python", large)["exit_code"] == 0
        done = few_nests.run("python", "kept = bytearray(40 << 20); print(1)", memory_mb=64)
        assert done["stdout"] == "1\n" and done["memory_bytes"] < 64 << 20, done
