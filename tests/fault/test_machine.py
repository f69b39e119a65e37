"""A machine that fails: its disk is full, it refuses groups or mounts, somebody sets its clock."""

import contextlib
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import threading
import time

import pytest
from farm import BUILD, Farm, wait_for

HERE = pathlib.Path(__file__).resolve().parent
LANGUAGES = ["dash"]
HOUR = 3600


def running(farm, *jobs):
    return all(farm.hash(f"job:{j}")["state"] == "running" for j in jobs)


# ---- the disk ----


def test_a_full_disk_stops_no_job():
    """data_dir, run_dir and the logs are full: what runs goes on, what starts says why it cannot."""
    conf = {"worker": {"processes": 2}}
    with Farm(languages=LANGUAGES, conf=conf, disks={"data": "16m", "run": "1m", "log": "1m"}) as farm:
        farm.wait_languages(*LANGUAGES)
        ballast = [farm.fill(name) for name in ("data", "run", "log")]
        assert farm.run("dash", "echo full")["stdout"] == "full\n"
        # A worker that dies cannot be written down: its jobs return all the same.
        job = farm.submit("dash", "sleep 1; echo twice")
        wait_for("it to run", lambda: running(farm, job))
        before = farm.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for("new workers", lambda: len(farm.workers()) == 2 and not set(before) & set(farm.workers()))
        assert farm.wait_job(job)["stdout"] == "twice\n"
        # A reload finds no room for a new /etc, and keeps the one that is in use.
        farm.procs["worker"].send_signal(signal.SIGHUP)
        farm.procs["gateway"].send_signal(signal.SIGHUP)
        for n in range(8):  # more than the ready sandboxes
            assert farm.run("dash", "test -s /etc/passwd && echo kept")["stdout"] == "kept\n"
        farm.stop_one("worker")
        for name in ("worker", "scheduler"):
            out = subprocess.run([BUILD / f"unfarm-{name}", "-c", farm.dir / "unfarm.conf"],
                                 capture_output=True, text=True, timeout=20)
            assert out.returncode != 0 and "No space left on device" in out.stderr, (name, out.stderr)
        waiting = farm.submit("dash", "echo later")
        for file in ballast:
            file.unlink()
        farm.start("worker")
        assert farm.wait_job(waiting)["stdout"] == "later\n"


def test_a_master_key_is_made_whole_or_not_at_all():
    with Farm(daemons=(), disks={"data": "1m"}) as farm:
        ballast = farm.fill("data")
        gateway = [BUILD / "unfarm-gateway", "-c", farm.dir / "unfarm.conf"]
        out = subprocess.run(gateway, capture_output=True, text=True, timeout=20)
        assert out.returncode != 0 and "master key" in out.stderr and "No space left" in out.stderr, out.stderr
        assert list((farm.dir / "data").iterdir()) == [ballast]
        ballast.unlink()
        farm.start("gateway")
        wait_for("the gateway", lambda: "started" in farm.log("gateway"))
        assert (farm.dir / "data/master.key").stat().st_size == 32


# ---- what the kernel refuses ----


class Refusals:
    """A worker whose kernel refuses what this says, from the next call on."""

    def __init__(self, folder):
        self.file = folder / "rules"
        self.words = ["/usr/bin/python3", HERE / "refuse.py", self.file]
        self.set("")

    def set(self, line):
        new = self.file.with_suffix(".new")
        new.write_text(line)
        new.rename(self.file)

    def wait_over(self):
        """Supervisors end with the last process that they watch."""
        def over():
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if str(self.file).encode() in path.read_bytes():
                        return False
            return True

        wait_for("the supervisors to end", over)


@pytest.fixture
def refusals(tmp_path):
    return Refusals(tmp_path)


OVERLAY, GROUP = "mount ^overlay$ EPERM", r"mkdirat ^(try|n\d+)$ EROFS"


@pytest.mark.parametrize("rule, what, how", [
    (OVERLAY, "OVERLAY /tmp/root/usr", "allow mount (seccomp, AppArmor)"),
    ("mount ^proc$ EPERM", "PROC /tmp/root/proc", "unmasked"),
    (GROUP, "make control group `try` of memory: Read-only file system", "mount the tree writable"),
])
def test_a_worker_that_is_refused_says_what_why_and_how_to_get_it(refusals, rule, what, how):
    with Farm(daemons=(), languages=LANGUAGES) as farm:
        refusals.set(rule)
        conf = ["-c", farm.dir / "unfarm.conf"]
        worker = subprocess.run([*refusals.words, BUILD / "unfarm-worker", *conf],
                                capture_output=True, text=True, timeout=30)
        assert worker.returncode == 71 and what in worker.stderr, worker.stderr
        assert how in worker.stderr and "unfarm doctor" in worker.stderr
        doctor = subprocess.run([*refusals.words, BUILD / "unfarm", *conf, "doctor"],
                                capture_output=True, text=True, timeout=30)
        assert doctor.returncode == 1 and "A worker refuses to start here" in doctor.stdout
        assert what in doctor.stdout and how in doctor.stdout
        refusals.wait_over()


@pytest.mark.parametrize("rule, why", [
    (OVERLAY, "Operation not permitted"), (GROUP, "Read-only file system")])
def test_jobs_wait_while_no_sandbox_can_be_made(refusals, rule, why):
    """Not lost, not failed, and not run with one wall less."""
    conf = {"worker": {"processes": 1, "slots": 4, "warm": 1}}
    with Farm(languages=LANGUAGES, conf=conf, wrap={"worker": refusals.words}) as farm:
        farm.wait_languages(*LANGUAGES)
        layers = farm.run("dash", "true")["isolation"]
        refusals.set(rule)
        farm.procs["worker"].send_signal(signal.SIGHUP)  # nests that were there are not used any more
        wait_for("the worker to have read all anew", lambda: "reloaded" in farm.log("worker"))
        # The last ready sandbox is used up; from then on there is none.
        jobs = [farm.submit("dash", f"echo {n}") for n in range(6)]
        wait_for("the master to say so", lambda: re.search("cannot make a (sandbox|nest): ", farm.log("worker"))
                 and why in farm.log("worker"))
        tried = len(re.findall("no.sandbox", farm.log("worker")))  # for a job, or to see whether the language works
        wait_for("it to be tried again", lambda: len(re.findall("no.sandbox", farm.log("worker"))) > tried, 20)
        states = [farm.get(f"/jobs/{j}").json()["status"] for j in jobs]
        assert set(states) <= {"pending", "running", "completed"} and states.count("completed") <= 2, states
        assert farm.post("/execute/async", {"language": "dash", "code": "true"}).status_code == 200
        assert farm.get("/ready", sign=False).status_code == 200
        refusals.set("")
        ended = [farm.wait_job(j) for j in jobs]
        assert [j["stdout"] for j in ended] == [f"{n}\n" for n in range(6)]
        assert {j["attempts"] for j in ended} == {1} and {j["isolation"] for j in ended} == {layers}
        farm.stop_one("worker")
        refusals.wait_over()


# ---- the clock ----


class Clock:
    """The wall clock of the processes that get its environment."""

    def __init__(self, folder):
        self.file = folder / "clock"
        library = folder / "set_clock.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "set_clock.c"], check=True)
        folder.chmod(0o755)
        self.env = {"LD_PRELOAD": str(library), "SET_CLOCK": str(self.file),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}  # of sanitized builds
        self.set(0)

    def set(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as f:
            f.write(struct.pack("=q", seconds))
        self.ahead = seconds

    def now(self):
        return time.time() + self.ahead


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


def everywhere(clock):
    return {name: clock.env for name in ("redis", "gateway", "worker", "scheduler")}


def redis_now(farm):
    return int(farm.redis("TIME").split("\n")[0])


def test_a_clock_set_forward_by_an_hour_loses_no_job(clock):
    """No running job's lease is over, and no waiting one's patience, because of it."""
    conf = {"job": {"wait_seconds": HOUR // 2}, "worker": {"processes": 1, "slots": 2}}
    with Farm(languages=LANGUAGES, conf=conf, env=everywhere(clock)) as farm:
        farm.wait_languages(*LANGUAGES)
        kept = farm.run("dash", "echo kept")["id"]
        jobs = [farm.submit("dash", f"sleep 3; echo {n}") for n in range(4)]  # two wait
        wait_for("two to run", lambda: sum(running(farm, j) for j in jobs) == 2)
        clock.set(HOUR)
        wait_for("Redis to have the new time", lambda: redis_now(farm) > time.time() + HOUR - 60)
        wait_for("the scheduler to see it", lambda: "the clock of redis was set" in farm.log("scheduler"), 10)

        def call(method, target, body=b""):
            """As a client of the same clock."""
            return farm.call(method, target, body, sign=False,
                             headers=farm.sign(method, target, body, now=clock.now()))

        def ended():
            got = [call("GET", f"/jobs/{j}").json() for j in jobs]
            return got if all(j["status"] not in ("pending", "running") for j in got) else None

        got = wait_for("the jobs to end", ended, 40)
        assert [(j.get("stdout"), j["attempts"]) for j in got] == [(f"{n}\n", 1) for n in range(4)]
        assert all(j["total_time_ms"] < 30_000 for j in got)
        # Results expire by the clock: those of two hours are still there.
        assert call("GET", f"/jobs/{kept}").json()["stdout"] == "kept\n"
        # A client whose clock was not set, or not yet, is told what is wrong.
        answer = farm.get(f"/jobs/{kept}")
        assert answer.status_code == 401 and answer.json()["code"] == "TIMESTAMP_EXPIRED"
        assert farm.get("/ready", sign=False).status_code == 200


def test_a_clock_set_back_by_an_hour_delays_no_job(clock):
    """A job of a worker that is gone, a retry and an empty bucket do not wait for an hour."""
    conf = {"job": {"lease_seconds": 3}}
    with Farm(languages=LANGUAGES, conf=conf, env=everywhere(clock)) as farm:
        farm.wait_languages(*LANGUAGES)
        key = farm.new_key(rate=60, burst=1)
        job = farm.submit("dash", "sleep 1; echo run")
        wait_for("it to run", lambda: running(farm, job))
        farm.stop_one("worker", signal.SIGKILL)
        (farm.dir / "run/worker.instances").unlink()  # the whole machine is gone, for all we know
        body = {"language": "dash", "code": "echo one"}

        def submit():
            text = json.dumps(body).encode()
            head = farm.sign("POST", "/execute/async", text, key, now=clock.now())
            return farm.call("POST", "/execute/async", text, sign=False, headers=head)

        assert submit().status_code == 200
        clock.set(-HOUR)
        wait_for("the scheduler to see it", lambda: "the clock of redis was set" in farm.log("scheduler"), 10)
        wait_for("a token of the bucket", lambda: submit().status_code == 200, 20, 0.3)
        farm.start("worker")
        wait_for("the lost job to run again", lambda: farm.hash(f"job:{job}")["state"] == "completed", 40)
        assert farm.hash(f"job:{job}")["attempts"] == "2"


def test_only_the_gateway_checks_time_with_clients(clock):
    """Its own clock wrong: signed calls are refused, calls that wait are not cut."""
    with Farm(languages=LANGUAGES, env={"gateway": clock.env}) as farm:
        farm.wait_languages(*LANGUAGES)
        answers = []
        call = threading.Thread(target=lambda: answers.append(
            farm.post("/execute", {"language": "dash", "code": "sleep 2; echo waited"})))
        call.start()
        wait_for("it to run", lambda: farm.redis("ZCARD", "{unfarm}:leases") == "1")
        clock.set(HOUR)
        answer = farm.get("/jobs")
        assert answer.status_code == 401 and answer.json()["code"] == "TIMESTAMP_EXPIRED", answer.text
        clock.set(-HOUR)
        assert farm.get("/jobs").status_code == 401
        call.join()
        assert answers[0].status_code == 200 and answers[0].json()["stdout"] == "waited\n"
        clock.set(0)
        assert farm.get("/jobs").status_code == 200
