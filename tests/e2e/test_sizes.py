"""What large input and output cost, and that every byte of it arrives.

Bounds are processor time and memory of the daemons beside what the same bytes
cost here, so a busy machine moves both.
"""

import base64
import json
import pathlib
import random
import statistics
import threading
import time

import pytest
from farm import BUILD, Farm, wait_for

KB, MB = 1 << 10, 1 << 20
# What a sanitizer or valgrind adds to each byte is not ours.
plain_build = pytest.mark.skipif(BUILD.name != "debug", reason="measures the programs as they are installed")


@pytest.fixture(scope="module")
def farm():
    with Farm(conf={"job": {"output_kb": 32 * KB, "artifacts_kb": 32 * KB}}, languages=["bash", "dash"]) as f:
        f.wait_languages("bash")
        yield f


def pattern(n):
    """n bytes in which each place of a block differs from that of the next."""
    return bytes((i * 7 + i // 251) % 256 for i in range(n))


def text(n, unit):
    return (unit * (n // len(unit) + 1))[:n].decode(errors="ignore").encode()


CONTENTS = {
    "nothing": b"",
    "one byte": b"x",
    "NULs": bytes(5000),
    "a page less one": pattern(4095),
    "a page": text(4096, b"abcdefg\n"),
    "a pipe less one": text(65535, b"0123456789"),
    "a pipe": pattern(65536),
    "a pipe and one": text(65537, b"line of text\n"),
    "the largest that scripts hand on": text(64 * KB - 400, b"x"),
    # 3 bytes a character, none of whose multiples is a power of two: characters
    # lie across the ends of all reads and blocks.
    "wide characters": text(300_000, "€".encode()),
    "wider characters": text(300_001, "x😀".encode()),
    "escapes": text(200_000, b'"\\\n\t\x01\x7f'),
    "backslash at the end": b"x" * 70_000 + b"\\",
    "half a character at the end": b"x" * 65_535 + b"\xe2\x82",
    "a bad byte at the end of a read": b"x" * 65_535 + b"\xff" + b"y" * 100_000,
    "bytes": pattern(1 * MB),
}


def exact(answer, name):
    if f"{name}_base64" in answer:
        return base64.b64decode(answer[f"{name}_base64"])
    return answer[name].encode()


@pytest.mark.parametrize("name", CONTENTS)
def test_every_byte_arrives(farm, name):
    """A file in, to both streams, by the way of standard input, and a file out."""
    content = CONTENTS[name]
    sent = base64.b64encode(content).decode()
    answer = farm.run("dash", "cat f; cat >&2; mkdir -p artifacts; cp f artifacts/out", return_artifact=True,
                      stdin_base64=sent, input_files=[{"filename": "f", "content_base64": sent}])  # fmt: skip
    assert exact(answer, "stdout") == content
    assert exact(answer, "stderr") == content
    assert answer["stdout"] == content.decode(errors="replace") or "stdout_base64" in answer
    assert answer["output"] == answer["stdout"] + answer["stderr"]
    assert (answer["stdout_bytes"], answer["stdout_truncated"]) == (len(content), False)
    assert base64.b64decode(answer["artifacts"][0]["content_base64"]) == content
    again = farm.get(f"/jobs/{answer['job_id']}").json()
    assert exact(again, "stdout") == content and again["result"]["stdout"] == answer["stdout"]


def test_a_large_result_is_in_every_shape_of_a_job(farm):
    job = farm.submit("bash", "head -c 300000 /dev/zero | tr '\\0' x")
    ended = farm.wait_job(job)
    assert ended["stdout"] == ended["result"]["stdout"] == ended["output"] == "x" * 300_000
    listed = farm.get("/jobs").text
    assert job in listed and "xxx" not in listed
    assert farm.delete(f"/jobs/{job}").json()["stdout"] == "x" * 300_000


# ---- what it costs ----


def cpu_s(farm):
    """Of the gateway and the worker processes so far."""
    total = 0
    for pid in [*farm.gateways(), *farm.workers()]:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def spent(farm, run, times=3):
    """The daemons' processor time of run(), the median."""
    found = []
    for _ in range(times):
        before = cpu_s(farm)
        run()
        found.append(cpu_s(farm) - before)
    return statistics.median(found)


def own_cpu(work, times=5):
    found = []
    for _ in range(times):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return statistics.median(found)


def post(farm, body):
    answer = farm.post("/execute", body)
    assert answer.status_code == 200 and b'"success":true' in answer.content[:300], answer.content[:300]


def output_job(n):
    return json.dumps({"language": "bash", "code": f"yes 'a line of output, not a long one' | head -c {n}"})


def files_job(n):
    half = base64.b64encode(pattern(n // 2)).decode()
    return json.dumps({"language": "bash", "code": "[ -s f1 ]",
                       "input_files": [{"filename": f"f{i}", "content_base64": half} for i in range(2)]})  # fmt: skip


@plain_build
@pytest.mark.parametrize("job,parses", [(output_job, 10), (files_job, 18)])
def test_cost_is_linear_and_near_that_of_a_few_parses(farm, job, parses):
    small, large = job(1 * MB), job(8 * MB)
    post(farm, small)
    cost = {1: spent(farm, lambda: post(farm, small)), 8: spent(farm, lambda: post(farm, large))}
    assert cost[8] < 14 * cost[1], cost
    # Python's parser of JSON goes over each byte once, and quickly.
    document = json.dumps({"x": "a line of output, not a long one\n" * (8 * MB // 33)})
    one = own_cpu(lambda: json.loads(document))
    assert cost[8] < parses * one, (cost, one)


# ---- what it takes of memory ----


def status_kb(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise AssertionError(name)


def daemons(farm):
    return {"gateway": farm.gateways(), "worker": farm.workers()}


@plain_build
@pytest.mark.parametrize("job,copies", [(output_job, 3.8), (files_job, 5.4)])
def test_a_few_copies_at_a_time_and_none_afterwards(farm, job, copies):
    size = 8 * MB
    body = job(size)
    post(farm, body)
    rest = {pid: status_kb(pid, "VmRSS:") for pids in daemons(farm).values() for pid in pids}
    for pid in rest:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM counts from here
    post(farm, body)
    for name, pids in daemons(farm).items():
        peak = max(status_kb(pid, "VmHWM:") - rest[pid] for pid in pids)
        assert peak * KB < copies * size, (name, peak)
    for _ in range(50):
        post(farm, job(256 * KB))

    def given_back():
        post(farm, output_job(1))  # hiredis lets its buffer go with the next answer
        return all(status_kb(pid, "VmRSS:") < rest[pid] + 4 * KB for pid in rest)

    wait_for("the memory to be given back", given_back, 20, 0.2)


def test_many_large_jobs_at_once(farm):
    """More than the sockets and pools hold at a time, with small ones between."""
    jobs = []
    for i in range(12):
        jobs.append((farm.submit("dash", f"yes {i} | head -c {1 + i % 3 * MB}"), str(i), 1 + i % 3 * MB))
    for job, word, n in jobs:
        assert farm.wait_job(job)["stdout"] == (f"{word}\n" * n)[:n]


def test_a_lost_connection_cuts_no_large_result(farm):
    """It is read in two steps, with the connection to Redis gone at any moment."""
    job = farm.submit("dash", "yes 'a line' | head -c 3000000")
    whole = farm.wait_job(job)
    seen, stop = [], threading.Event()

    def disturb():
        while not stop.wait(random.uniform(0.001, 0.06)):
            farm.redis("CLIENT", "KILL", "TYPE", "normal")

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (len(seen) < 60 or len(set(seen)) < 2):
            answer = farm.get(f"/jobs/{job}")
            seen.append(answer.status_code)
            assert answer.status_code == 503 or answer.json() == whole, answer.text[:300]
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {200, 503}
    wait_for("the gateway's connection", lambda: farm.get(f"/jobs/{job}").status_code == 200)
    wait_for("the worker's", lambda: farm.run("dash", "echo 1")["stdout"] == "1\n")


def test_redis_is_not_held_up_by_reading_large_results(farm):
    """The slowest script that reads: a few ms, as it never has the payload."""
    job = farm.submit("bash", f"head -c {8 * MB} /dev/zero | tr '\\0' x")
    farm.wait_job(job)
    farm.redis("CONFIG", "SET", "slowlog-log-slower-than", "0")
    farm.redis("CONFIG", "SET", "slowlog-max-len", "1000")
    farm.redis("SLOWLOG", "RESET")
    for _ in range(3):
        assert len(farm.get(f"/jobs/{job}").content) > 16 * MB
    farm.redis("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    lines = farm.redis("SLOWLOG", "GET", "1000").split("\n")
    gets = [int(lines[i - 1]) for i, line in enumerate(lines) if line == "GET" and f"body:{job}" in lines[i + 1]]
    scripts = [int(lines[i - 1]) for i, line in enumerate(lines) if line == "EVALSHA" and job in lines[i + 4]]
    assert len(gets) == 3 and len(scripts) == 6, (gets, scripts)
    assert 4 * statistics.median(scripts) < statistics.median(gets), (gets, scripts)
