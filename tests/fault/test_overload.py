"""Twenty times more work than the farm can do, by one key and by fifty.

A quarter of a minute each; SOAK=1 makes it the whole minute.
"""

import asyncio
import collections
import contextlib
import itertools
import json
import os
import pathlib
import re
import time

import pytest
from farm import BUILD, Farm, wait_for

SECONDS = 60 if os.environ.get("SOAK") else 15
TIMES = 20
SLOTS = 3
CONNECTIONS = 24
LANGUAGES = ["dash"]
# Long enough that the queue would be seen in Redis's memory if it grew without bound.
BODY = json.dumps({"language": "dash", "code": "sleep 0.25 #" + "x" * 16384}).encode()
GROWTH_MB = 400 if "asan" in str(BUILD) else 32
NO_LIMIT = dict(rate=1_000_000, burst=1_000_000)


async def post(farm, reader, writer, key):
    """POST /execute/async on a connection that stays: status, headers, body."""
    head = farm.sign("POST", "/execute/async", BODY, key)
    head.update({"Host": "farm", "Content-Length": str(len(BODY))})
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"POST /execute/async HTTP/1.1\r\n{lines}\r\n".encode() + BODY)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = int(answer.split()[1])
    headers = dict(re.findall(r"^([\w-]+): (.*)\r$", answer, re.M))
    return status, headers, json.loads(await reader.readexactly(int(headers["Content-Length"])))


async def offer(farm, keys, per_second, seconds, aside):
    """Sends in an even rhythm, in turn for each key; aside() runs meanwhile.  Every answer."""
    answers, numbers, began = [], itertools.count(), time.monotonic()
    last = int(per_second * seconds)

    async def connection():
        reader, writer = await asyncio.open_connection("127.0.0.1", farm.port)
        while (n := next(numbers)) < last:
            await asyncio.sleep(max(0, began + n / per_second - time.monotonic()))
            answers.append(await post(farm, reader, writer, keys[n % len(keys)]))
        writer.close()

    over = asyncio.Event()
    helper = asyncio.create_task(aside(over))
    await asyncio.gather(*[connection() for _ in range(CONNECTIONS)])
    took = time.monotonic() - began
    over.set()
    await helper
    return answers, took


def capacity(farm):
    """Jobs a second, by Redis's own clock."""
    key = farm.new_key(concurrency=100, **NO_LIMIT)
    jobs = [farm.post("/execute/async", BODY, key=key).json()["job_id"] for _ in range(6 * SLOTS)]
    times = wait_for("them to end", lambda: all_ended(farm, jobs), 60, 0.1)
    return len(jobs) / (max(t["finished"] for t in times.values()) - min(t["started"] for t in times.values())) * 1000


def times_of(farm, jobs):
    """created, started, finished of each, in ms of Redis's clock; 0: not yet."""
    fields = ("created", "started", "finished")
    ask = ("local out = {} for i, id in ipairs(ARGV) do "
           "out[i] = table.concat({redis.call('HGET', '{unfarm}:job:' .. id, 'state') or 'gone', "
           + ", ".join(f"redis.call('HGET', '{{unfarm}}:job:' .. id, '{f}') or 0" for f in fields)
           + "}, ' ') end return out")
    rows = [row.split() for row in farm.redis("EVAL", ask, 0, *jobs).split("\n")]
    return {job: dict(zip(fields, map(int, row[1:])), state=row[0]) for job, row in zip(jobs, rows)}


def all_ended(farm, jobs):
    times = times_of(farm, jobs)
    return times if all(t["finished"] for t in times.values()) else None


def memory_mb(farm):
    """Resident memory of each daemon, and what Redis uses."""
    pids = {name: proc.pid for name, proc in farm.procs.items()}
    pids.update({f"worker {pid}": pid for pid in farm.workers()})
    found = {}
    for name, pid in pids.items():
        with contextlib.suppress(FileNotFoundError):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found[name] = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    found["redis"] = int(re.search(r"used_memory:(\d+)", farm.redis("INFO", "memory"))[1]) / 1048576
    return found


def overload(farm, keys):
    """Offers it all, and the single jobs of three other keys; checks what must always hold."""
    per_second = TIMES * capacity(farm)
    others = [farm.new_key() for _ in range(3)]
    before, most, lights = memory_mb(farm), collections.Counter(), []

    async def aside(over):
        light_at = [time.monotonic() + SECONDS * part for part in (0.4, 0.6, 0.8)]
        while not over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), 0.5)
            for name, mb in (await asyncio.to_thread(memory_mb, farm)).items():
                most[name] = max(most[name], mb)
            if light_at and time.monotonic() > light_at[0]:
                light_at.pop(0)
                reader, writer = await asyncio.open_connection("127.0.0.1", farm.port)
                status, _, body = await post(farm, reader, writer, others[len(lights)])
                writer.close()
                assert status == 200, body  # others' load is no reason to refuse this key
                lights.append(body["job_id"])

    answers, took = asyncio.run(offer(farm, keys, per_second, SECONDS, aside))
    assert len(answers) / took > per_second / 2, "this machine cannot offer that much: the test says nothing"

    statuses = collections.Counter(status for status, _, _ in answers)
    assert set(statuses) == {200, 429}, statuses
    assert statuses[429] > len(answers) / 2, statuses
    for status, headers, body in answers:
        if status == 429:
            assert int(headers["Retry-After"]) >= 1
            assert body["code"] in ("RATE_LIMIT_EXCEEDED", "CONCURRENCY_LIMIT_REACHED")

    accepted = [body["job_id"] for status, _, body in answers if status == 200]
    times = wait_for("what was accepted to end", lambda: all_ended(farm, accepted + lights), 120, 0.2)
    assert {t["state"] for t in times.values()} == {"completed"}
    grown = {name: round(mb - before[name], 1) for name, mb in most.items() if name in before}
    assert all(mb < GROWTH_MB for mb in grown.values()) and len(grown) >= 5, grown
    assert len(lights) == 3
    return times, lights


def starts_before(times, job):
    """Jobs of others that were started after this one came and before it was started."""
    came, began = times[job]["created"], times[job]["started"]
    return sum(came < t["started"] < began for j, t in times.items() if j != job)


def waiting_at(times, job):
    """Jobs of others that waited already when this one came."""
    came = times[job]["created"]
    return sum(t["created"] < came < t["started"] for j, t in times.items() if j != job)


@pytest.fixture
def farm():
    conf = {"worker": {"processes": 1, "slots": SLOTS}}
    with Farm(languages=LANGUAGES, conf=conf) as started:
        started.wait_languages(*LANGUAGES)
        yield started


def test_one_key_offers_twenty_times_too_much(farm):
    heavy = farm.new_key(concurrency=20, queue=40, **NO_LIMIT)
    times, lights = overload(farm, [heavy])
    # A round is one job of each key that waits: the heavy one's, and then ours.
    assert max(starts_before(times, job) for job in lights) <= 1
    assert min(waiting_at(times, job) for job in lights) > 20  # it went before these


def test_fifty_keys_offer_twenty_times_too_much(farm):
    heavy = [farm.new_key(concurrency=1, queue=1, rate=240, burst=5) for _ in range(50)]
    times, lights = overload(farm, heavy)
    assert max(starts_before(times, job) for job in lights) <= 50 + 2  # the other single ones
    assert min(waiting_at(times, job) for job in lights) > 60  # of some 97
