"""Many jobs, many clients, and workers that are killed at random."""

import concurrent.futures
import os
import random
import signal
import threading
import time

import pytest
import requests
from farm import Farm, wait_for

JOBS = 2000
CLIENTS = 32
KILLS = 12


@pytest.fixture(scope="module")
def farm():
    with Farm(languages=["bash"], conf={"job": {"max_attempts": 20}, "worker": {"slots": 32}}) as started:
        started.wait_languages("bash")
        yield started


def killer(farm, stop):
    """SIGKILL to one worker process after the other, while jobs run."""
    rng = random.Random(7)
    killed = 0
    while not stop.is_set() and killed < KILLS:
        time.sleep(rng.uniform(0.3, 0.9))
        for pid in rng.sample(farm.workers(), k=min(1, len(farm.workers()))):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def client(farm, numbers):
    """Submits its jobs, then polls each to its end, as an agent would."""
    with requests.Session() as session:
        ids = {}
        for n in numbers:
            code = f"sleep 0.0{n % 5}; echo {n} $(({n} * {n}))"
            answer = farm.post("/execute/async", {"language": "bash", "code": code}, session=session)
            assert answer.status_code == 200, answer.text
            ids[n] = answer.json()["job_id"]
        ended = {}
        deadline = time.monotonic() + 240
        for n, job_id in ids.items():
            while True:
                job = farm.get(f"/jobs/{job_id}?wait=10", session=session).json()
                if job["status"] not in ("pending", "running"):
                    break
                assert time.monotonic() < deadline, f"job {n} is still {job['status']}"
            ended[n] = job
        return ended


def test_two_thousand_jobs_survive_random_kills(farm):
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS + 1) as pool:
        kills = pool.submit(killer, farm, stop)
        shares = [pool.submit(client, farm, range(c, JOBS, CLIENTS)) for c in range(CLIENTS)]
        ended = {n: job for share in shares for n, job in share.result().items()}
        stop.set()
    assert kills.result() >= 3, "the jobs were over before anything was killed"
    assert len(ended) == JOBS and len({job["id"] for job in ended.values()}) == JOBS
    wrong = {n: job for n, job in ended.items()
             if job["status"] != "completed" or job["stdout"] != f"{n} {n * n}\n"}
    assert wrong == {}
    # Exactly one final state each: reading again gives the same end.
    for n in random.Random(1).sample(range(JOBS), 50):
        again = farm.get(f"/jobs/{ended[n]['id']}").json()
        assert (again["status"], again["stdout"], again["completed_at"]) == (
            ended[n]["status"], ended[n]["stdout"], ended[n]["completed_at"])


def test_the_books_are_balanced_afterwards(farm):
    stats = dict(zip(*[iter(farm.redis("HGETALL", "{unfarm}:stats").split("\n"))] * 2))
    assert int(stats["waiting"]) == 0
    assert int(stats["ended_completed"]) == JOBS == int(farm.redis("GET", "{unfarm}:seq"))
    left = [k for k in farm.keys() if k.startswith(("wait:", "leases", "delayed"))]
    assert left == []


def test_no_sandbox_is_left_of_a_killed_worker(farm):
    def settled():
        workers = farm.workers()
        return len(workers) == (os.cpu_count() or 1) and farm.get("/ready", sign=False).status_code == 200

    wait_for("the workers to be back", settled)
    assert farm.run("bash", "echo fine")["stdout"] == "fine\n"
    wait_for("the old sandboxes to be gone", lambda: len(farm.inits()) <= 32 + 8 * (os.cpu_count() or 1), 20)
