"""After ten thousand mixed jobs nothing has piled up.  SOAK=1 makes them fifty thousand."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import threading
import time

import pytest
from attack import run_all
from farm import Farm, wait_for

JOBS = int(os.environ.get("HYGIENE_JOBS", 50000 if os.environ.get("SOAK") else 10000))
CALLERS = 16
LANGUAGES = ["python", "bash", "c", "dash"]
NEST_SECONDS = 1
SANDBOXES = "network namespaces"
GROWS = (SANDBOXES, "processes", "cgroups", "descriptors of worker")  # with each sandbox that is ready

OK, FAILS, KILLED, LATE = {"exited"}, {"exited"}, {"signaled"}, {"timeout"}
PLAIN = [  # (weight, language, code, options, reasons)
    (300, "dash", "echo ok", {}, OK),
    (120, "dash", "exit 3", {}, FAILS),
    (60, "dash", "no-such-program", {}, FAILS),
    (80, "bash", "echo ok; exec true", {}, OK),
    (80, "dash", "sleep 60 & echo x > artifacts/x; ln -s /etc/passwd artifacts/y", {"return_artifacts": True}, OK),
    (40, "bash", "for i in 1 2 3 4 5; do setsid sleep 60 & done", {}, OK),
    (40, "dash", "kill -9 $$", {}, KILLED),
    (30, "dash", "head -c 300000 /dev/urandom", {}, OK),
    (30, "dash", "cat; cat input/a/b", {"stdin": "x" * 3000, "input_files": [{"filename": "a/b", "content": "eXl5"}]}, OK),
    (20, "bash", "x=x; while :; do x=$x$x; done", {"memory_mb": 16}, {"memory"}),
    (10, "python", "import socket, os; s = socket.socket(); s.bind(('', 0)); s.listen(); os.memfd_create('x'); print(1)", {}, OK),
    (6, "python", "import os\nwhile True:\n  if os.fork() == 0:\n    import time; time.sleep(60)", {"ttl": 9}, {"processes"}),
    (6, "c", "int main(void){return 0;}", {"return_artifacts": True}, OK),
    (4, "c", "this is not C", {}, FAILS),
    (3, "dash", "yes", {}, {"output"}),
    (3, "bash", "kill -STOP 0", {"ttl": 1}, LATE),
    (3, "dash", "sleep 60", {"ttl": 1}, LATE),
]
CANCELLED = ("dash", "sleep 60")


class Caller(threading.Thread):
    """One connection; runs what it draws until the others have done the rest, and remembers what went wrong."""

    def __init__(self, farm, todo, seed):
        super().__init__()
        self.farm, self.todo, self.draw, self.wrong = farm, todo, random.Random(seed), []

    def call(self, method, target, body=None):
        raw = json.dumps(body).encode() if body else b""
        self.link.request(method, target, raw, self.farm.sign(method, target, raw))
        answer = self.link.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    def one(self):
        if self.draw.random() < 0.01:
            job_id = self.call("POST", "/execute/async", {"language": CANCELLED[0], "code": CANCELLED[1]})["job_id"]
            if self.draw.random() < 0.5:
                wait_for("it to run", lambda: self.call("GET", f"/jobs/{job_id}")["status"] == "running")
            self.call("DELETE", f"/jobs/{job_id}")
            return
        _, language, code, options, reasons = self.draw.choices(PLAIN, [row[0] for row in PLAIN])[0]
        r = self.call("POST", "/execute", {"language": language, "code": code, **options})
        if r["end_reason"] not in reasons:
            self.wrong.append((language, code, r))

    def run(self):
        self.link = http.client.HTTPConnection("127.0.0.1", self.farm.port, timeout=120)
        try:
            while not self.wrong and next(self.todo, None) is not None:
                self.one()
        except Exception as e:  # noqa: BLE001 - told by the test
            self.wrong.append(repr(e))
        self.link.close()


def run_many(farm, n, callers=CALLERS):
    todo = iter(range(n))
    callers = [Caller(farm, todo, seed) for seed in range(callers)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert [w for c in callers for w in c.wrong] == []


def daemons(farm):
    """Process name -> pid."""
    found = {name: proc.pid for name, proc in farm.procs.items()}
    found.update({f"worker {i}": pid for i, pid in enumerate(farm.workers())})
    return found


def books(farm):
    """What exists now, by kind."""
    master = farm.procs["worker"].pid
    ours = {int(p) for p in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()}
    for procs in pathlib.Path(f"/sys/fs/cgroup/pids/{farm.cgroup}").glob("*/cgroup.procs"):
        with contextlib.suppress(OSError):
            ours |= {int(p) for p in procs.read_text().split()}
    spaces = set()
    for pid in ours:
        with contextlib.suppress(OSError):
            spaces.add(os.readlink(f"/proc/{pid}/ns/net"))
    groups = [d for top in pathlib.Path("/sys/fs/cgroup").glob(f"*/{farm.cgroup}") for d in top.iterdir() if d.is_dir()]
    count = {
        "processes": len(ours), SANDBOXES: len(spaces), "cgroups": len(groups),
        "mounts": len(pathlib.Path("/proc/self/mounts").read_text().splitlines()),
        "zombies": sum(zombie(pid) for pid in ours),
        "leases": len([k for k in farm.keys() if "lease" in k or "running" in k]),
    }
    for name, pid in daemons(farm).items():
        whose = name.split()[0]  # workers share the sandboxes, now so and now so
        count[f"descriptors of {whose}"] = count.get(f"descriptors of {whose}", 0) + len(os.listdir(f"/proc/{pid}/fd"))
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


def at_rest(farm):
    """The books once they stay as they are for longer than an unused nest does."""
    seen, since = None, time.monotonic()
    while time.monotonic() < since + NEST_SECONDS + 1:
        now = books(farm)
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.25)
    return seen


def files(farm):
    """Of the farm's folders, but for logs and what Redis writes; and of those that sandboxes could reach first."""
    places = [farm.dir / "data", farm.dir / "run", farm.dir / "share", pathlib.Path("/dev/shm"), pathlib.Path("/dev/mqueue")]
    return sum(len(names) + len(folders) for place in places for _, folders, names in os.walk(place))


@pytest.fixture
def own_farm():
    """Its pool soon shrinks to what it is kept at."""
    with Farm(languages=LANGUAGES, conf={"worker": {"slots": 64, "warm": 8, "nest_seconds": NEST_SECONDS}}) as started:
        started.wait_languages(*LANGUAGES)
        started.wait_canaries()
        yield started


def test_nothing_piles_up_after_ten_thousand_mixed_jobs(own_farm):
    """Counted before and after, once buffers and pools have their size; what they need in memory is seen later."""
    farm = own_farm
    run_many(farm, 200, callers=2)  # few at a time, and few are kept ready for the next
    farm.session.close()
    before, there = at_rest(farm), files(farm)
    run_many(farm, JOBS // 5)
    memory = rss(farm)
    run_many(farm, JOBS - JOBS // 5 - 200)
    grown = rss(farm)
    farm.session.close()
    # Each worker keeps one or two forks of bash, dash and Python ready, as jobs came; nothing else grows than what they have.
    spare = 3 * len(farm.workers())
    wait_for("the pool to shrink", lambda: books(farm)[SANDBOXES] <= before[SANDBOXES] + spare, 60, 0.5)
    after = at_rest(farm)
    more, have = max(after[SANDBOXES] - before[SANDBOXES], 0), before[SANDBOXES]
    assert more <= spare
    allowed = {k: v + more * -(-v // have) if k in GROWS else v for k, v in before.items()}
    assert {k: (before.get(k), v) for k, v in after.items() if v > allowed.get(k, 0)} == {}
    assert files(farm) <= there
    # A leak of 250 bytes a job would be seen.
    assert {k: (memory[k], v) for k, v in grown.items() if v > memory[k] + 2048} == {}


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
    """Every process of a sandbox in the farm's control groups, not their nests': pid -> number in its own namespace, uid."""
    found = {}
    for procs in pathlib.Path("/sys/fs/cgroup").glob(f"*/{farm.cgroup}/n*/cgroup.procs"):
        with contextlib.suppress(OSError):
            for pid in map(int, procs.read_text().split()):
                numbers = _status(pid, "NSpid").split()
                if len(numbers) > 2:
                    found[pid] = int(numbers[-1]), int(_status(pid, "Uid").split()[0])
    return found


def test_no_process_of_a_job_is_left_whatever_its_user(farm):
    """By the job's pid namespace, and by what is in the farm's groups: only inits of sandboxes that are ready."""
    for r in run_all(farm, [("python", STAYS, {"ttl": 20})] * 8):
        assert r["end_reason"] == "exited", r
        space, base = r["stdout"].split()
        assert base == "0", "a job sees the ids of its nest, not the host's"
        wait_for("the processes of a job to be gone", lambda space=space: not members(space), 5, 0.05)
    def ready():
        with contextlib.suppress(OSError):
            left = in_groups(farm)
            return left if left and all(number == 1 for number, _ in left.values()) else None

    left = wait_for("nothing but inits in the groups", ready, 10, 0.1)
    bases = [uid for _, uid in left.values()]
    assert len(set(bases)) == len(bases) and all(uid >= 1879048192 and (uid - 1879048192) % 65536 == 0 for uid in bases)
    assert set(left) <= set(farm.inits())


def _status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))
