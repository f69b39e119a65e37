"""Redis killed, slow, out of memory, out of disk: what was acknowledged is done, and callers are told."""

import contextlib
import signal
import threading
import time

from calls import Crowd, is_clean_503, submit_until_accepted
from farm import Farm, wait_for

LANGUAGES = ["dash"]


def daemons(farm):
    return {name: proc.pid for name, proc in farm.procs.items()}, sorted(farm.workers())


def running(farm, job):
    return farm.hash(f"job:{job}")["state"] == "running"


def test_redis_killed_under_load_loses_nothing_that_was_acknowledged():
    accepted, refusals, executed = {}, [], []

    def submit(session, who, numbers=iter(range(10**6))):
        n = f"{who}-{next(numbers)}"
        job = submit_until_accepted(farm, f"echo {n}", session=session, refusals=refusals)
        accepted[job] = n
        time.sleep(0.02)

    def execute(session, numbers=iter(range(10**6))):
        n = next(numbers)
        answer = farm.post("/execute", {"language": "dash", "code": f"sleep 0.3; echo {n}"}, session=session)
        if answer.status_code == 200:
            assert answer.json()["stdout"] == f"{n}\n"
            executed.append(n)
        else:
            assert is_clean_503(answer), answer.text
            time.sleep(0.1)

    conf = {"job": {"lease_seconds": 4}, "gateway": {"hold_seconds": 60}}
    with Farm(languages=LANGUAGES, conf=conf) as farm:
        farm.wait_languages(*LANGUAGES)
        before = daemons(farm)
        # One call that waits through all of it.
        slow = farm.submit("dash", "sleep 1; echo slow")
        waited = []
        waiting = threading.Thread(
            target=lambda: waited.append(farm.call("GET", f"/jobs/{slow}?wait=60", session=farm.session)))
        with Crowd() as crowd:
            for who in range(3):
                crowd.add(submit, who)
            for _ in range(3):
                crowd.add(execute)
            wait_for("the slow job to run", lambda: running(farm, slow))
            waiting.start()
            for _ in range(3):
                more = len(accepted) + 10
                wait_for("jobs to be accepted", lambda: len(accepted) > more or crowd.failure)
                met = len(refusals)
                farm.kill_redis()
                wait_for("callers to be refused", lambda: len(refusals) > met or crowd.failure)
                farm.start_redis()
            more = len(executed) + 3
            wait_for("calls to be answered", lambda: len(executed) > more or crowd.failure)
            crowd.end()
        waiting.join()
        assert waited[0].status_code == 200 and waited[0].json()["stdout"] == "slow\n"
        assert waited[0].elapsed.total_seconds() < 45  # told, not found when its time was over
        ended = {job: farm.wait_job(job) for job in accepted}
        assert {job: e["stdout"] for job, e in ended.items()} == {job: f"{n}\n" for job, n in accepted.items()}
        assert daemons(farm) == before  # connected again, not started again


def test_slow_redis_delays_and_refuses_but_loses_nothing():
    # One process has the key after the first call, so the second one is only what it asks for.
    with Farm(languages=LANGUAGES, conf={"gateway": {"processes": 1}}) as farm:
        farm.wait_languages(*LANGUAGES)
        before = daemons(farm)
        # Slow for less than the gateway's patience: late, and well.
        farm.redis("CLIENT", "PAUSE", 2000, "ALL")
        began = time.monotonic()
        assert farm.run("dash", "echo late")["stdout"] == "late\n"
        assert time.monotonic() - began > 1
        # Slower: refused after some seconds; those who wait for a job go on waiting.
        job = farm.submit("dash", "sleep 2; echo held")
        wait_for("it to run", lambda: running(farm, job))
        waited = []
        waiting = threading.Thread(target=lambda: waited.append(farm.get(f"/jobs/{job}?wait=60", session=None)))
        waiting.start()
        time.sleep(0.3)
        farm.redis_proc.send_signal(signal.SIGSTOP)
        body, name = {"language": "dash", "code": "echo once"}, {"Idempotency-Key": "once"}
        try:
            answer = farm.post("/execute/async", body, headers=name, timeout=30)
            assert is_clean_503(answer), answer.text
            began = time.monotonic()
            answer = farm.post("/execute/async", {"language": "dash", "code": "true"}, timeout=30)
            assert is_clean_503(answer), answer.text
            assert time.monotonic() - began < 3  # known to be away: at once
            assert farm.get("/health", sign=False).status_code == 200
            assert farm.get("/ready", sign=False).status_code == 503
        finally:
            farm.redis_proc.send_signal(signal.SIGCONT)
        waiting.join()
        assert waited[0].status_code == 200 and waited[0].json()["stdout"] == "held\n"
        assert waited[0].elapsed.total_seconds() < 45  # not when its time was over
        # Redis read the refused call and ran it: who asks again with the same key gets that job.
        wait_for("Redis to do what it was asked", lambda: farm.redis("GET", "{unfarm}:seq") == "3")
        farm.wait_ready()
        answer = farm.post("/execute/async", body, headers=name)
        assert answer.headers["Idempotent-Replayed"] == "true", answer.text
        assert farm.wait_job(answer.json()["job_id"])["stdout"] == "once\n"
        assert farm.run("dash", "echo well")["stdout"] == "well\n"
        assert daemons(farm) == before


def test_redis_out_of_memory_takes_no_more_jobs_and_finishes_those_it_has():
    conf = {"job": {"lease_seconds": 2}, "worker": {"processes": 1, "slots": 2}}
    with Farm(languages=LANGUAGES, conf=conf) as farm:
        farm.wait_languages(*LANGUAGES)
        jobs = [farm.submit("dash", f"sleep 4; echo {n}") for n in range(4)]  # two wait for a slot
        wait_for("two to run", lambda: sum(running(farm, j) for j in jobs) == 2)
        farm.redis("CONFIG", "SET", "maxmemory", 1)
        answer = farm.post("/execute/async", {"language": "dash", "code": "true"})
        assert is_clean_503(answer), answer.text
        assert answer.json()["message"] == "redis: OOM command not allowed when used memory > 'maxmemory'."
        answer = farm.post("/execute", {"language": "dash", "code": "true"})
        assert is_clean_503(answer), answer.text

        def ended():
            jobs_now = [farm.get(f"/jobs/{j}").json() for j in jobs]
            return jobs_now if all(j["status"] == "completed" for j in jobs_now) else None

        # Leases are renewed and results stored: memory that Redis needs to get rid of jobs it has.
        got = wait_for("what was accepted to end", ended, 40)
        assert [(j["stdout"], j["attempts"]) for j in got] == [(f"{n}\n", 1) for n in range(4)]
        assert farm.get("/ready", sign=False).status_code == 200
        farm.redis("CONFIG", "SET", "maxmemory", 0)
        assert farm.run("dash", "echo well")["stdout"] == "well\n"


@contextlib.contextmanager
def redis_on_a_small_disk(fsync):
    with Farm(languages=LANGUAGES, conf={"job": {"lease_seconds": 2}}, disks={"redis": "4m"},
              redis=["--appendfsync", fsync]) as farm:
        farm.wait_languages(*LANGUAGES)
        yield farm


def test_disk_of_redis_full_is_refused_until_there_is_room():
    """appendfsync everysec: Redis lives on, and refuses to write."""
    with redis_on_a_small_disk("everysec") as farm:
        before = daemons(farm)
        done = farm.run("dash", "echo before")["id"]
        jobs = [farm.submit("dash", f"sleep 3; echo {n}") for n in range(3)]
        wait_for("them to run", lambda: all(running(farm, j) for j in jobs))
        ballast = farm.fill("redis")
        seen = []

        def refused():
            seen.append(farm.post("/execute/async", {"language": "dash", "code": "echo filler " + "x" * 8000}))
            return seen[-1].status_code != 200

        wait_for("the disk to be full", refused, 20)
        assert is_clean_503(seen[-1]), seen[-1].text
        wait_for("Redis to say why", lambda: "MISCONF" in farm.log("gateway"), 10)
        assert farm.get(f"/jobs/{done}").json()["stdout"] == "before\n"  # reading goes on
        wait_for("leases to run out", lambda: "lease is over" in farm.log("worker"), 15)
        ballast.unlink()
        job = submit_until_accepted(farm, "echo after")
        assert farm.wait_job(job)["stdout"] == "after\n"
        accepted = [a.json()["job_id"] for a in seen if a.status_code == 200]
        assert [farm.wait_job(j)["stdout"] for j in jobs] == [f"{n}\n" for n in range(3)]
        assert all(farm.wait_job(j)["stdout"].startswith("filler") for j in accepted)
        assert daemons(farm) == before


def test_disk_full_ends_a_redis_that_writes_always_and_it_comes_back_whole():
    """appendfsync always: Redis does not acknowledge what it cannot write, it ends."""
    with redis_on_a_small_disk("always") as farm:
        jobs = [farm.submit("dash", f"sleep 1; echo {n}") for n in range(5)]
        ballast = farm.fill("redis")
        wait_for("Redis to end", lambda: farm.redis_proc.poll() is not None, 20)
        answer = farm.post("/execute/async", {"language": "dash", "code": "true"})
        assert is_clean_503(answer), answer.text
        ballast.unlink()
        farm.start_redis()
        farm.wait_ready()
        assert [farm.wait_job(j)["stdout"] for j in jobs] == [f"{n}\n" for n in range(5)]
