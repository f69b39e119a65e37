"""Processes frozen, killed and restarted: each job ends once, and none is lost."""

import contextlib
import json
import os
import signal
import threading
import time
import uuid

import requests
from calls import Crowd, is_clean_503
from farm import Farm, wait_for

LANGUAGES = ["dash"]


def state(farm, job):
    return farm.hash(f"job:{job}")["state"]


def wait_running(farm, job):
    wait_for("it to run", lambda: state(farm, job) == "running")


def holder(farm, job):
    """The process that runs a job."""
    worker = farm.hash(f"job:{job}")["worker"]
    return json.loads(farm.redis("GET", f"{{unfarm}}:winfo:{worker}"))["pid"]


@contextlib.contextmanager
def frozen(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# ---- workers ----


def test_a_worker_frozen_for_longer_than_its_lease_changes_nothing_any_more():
    conf = {"job": {"lease_seconds": 2}, "worker": {"processes": 2}}
    with Farm(languages=LANGUAGES, conf=conf) as farm:
        farm.wait_languages(*LANGUAGES)
        job = farm.submit("dash", "sleep 1; cat /proc/sys/kernel/random/uuid")
        wait_running(farm, job)
        pid = holder(farm, job)
        with frozen(pid):
            ended = farm.wait_job(job)  # by the other one
            assert (ended["status"], ended["attempts"]) == ("completed", 2)
        # It finds a job that ended long ago, and says nothing of it.
        wait_for("it to give up", lambda: f"pid={pid} job={job} msg=\"job given back\" why=lease-over" in farm.log("worker")
                 or f"pid={pid} msg=\"result came too late" in farm.log("worker"))
        again = farm.get(f"/jobs/{job}").json()
        assert (again["stdout"], again["completed_at"]) == (ended["stdout"], ended["completed_at"])
        assert farm.hash("stats")["ended_completed"] == "1"
        assert pid in farm.workers() and farm.run("dash", "echo well")["stdout"] == "well\n"


def test_a_late_result_is_refused_while_the_job_runs_again():
    """It had its result, Redis was away, it froze; now another one runs the job."""
    conf = {"job": {"lease_seconds": 4}, "worker": {"processes": 2}}
    with Farm(languages=LANGUAGES, conf=conf) as farm:
        farm.wait_languages(*LANGUAGES)
        # Short the first time, long the second.
        job = farm.submit("dash", f"[ $(date +%s) -lt {int(time.time()) + 3} ] && sleep 1 || sleep 5; echo done")
        wait_running(farm, job)
        pid = holder(farm, job)
        farm.kill_redis()
        wait_for("its end", lambda: f"pid={pid} job={job} msg=\"job finished\"" in farm.log("worker"))
        with frozen(pid):
            farm.start_redis()
            wait_for("another one to run it", lambda: farm.hash(f"job:{job}")["takes"] == "2"
                     and state(farm, job) == "running")
        wait_for("the late result to be refused", lambda: f"pid={pid} msg=\"result came too late" in farm.log("worker"))
        assert state(farm, job) == "running"
        ended = farm.wait_job(job)
        assert (ended["status"], ended["stdout"], ended["attempts"]) == ("completed", "done\n", 2)
        assert ended["total_time_ms"] > 4000  # the second run's
        assert farm.hash("stats")["ended_completed"] == "1"


def test_a_worker_that_dies_under_a_frozen_master_loses_no_job():
    """Nobody sees the death: the lease runs out, and the other worker has the job."""
    conf = {"job": {"lease_seconds": 2}, "worker": {"processes": 2, "warm": 4}}
    with Farm(languages=LANGUAGES, conf=conf) as farm:
        farm.wait_languages(*LANGUAGES)
        master = farm.procs["worker"].pid
        job = farm.submit("dash", "sleep 1; echo done")
        wait_running(farm, job)
        pid = holder(farm, job)
        with frozen(master):
            os.kill(pid, signal.SIGKILL)
            ended = farm.wait_job(job)
            assert (ended["status"], ended["stdout"], ended["attempts"]) == ("completed", "done\n", 2)
            # Ready sandboxes are used up, and nobody makes new ones.
            jobs = [farm.submit("dash", f"echo {n}") for n in range(6)]
            wait_for("jobs that wait for a sandbox", lambda: any(state(farm, j) == "running" for j in jobs))
            assert not all(state(farm, j) == "completed" for j in jobs)
        assert [farm.wait_job(j)["stdout"] for j in jobs] == [f"{n}\n" for n in range(6)]
        wait_for("a new worker", lambda: len(farm.workers()) == 2 and pid not in farm.workers())
        assert farm.get(f"/jobs/{job}").json()["attempts"] == 2
        assert farm.hash("stats")["ended_completed"] == "7"


# ---- gateways ----


def test_a_gateway_restarts_under_load_and_no_accepted_job_is_lost():
    """By SIGTERM it answers those who wait; by SIGKILL they lose a connection, and the retry finds the job."""
    accepted, answered = {}, []

    def until_accepted(session, call, code):
        name = {"Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                answer = farm.post(call, {"language": "dash", "code": code}, headers=name, session=session)
                if answer.status_code == 200:
                    return answer.json()
                assert is_clean_503(answer), answer.text
            assert time.monotonic() < deadline, "no gateway answered"
            time.sleep(0.05)

    def submit(session, who, numbers=iter(range(10**6))):
        n = f"{who}-{next(numbers)}"
        accepted[until_accepted(session, "/execute/async", f"echo {n}")["job_id"]] = n
        time.sleep(0.02)

    def execute(session, numbers=iter(range(10**6))):
        n = next(numbers)
        job = until_accepted(session, "/execute", f"sleep 0.3; echo {n}")
        accepted[job["job_id"]] = n
        answered.append(job["status"])

    with Farm(languages=LANGUAGES) as farm:
        farm.wait_languages(*LANGUAGES)
        with Crowd() as crowd:
            for who in range(3):
                crowd.add(submit, who)
            for _ in range(4):
                crowd.add(execute)
            for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                more = len(accepted) + 15
                wait_for("jobs to be accepted", lambda: len(accepted) > more or crowd.failure)
                code = farm.stop_one("gateway", sig)
                assert code == (0 if sig == signal.SIGTERM else -signal.SIGKILL)
                farm.start("gateway")
                farm.wait_ready()
            crowd.end()
        ended = {job: farm.wait_job(job) for job in accepted}
        assert {job: e["stdout"] for job, e in ended.items()} == {job: f"{n}\n" for job, n in accepted.items()}
        # Whoever asked twice, with the same Idempotency-Key, made one job.
        assert int(farm.redis("GET", "{unfarm}:seq")) == len(accepted)
        assert int(farm.hash("stats")["ended_completed"]) == len(accepted)


def test_a_gateway_that_is_told_to_stop_answers_those_who_wait():
    with Farm(languages=LANGUAGES) as farm:
        farm.wait_languages(*LANGUAGES)
        answers = {}

        def call(name, *args):
            with requests.Session() as session:
                answers[name] = farm.call(*args, session=session)

        job = farm.submit("dash", "sleep 4; echo polled")
        calls = [threading.Thread(target=call, args=("execute", "POST", "/execute",
                                                     {"language": "dash", "code": "sleep 4; echo held"})),
                 threading.Thread(target=call, args=("wait", "GET", f"/jobs/{job}?wait=60"))]
        for c in calls:
            c.start()
        wait_for("both calls to wait", lambda: farm.redis("ZCARD", "{unfarm}:leases") == "2")
        wait_for("the gateway to wait", lambda: farm.hash(f"job:{job}").get("waiters"))
        assert farm.stop_one("gateway") == 0
        for c in calls:
            c.join()
        assert {a.status_code for a in answers.values()} == {200}
        assert {a.json()["status"] for a in answers.values()} == {"running"}
        assert answers["wait"].json()["job_id"] == job
        farm.start("gateway")
        farm.wait_ready()
        held = answers["execute"].json()["job_id"]
        assert farm.wait_job(held)["stdout"] == "held\n" and farm.wait_job(job)["stdout"] == "polled\n"


# ---- schedulers ----


def leader(farm):
    """Pid of the scheduler that holds the lock, or None."""
    who = farm.redis("GET", "{unfarm}:leader")
    return int(who.split("/")[1]) if who else None


def lose_a_job(farm):
    """A job whose whole machine is gone: only a scheduler can bring it back."""
    farm.start("worker")
    farm.wait_ready()
    job = farm.submit("dash", "sleep 1; echo found")
    wait_running(farm, job)
    farm.stop_one("worker", signal.SIGKILL)
    (farm.dir / "run/worker.instances").unlink()
    return job


def test_another_scheduler_repairs_when_the_leader_is_killed_or_frozen():
    lock_s, lease_s = 1.5, 2
    conf = {"scheduler": {"lock_ms": int(lock_s * 1000)}, "job": {"lease_seconds": lease_s}}
    with Farm(daemons=("scheduler", "gateway"), languages=LANGUAGES, conf=conf) as farm:
        farm.start("scheduler", suffix="2")
        names = {farm.procs[n].pid: n for n in ("scheduler", "scheduler2")}
        wait_for("both to be there", lambda: all("connected to redis" in farm.log(n) for n in names.values()))
        first = wait_for("a leader", lambda: leader(farm))
        second = next(pid for pid in names if pid != first)

        job = lose_a_job(farm)
        with frozen(first):
            began = time.monotonic()
            wait_for("the other one to lead", lambda: leader(farm) == second)
            took = time.monotonic() - began
            # Its lock runs out, and a third later at most the other one asks; the rest is for a busy machine.
            assert took < lock_s * 4 / 3 + 3, took
            wait_for("the lost job to be found", lambda: int(farm.hash("stats").get("retried", 0)) == 1)
        # It believed to lead; it does nothing any more, and says so.
        wait_for("it to step down", lambda: "leads no more" in farm.log(names[first]))
        assert leader(farm) == second
        farm.start("worker")
        assert farm.wait_job(job)["stdout"] == "found\n" and farm.wait_job(job)["attempts"] == 2
        farm.stop_one("worker")

        job = lose_a_job(farm)
        began = time.monotonic()
        farm.stop_one(names[second], signal.SIGKILL)
        wait_for("the first one to lead again", lambda: leader(farm) == first)
        took = time.monotonic() - began
        assert took < lock_s * 4 / 3 + 3, took
        farm.start("worker")
        assert farm.wait_job(job)["stdout"] == "found\n" and farm.wait_job(job)["attempts"] == 2
        assert farm.hash("stats")["retried"] == "2"
