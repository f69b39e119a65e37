"""A machine that fails: its disk is full, it refuses groups or mounts, somebody sets its clock."""

import os
import signal
import struct
import subprocess
import time

import pytest
from calls import is_clean_503
from farm import BUILD, PUBLIC, SECRET, Farm, wait_for

LANGUAGES = ["dash"]
HOUR = 3600


def running(farm, *jobs):
    return all(farm.hash(f"job:{j}")["state"] == "running" for j in jobs)


# ---- the clock ----


class Clock:
    """The wall clock of the processes that get its environment."""

    def __init__(self, folder):
        self.file = folder / "clock"
        library = folder / "set_clock.so"
        source = os.path.join(os.path.dirname(__file__), "set_clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        folder.chmod(0o755)
        self.env = {"LD_PRELOAD": str(library), "SET_CLOCK": str(self.file)}
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
            import json

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
        import threading

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
