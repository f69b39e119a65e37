"""The Redis protocol, end to end: the real scripts on a real server.

Starts a private redis-server on a Unix socket, speaks RESP to it directly and
runs conf/redis/*.lua as the daemons do (prelude in front).  After every step
the books must balance: see Farm.check().  Then the real scheduler, twice, and
the operator's command.
"""
import json
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import time

import pytest
from farm import redis_script

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build/debug")
LUA = ROOT / "conf" / "redis"
P = "{unfarm}:"
RESULT_MS = 60_000
WAIT_MS = 3_600_000
PK = "unsb-pk-test-0000-0000-0001"


class RedisError(Exception):
    pass


class Redis:
    """Just enough RESP2."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")

    @staticmethod
    def pack(args):
        out = [b"*%d\r\n" % len(args)]
        for a in args:
            if not isinstance(a, bytes):
                a = str(a).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(a), a))
        return b"".join(out)

    def read(self):
        line = self.file.readline()
        assert line, "redis went away"
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        if kind == b"$":
            return self.file.read(n + 2)[:-2].decode("utf-8", "surrogateescape")
        return [self.read() for _ in range(n)]

    def __call__(self, *args):
        self.sock.sendall(self.pack(args))
        r = self.read()
        if isinstance(r, RedisError):
            raise r
        return r

    def pipeline(self, commands):
        answers, commands = [], list(commands)
        for i in range(0, len(commands), 500):  # neither side's buffer fills up
            part = commands[i:i + 500]
            self.sock.sendall(b"".join(self.pack(c) for c in part))
            answers += [self.read() for _ in part]
        return answers

    def close(self):
        self.file.close()
        self.sock.close()


def wait_for(what, seconds=5.0):
    """The value of what() once it is true; fails at the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


class Farm:
    """The scripts as functions, and the books they keep."""

    def __init__(self, redis):
        self.r = redis
        self.sha = {}
        for f in LUA.glob("[a-z]*.lua"):
            self.sha[f.stem] = redis("SCRIPT", "LOAD", redis_script(f.stem))
        self.n = 0

    def run(self, script, *args):
        r = self.r("EVALSHA", self.sha[script], 1, P, *args)
        self.check()
        return r

    def key(self, pk=PK, concurrency=5):
        self.r("HSET", P + "key:" + pk, "secret", "x", "concurrency", concurrency)
        self.r("SADD", P + "keys", pk)

    def new_id(self):
        self.n += 1
        return "job_%013d_%018x" % (self.n, self.n)

    def enqueue_args(self, id, pk=PK, cls="python:1", rate=6_000_000,
                     burst=100_000, concurrency=5, queue=1_000_000, idem="",
                     hash="h", channel="", spec=None):
        return [id, pk, cls, cls.split(":")[0], "zerotrust", spec or "spec of " + id,
                rate, burst, concurrency, queue, idem, hash, 60_000, channel, ""]

    def enqueue(self, pk=PK, id=None, **how):
        return self.run("enqueue", *self.enqueue_args(id or self.new_id(), pk, **how))

    def submit(self, pk=PK, **how):
        """The id of a job that was admitted."""
        word, id = self.enqueue(pk, **how)[:2]
        assert word == "ok"
        return id

    def submit_many(self, n, pk=PK, **how):
        ids = [self.new_id() for _ in range(n)]
        answers = self.r.pipeline(
            ["EVALSHA", self.sha["enqueue"], 1, P, *self.enqueue_args(i, pk, **how)]
            for i in ids)
        assert all(a[0] == "ok" for a in answers)
        self.check()
        return ids

    def beat(self, worker, *langs, ttl=30_000):
        self.run("beat", worker, ttl, json.dumps({"node": "n1", "slots": 4}),
                 *(langs or ("python",)))

    def take(self, worker="w1", count=1, vcpu=8, lease=15_000):
        return self.run("take", worker, "node1", vcpu, count, lease)

    def finish(self, id, lease, status="completed", reason="exited"):
        return self.run("finish", id, lease, status, reason, "", '{"x":1}', RESULT_MS)

    def cancel(self, id, pk=PK, channel=""):
        return self.run("cancel", id, pk, RESULT_MS, channel)

    def lead(self, who="s1", ms=60_000):
        leads, now = self.run("lead", who, ms)
        assert abs(now - self.now()) < 60_000
        return leads

    def now(self):
        seconds, us = self.r("TIME")
        return int(seconds) * 1000 + int(us) // 1000

    def repair_all(self, who="s1", batch=500, attempts=5, base=1000, longest=WAIT_MS,
                   lease=15_000, expected=""):
        return self.run("repair", who, batch, attempts, RESULT_MS, base, longest, lease, expected)

    def repair(self, *args, **how):
        answer = self.repair_all(*args, **how)
        assert answer is None or answer[4] == 0, "nobody set the clock"
        return answer and answer[:3]

    def job(self, id):
        return pairs(self.r("HGETALL", P + "job:" + id))

    def state(self, id):
        return self.r("HGET", P + "job:" + id, "state")

    def stat(self, name):
        if name == "submitted":  # each admitted job has a number
            return int(self.r("GET", P + "seq") or 0)
        return int(self.r("HGET", P + "stats", name) or 0)

    def expire_lease(self, id):
        """As if the lease had run out."""
        assert self.r("ZADD", P + "leases", "XX", "CH", 1, id) == 1

    def end_delays(self):
        for id in self.r("ZRANGE", P + "delayed", 0, -1):
            self.r("ZADD", P + "delayed", 1, id)

    def check(self):
        """What must hold between any two calls."""
        r = self.r
        states = {}
        names = r("KEYS", P + "job:*")
        for k, flat in zip(names, r.pipeline(["HGETALL", k] for k in names)):
            states[k[len(P + "job:"):]] = pairs(flat)
        pending = {i for i, j in states.items() if j["state"] == "pending"}
        running = {i for i, j in states.items() if j["state"] == "running"}

        books = {k[len(P + "book:"):]: pairs(r("HGETALL", k)) for k in r("KEYS", P + "book:*")}
        queued, heads = [], {pk: {} for pk in books}
        lists = r("KEYS", P + "wait:*")
        for k in lists:
            pk, cls = k[len(P + "wait:"):].split(":", 1)
            entries = r("LRANGE", k, 0, -1)
            ids = [e.split(":", 1)[1] for e in entries]
            queued += [i for i in ids if i in pending]
            assert all(states[i]["pk"] == pk and states[i]["class"] == cls
                       for i in ids if i in states)
            heads[pk][cls] = entries[0].split(":")[0]
        for pk, b in books.items():
            assert pairs(b["heads"].split()) == heads[pk], "the book has other lists"
        delayed = r("ZRANGE", P + "delayed", 0, -1)
        assert len(queued) == len(set(queued)), "a job stands in a list twice"
        assert not set(queued) & set(delayed), "a job is queued and delayed"
        assert set(queued) | set(delayed) == pending, "a pending job is nowhere"
        assert self.stat("waiting") == len(pending)
        assert sum(int(b["waiting"]) for b in books.values()) == len(pending)
        for pk, b in books.items():
            assert int(b["waiting"]) == sum(1 for i in pending if states[i]["pk"] == pk)
            assert int(b.get("running", 0)) == sum(1 for i in running if states[i]["pk"] == pk)
        assert set(books) == set(r("SMEMBERS", P + "active")), "books are of active keys"

        leases = set(r("ZRANGE", P + "leases", 0, -1))
        assert leases == running
        assert sum(int(b.get("running", 0)) for b in books.values()) == len(running)

        ring = r("LRANGE", P + "ring", 0, -1)
        assert set(ring) == {pk for pk, b in books.items() if b["ring"] == "1"}, "ring and books differ"
        assert len(ring) == len(set(ring)), "a key stands in the ring twice"
        for pk in {states[i]["pk"] for i in queued}:
            limit = int(r("HGET", P + "key:" + pk, "concurrency") or 1)
            assert int(books[pk]["limit"]) == limit
            if int(books[pk].get("running", 0)) < limit:
                assert pk in ring, "a key that could run waits outside the ring"
        live = pending | running
        bodies = r.pipeline(["PTTL", P + "body:" + i] for i in states)
        ttls = r.pipeline(["PTTL", P + "job:" + i] for i in states)
        for i, body, ttl in zip(states, bodies, ttls):
            assert (body == -1) == (i in live), "specs live as long as their jobs"
            assert (ttl == -1) == (i in live), "final jobs expire, others do not"

    def all_quiet(self):
        assert self.stat("waiting") == 0
        for k in "leases", "delayed":
            assert self.r("ZCARD", P + k) == 0
        assert all(self.r("HGET", k, "running") in (None, "0") for k in self.r("KEYS", P + "book:*"))


def reachable(folder):
    """Daemons run as other accounts."""
    for d in (folder, *folder.parents):
        if d.stat().st_uid == os.getuid() and d.name.startswith(("pytest", "redis", "test")):
            d.chmod(d.stat().st_mode | 0o011)
    return folder


class Server:
    def __init__(self, folder):
        self.folder = str(folder)
        self.path = self.folder + "/redis.sock"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path,
             "--unixsocketperm", "777", "--save", "", "--appendonly", "no",
             "--dir", self.folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            try:
                c = Redis(self.path)
                ok = c("PING") == "PONG"
                c.close()
                return ok
            except OSError:
                return False
        wait_for(up)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
        self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(reachable(tmp_path_factory.mktemp("redis")))
    s.start()
    yield s
    s.stop()


@pytest.fixture
def redis(server):
    c = Redis(server.path)
    c("FLUSHALL")
    yield c
    c.close()


@pytest.fixture
def farm(redis):
    f = Farm(redis)
    f.key()
    f.beat("w1", "python")
    return f


# ---- a job's path ----

def test_a_job_is_taken_with_its_spec_and_finished(farm):
    id = farm.submit()
    assert farm.state(id) == "pending"
    (took,) = farm.take()
    assert took[0] == id and took[2:] == [PK, "spec of " + id, 1]
    assert farm.state(id) == "running"
    assert farm.finish(id, took[1]) == 1
    j = farm.job(id)
    assert (j["state"], j["reason"]) == ("completed", "exited")
    assert int(j["created"]) <= int(j["started"]) <= int(j["finished"])
    assert farm.stat("ended_completed") == farm.stat("submitted") == 1
    farm.all_quiet()


def test_a_result_expires_with_its_job(farm):
    id = farm.submit()
    ((_, lease, *_),) = farm.take()
    farm.finish(id, lease)
    for k in "job:", "body:":
        assert RESULT_MS - 5000 < farm.r("PTTL", P + k + id) <= RESULT_MS
    fields, result = farm.run("read", id, PK, "")
    assert pairs(fields)["state"] == "completed" and result == '{"x":1}'


def test_large_bodies_do_not_pass_through_take_and_read(farm):
    for n, large in ((65536, False), (65537, True), (1 << 20, True)):
        spec, result = "s" * n, "r" * n
        id = farm.new_id()
        args = farm.enqueue_args(id, PK)
        assert farm.run("enqueue", *args[:5], spec, *args[6:])[0] == "ok"
        ((_, lease, _, took, _),) = farm.take()
        assert took == (1 if large else spec)
        assert farm.r("GET", P + "body:" + id) == spec
        assert farm.run("finish", id, lease, "completed", "exited", "", result, RESULT_MS) == 1
        assert farm.run("read", id, PK, "")[1] == (1 if large else result)
        assert farm.r("GET", P + "body:" + id) == result


def test_an_unknown_job_and_one_of_another_key_read_alike(farm):
    id = farm.submit()
    assert farm.run("read", id, "unsb-pk-other", "") is None
    assert farm.run("read", "job_0", PK, "") is None
    assert farm.cancel(id, "unsb-pk-other") == "none"
    assert farm.state(id) == "pending"


def test_a_job_is_finished_once(farm):
    id = farm.submit()
    ((_, lease, *_),) = farm.take()
    assert farm.finish(id, lease) == 1
    before = farm.job(id)
    assert farm.finish(id, lease, "failed", "unstartable") == 0
    assert farm.job(id) == before


def test_taking_from_an_empty_farm_gives_nothing(farm):
    assert farm.take(count=10) == []


def test_jobs_of_a_key_start_in_order(farm):
    farm.key(concurrency=100)
    ids = farm.submit_many(20)
    assert [t[0] for t in farm.take(count=20)] == ids


def test_the_newest_jobs_are_listed_first(farm):
    a = farm.submit()
    time.sleep(0.002)
    b = farm.submit()
    assert [j[0] for j in farm.run("list", PK, 10)] == [b, a]
    assert [j[0] for j in farm.run("list", PK, 1)] == [b]


# ---- admission ----

def test_the_same_request_twice_is_one_job(farm):
    id = farm.submit(idem="k1", hash="h1")
    assert farm.enqueue(idem="k1", hash="h1")[:2] == ["same", id]
    assert farm.enqueue(idem="k1", hash="h2")[:2] == ["differs", id]
    assert farm.enqueue(pk="unsb-pk-b", idem="k1", hash="h2")[0] == "ok"
    assert farm.stat("submitted") == 2


def test_an_idempotency_key_outlived_by_nothing_is_free_again(farm):
    id = farm.submit(idem="k1")
    farm.cancel(id)
    assert farm.enqueue(idem="k1")[:2] == ["same", id]
    farm.r("DEL", P + "job:" + id)
    assert farm.enqueue(idem="k1")[0] == "ok"


def test_burst_then_rate(farm):
    how = dict(rate=60, burst=3)
    assert [farm.enqueue(**how)[0] for _ in range(4)] == ["ok", "ok", "ok", "rate"]
    word, _, left, wait, active, _ = farm.enqueue(**how)
    assert (word, left, active) == ("rate", 0, 3) and 0 < wait <= 1000
    # A second ago is one token more.
    at = int(farm.r("HGET", P + "book:" + PK, "at"))
    farm.r("HSET", P + "book:" + PK, "at", at - 1000)
    assert [farm.enqueue(**how)[0] for _ in range(2)] == ["ok", "rate"]


def test_a_clock_that_was_set_back_takes_no_tokens(farm):
    farm.submit(rate=60, burst=10)
    at = int(farm.r("HGET", P + "book:" + PK, "at"))
    farm.r("HSET", P + "book:" + PK, "at", at + 3_600_000)
    assert farm.enqueue(rate=60, burst=10)[:3:2] == ["ok", 8]


def test_a_clock_that_was_set_back_fills_the_bucket_again(farm):
    how = dict(rate=6000, burst=1)
    farm.submit(**how)
    farm.r("HINCRBY", P + "book:" + PK, "at", 3_600_000)
    wait_for(lambda: farm.enqueue(**how)[0] == "ok", 2)


def test_the_queue_has_a_limit(farm):
    how = dict(concurrency=2, queue=3)
    farm.key(concurrency=2)
    assert [farm.enqueue(**how)[0] for _ in range(6)] == ["ok"] * 5 + ["busy"]
    farm.take(count=5)  # two run, three wait: still full
    assert farm.enqueue(**how)[::4] == ["busy", 5]
    farm.cancel(farm.run("list", PK, 1)[0][0])
    assert farm.enqueue(**how)[0] == "ok"


# ---- fairness and limits ----

def test_a_single_job_waits_one_round_at_most(farm):
    farm.key("unsb-pk-a", 1000)
    farm.key("unsb-pk-b", 1000)
    farm.submit_many(1000, "unsb-pk-a")
    b = farm.submit("unsb-pk-b")
    assert b in [t[0] for t in farm.take(count=2)]


def test_keys_take_turns(farm):
    for pk in "unsb-pk-a", "unsb-pk-b", "unsb-pk-c":
        farm.key(pk, 100)
        farm.submit_many(20, pk)
    took = [t[2][-1] for t in farm.take(count=30)]
    assert took == ["a", "b", "c"] * 10


def test_a_key_at_its_limit_leaves_the_ring_until_a_job_ends(farm):
    farm.key(concurrency=2)
    farm.submit_many(5)
    took = farm.take(count=5)
    assert len(took) == 2
    assert farm.take(count=5) == [] and farm.r("LLEN", P + "ring") == 0
    farm.finish(took[0][0], took[0][1])
    assert farm.r("LRANGE", P + "ring", 0, -1) == [PK]
    assert len(farm.take(count=5)) == 1


def test_a_lowered_limit_holds_at_once_and_a_raised_one_too(farm):
    farm.key(concurrency=3)
    farm.submit_many(6)
    farm.take(count=1)
    assert farm.run("keyset", PK, "concurrency", 1) == 1
    assert farm.take(count=5) == []
    assert farm.run("keyset", PK, "concurrency", 4) == 1
    assert len(farm.take(count=5)) == 3
    assert farm.run("keyset", "unsb-pk-none", "rate", 1) == 0


def test_a_worker_takes_only_what_it_can_run(farm):
    farm.beat("w2", "ruby")
    big = farm.submit(cls="python:4")
    ruby = farm.submit(cls="ruby:1")
    assert farm.take("w1", 5, vcpu=2) == []
    assert farm.take("w3", 5) == []  # never beat
    assert [t[0] for t in farm.take("w2", 5)] == [ruby]
    assert [t[0] for t in farm.take("w1", 5, vcpu=4)] == [big]


def test_a_job_that_suits_goes_before_an_older_one_that_does_not(farm):
    farm.submit(cls="cobol:1")
    id = farm.submit()
    assert [t[0] for t in farm.take()] == [id]


def test_one_waiting_job_wakes_every_idle_worker_in_a_tick(farm):
    for n in range(4):
        farm.beat("ruby%d" % n, "ruby")
    farm.submit()
    farm.r("DEL", P + "wake")  # a worker without the language took the token
    farm.lead()
    farm.repair()
    assert farm.r("LLEN", P + "wake") == 5
    for _ in range(40):
        farm.repair()
    assert farm.r("LLEN", P + "wake") == 64  # and no more than that


# ---- leases ----

def test_a_lost_job_runs_again_later_and_later_and_then_fails(farm):
    farm.lead()
    id = farm.submit(channel="gw1")
    leases = set()
    for attempt in range(1, 4):
        ((_, lease, _, spec, n),) = farm.take()
        assert n == attempt and spec == "spec of " + id
        leases.add(lease)
        farm.expire_lease(id)
        assert farm.repair(attempts=3)[0] == 1
        if attempt < 3:
            assert farm.state(id) == "pending" and farm.take() == []
            delay = int(farm.r("ZSCORE", P + "delayed", id)) - time.time() * 1000
            assert abs(delay - 1000 * 2 ** (attempt - 1)) < 500
            assert farm.repair()[1] == 0  # not yet
            farm.end_delays()
            assert farm.repair()[1] == 1
    j = farm.job(id)
    assert (j["state"], j["reason"]) == ("failed", "lost") and j["message"]
    assert len(leases) == 3 and farm.stat("retried") == 2
    farm.all_quiet()


def test_the_delay_before_a_retry_is_bounded(farm):
    farm.lead()
    id = farm.submit()
    farm.r("HSET", P + "job:" + id, "attempts", 90)
    farm.take()
    farm.expire_lease(id)
    farm.repair(attempts=100)
    assert int(farm.r("ZSCORE", P + "delayed", id)) < time.time() * 1000 + 61_000


def test_a_finish_that_comes_too_late_is_refused(farm):
    farm.lead()
    id = farm.submit()
    ((_, first, *_),) = farm.take()
    farm.expire_lease(id)
    farm.repair(base=0)
    assert farm.finish(id, first) == 0
    assert farm.state(id) == "pending"
    ((_, second, *_),) = farm.take()
    assert farm.finish(id, first) == 0
    assert farm.finish(id, second) == 1


def test_a_renewed_lease_does_not_run_out(farm):
    farm.lead()
    id = farm.submit()
    ((_, lease, *_),) = farm.take()
    farm.expire_lease(id)
    assert farm.run("renew", "w1", 15_000, id, lease, "job_x", "w1/1") == [["job_x", "w1/1"], []]
    assert farm.repair() == [0, 0, 0]
    assert farm.state(id) == "running"


def test_a_lost_lease_is_reported_by_renew(farm):
    farm.lead()
    id = farm.submit()
    ((_, lease, *_),) = farm.take()
    farm.expire_lease(id)
    farm.repair()
    assert farm.run("renew", "w1", 15_000, id, lease) == [[id, lease], []]


def test_giveback_counts_no_attempt_and_goes_first(farm):
    first, second = farm.submit(), farm.submit()
    ((id, lease, *_),) = farm.take()
    assert id == first
    assert farm.run("giveback", RESULT_MS, 0, id, lease, id, "w9/1") == 1
    assert farm.job(id)["attempts"] == "0"
    ((again, lease2, _, _, attempt),) = farm.take()
    assert again == first and attempt == 1
    assert lease2 != lease, "a lease must not come twice"
    assert farm.finish(id, lease) == 0 and farm.finish(id, lease2) == 1
    assert farm.state(second) == "pending"


def test_a_job_whose_sandbox_dies_each_time_fails_in_the_end(farm):
    id = farm.submit()
    for attempt in range(1, 4):
        ((_, lease, _, _, n),) = farm.take()
        assert n == attempt
        assert farm.run("giveback", RESULT_MS, 3, id, lease) == 1
    assert (farm.state(id), farm.job(id)["reason"]) == ("failed", "lost")
    farm.all_quiet()


def test_a_dead_worker_is_abandoned_at_once(farm):
    farm.beat("w2", "python")
    ids = farm.submit_many(3)
    farm.take("w1", 2)
    farm.take("w2", 1)
    assert farm.run("abandon", "w1", 5, RESULT_MS) == 2
    assert [farm.state(i) for i in ids] == ["pending", "pending", "running"]
    assert farm.r("ZRANGE", P + "workers", 0, -1) == ["w2"]
    assert sorted(t[0] for t in farm.take("w2", 5)) == sorted(ids[:2])


def test_a_job_that_kills_its_workers_fails_in_the_end(farm):
    id = farm.submit()
    for _ in range(3):
        farm.beat("w1", "python")
        assert farm.take()
        farm.run("abandon", "w1", 3, RESULT_MS)
    assert farm.job(id)["reason"] == "lost"
    farm.all_quiet()


# ---- cancelling ----

def test_a_pending_job_is_cancelled_at_once_and_never_taken(farm):
    a, b = farm.submit(), farm.submit()
    assert farm.cancel(a) == "final" and farm.state(a) == "cancelled"
    assert farm.cancel(a) == "final"
    assert [t[0] for t in farm.take(count=5)] == [b]


def test_a_delayed_job_can_be_cancelled(farm):
    farm.lead()
    id = farm.submit()
    farm.take()
    farm.expire_lease(id)
    farm.repair()
    assert farm.cancel(id) == "final"
    farm.end_delays()
    assert farm.repair() == [0, 0, 0]
    farm.all_quiet()


def test_a_running_job_is_told_and_ends_as_its_worker_says(farm, server):
    sub = Redis(server.path)
    sub("SUBSCRIBE", P + "ctl:w1")
    id = farm.submit()
    ((_, lease, *_),) = farm.take()
    assert farm.cancel(id, channel="gw1") == "wait"
    assert sub.read() == ["message", P + "ctl:w1", id]
    assert farm.run("renew", "w1", 15_000, id, lease) == [[], [id]]
    assert farm.finish(id, lease, "cancelled", "cancelled") == 1
    sub.close()
    farm.all_quiet()


def test_a_cancelled_job_of_a_dead_worker_is_not_run_again(farm):
    farm.lead()
    id = farm.submit()
    farm.take()
    farm.cancel(id)
    farm.expire_lease(id)
    farm.repair()
    assert farm.state(id) == "cancelled"
    farm.all_quiet()


def test_who_waits_is_told_once_however_often_it_asked(farm, server):
    sub = Redis(server.path)
    sub("SUBSCRIBE", P + "done:gw1")
    id = farm.submit(channel="gw1")
    ((_, lease, *_),) = farm.take()
    for _ in range(3):
        farm.run("read", id, PK, "gw1")
        farm.cancel(id, channel="gw1")
    farm.finish(id, lease)
    farm.r("PUBLISH", P + "done:gw1", "end")
    assert [sub.read()[2].split("\0")[0], sub.read()[2]] == [id, "end"]
    sub.close()


def test_the_news_of_an_end_has_what_read_would_say(farm, server):
    sub = Redis(server.path)
    sub("SUBSCRIBE", P + "done:gw1")
    ended, cancelled, large = (farm.submit(channel="gw1") for _ in range(3))
    took = dict(t[:2] for t in farm.take(count=3))
    farm.finish(ended, took[ended])
    farm.cancel(cancelled)
    farm.finish(cancelled, took[cancelled], "cancelled", "cancelled")
    farm.run("finish", large, took[large], "completed", "exited", "", "x" * 16385, RESULT_MS)
    for id in ended, cancelled:
        name, *fields = sub.read()[2].split("\0")
        end = fields[::2].index("") * 2  # names and values, an empty name, the result
        told, result = fields[:end], "\0".join(fields[end + 1:])
        assert name == id and [told, result] == farm.run("read", id, PK, "")
    assert sub.read()[2] == large  # this one is read
    sub.close()


def test_thousands_of_cancelled_jobs_do_not_make_one_call_long(farm):
    ids = farm.submit_many(1500)
    farm.r.pipeline(["EVALSHA", farm.sha["cancel"], 1, P, i, PK, RESULT_MS, ""] for i in ids)
    last = farm.submit()
    farm.r("DEL", P + "wake")
    assert farm.take() == []  # passed over a thousand and asks for another look
    assert farm.r("LLEN", P + "wake") == 1
    assert [t[0] for t in farm.take()] == [last]


# ---- the scheduler's scripts ----

def test_one_leads(farm):
    assert farm.lead("s1") == 1 and farm.lead("s2") == 0 and farm.lead("s1") == 1
    assert farm.repair("s2") is None
    assert farm.run("sweep", "s2", "0") is None
    assert farm.lead("s2", 0) == 0 and farm.lead("s2") == 0
    assert farm.lead("s1", 0) == 0 and farm.lead("s2") == 1


def test_a_job_that_nobody_takes_fails(farm):
    farm.lead()
    old, new = farm.submit(cls="cobol:1"), farm.submit(cls="cobol:1")
    farm.r("HINCRBY", P + "job:" + old, "created", -WAIT_MS)
    assert farm.repair() == [0, 0, 1]
    assert farm.job(old)["reason"] == "lost" and farm.state(new) == "pending"


def test_the_wait_of_a_retried_job_starts_anew(farm):
    farm.lead()
    id = farm.submit()
    farm.r("HINCRBY", P + "job:" + id, "created", -WAIT_MS)
    farm.take()
    farm.expire_lease(id)
    assert farm.repair(base=0) == [1, 0, 0]
    assert farm.state(id) == "pending"


def test_a_clock_that_is_set_forward_loses_no_job(farm):
    """As if the clock jumped by an hour: what the scheduler expects is that much less."""
    farm.lead()
    farm.beat("w1", "python")
    running, waiting = farm.submit(), farm.submit()
    farm.take()
    hour = 3_600_000
    farm.expire_lease(running)
    farm.r("HINCRBY", P + "job:" + waiting, "created", -hour)
    *counts, now, set_by = farm.repair_all(expected=farm.now() - hour, longest=hour)
    assert counts == [0, 0, 0] and abs(set_by - hour) < 5000 and abs(now - farm.now()) < 5000
    assert farm.repair(longest=hour) == [0, 0, 0]  # also in the next one
    assert farm.state(running) == "running" and farm.state(waiting) == "pending"
    # From then on everything counts as before.
    farm.r("SET", P + "clockset", farm.now() - hour)
    farm.expire_lease(running)
    assert farm.repair(longest=hour) == [1, 0, 1]


def test_a_clock_that_is_set_back_delays_no_job(farm):
    farm.lead()
    running, delayed = farm.submit(), farm.submit()
    farm.take(count=2)
    farm.expire_lease(delayed)
    assert farm.repair() == [1, 0, 0]
    hour = 3_600_000
    farm.r("ZINCRBY", P + "leases", hour, running)
    farm.r("ZINCRBY", P + "delayed", hour, delayed)
    farm.r("ZINCRBY", P + "workers", hour, "w1")
    assert farm.repair() == [0, 0, 0]
    assert farm.repair_all(expected=farm.now() + hour)[1] == 1  # the retry is due
    assert float(farm.r("ZSCORE", P + "leases", running)) < farm.now() + 16_000
    assert float(farm.r("ZSCORE", P + "workers", "w1")) < farm.now() + 16_000
    assert [t[0] for t in farm.take()] == [delayed]


def test_a_late_repair_takes_no_clock_for_set(farm):
    farm.lead()
    assert farm.repair(expected=farm.now() - 6000) == [0, 0, 0]


def test_a_lock_that_outlives_every_lock_is_free(farm):
    """Its holder died, and then the clock was set back."""
    assert farm.lead("s1", 60_000) == 1 and farm.lead("s2", 3000) == 0
    farm.r("PEXPIRE", P + "leader", 3_600_000)
    assert farm.lead("s2", 0) == 0 and farm.lead("s2", 3000) == 1


def test_repair_is_bounded(farm):
    farm.lead()
    farm.key(concurrency=100)
    for id in farm.submit_many(25):
        farm.r("HINCRBY", P + "job:" + id, "created", -WAIT_MS)
    assert [farm.repair(batch=10)[2] for _ in range(4)] == [10, 10, 5, 0]
    ids = farm.submit_many(25)
    farm.take(count=25)
    for id in ids:
        farm.expire_lease(id)
    assert [farm.repair(batch=10)[0] for _ in range(4)] == [10, 10, 5, 0]


def test_sweep_frees_slots_that_no_lease_backs(farm):
    farm.lead()
    farm.key(concurrency=1)
    waiting = farm.submit()
    farm.r("HSET", P + "book:" + PK, "running", 1, "ring", 0)
    farm.r("DEL", P + "ring")
    assert farm.r("EVALSHA", farm.sha["take"], 1, P, "w1", "n", 8, 1, 15000) == []
    assert farm.run("sweep", "s1", "0")[1] == 1
    assert [t[0] for t in farm.take()] == [waiting]


def test_sweep_repairs_what_a_book_says_of_its_key(farm):
    """A limit that was changed without keyset, and running jobs that are not counted."""
    farm.lead()
    farm.key(concurrency=2)
    farm.submit_many(4)
    (id, lease, *_), _ = farm.take(count=2)
    farm.r("HSET", P + "book:" + PK, "running", 1)
    farm.r("HSET", P + "key:" + PK, "concurrency", 3)
    assert farm.run("sweep", "s1", "0")[1] == 0
    assert farm.r("HMGET", P + "book:" + PK, "running", "limit") == ["2", "3"]
    farm.finish(id, lease)
    assert len(farm.take(count=4)) == 2


def test_the_oldest_job_of_a_key_comes_first_whatever_its_class(farm):
    farm.key(concurrency=100)
    farm.beat("w1", "python", "bash")
    farm.beat("w2", "bash")
    a, b, c, d = (farm.submit(cls=cls) for cls in ("python:1", "bash:1", "python:4", "bash:1"))
    assert [t[0] for t in farm.take("w2")] == [b]
    assert [t[0] for t in farm.take("w1", vcpu=1, count=2)] == [a, d]
    assert farm.take("w2", count=5) == [] and farm.take("w1", vcpu=1) == []
    assert [t[0] for t in farm.take("w1", count=5)] == [c]


def test_sweep_forgets_expired_jobs_and_idle_keys(farm):
    farm.lead()
    farm.key(concurrency=5000)
    ids = farm.submit_many(1100)
    for id, lease, *_ in farm.take(count=1100):
        farm.r("EVALSHA", farm.sha["finish"], 1, P, id, lease, "completed", "exited", "", "r", 1)
    wait_for(lambda: not farm.r("EXISTS", P + "job:" + ids[-1]))
    time.sleep(0.005)
    cursor, freed, more = farm.run("sweep", "s1", "0")
    assert (cursor, freed, more) == ("0", 0, 1)  # the first thousand
    assert farm.run("sweep", "s1", "0") == ["0", 0, 0]
    assert farm.r("EXISTS", P + "jobs:" + PK, P + "active", P + "book:" + PK) == 0


def test_the_overview_adds_up(farm):
    farm.key(concurrency=1)
    farm.submit_many(3)
    farm.take()
    farm.r("ZADD", P + "nodes", 1, "dead", int((time.time() + 60) * 1000), "n1")
    farm.r("SET", P + "node:dead", "{}")
    farm.r("SET", P + "node:n1", '{"node":"n1"}')
    workers, stats, running, ring, delayed, nodes = farm.run("overview")
    assert [w[0] for w in workers] == ["w1"] and workers[0][2] == "python"
    assert pairs(stats)["waiting"] == "2"
    assert (running, ring, delayed, nodes) == (1, 0, 0, ['{"node":"n1"}'])
    farm.r("ZADD", P + "workers", 1, "w1")
    assert farm.run("overview")[0] == []


# ---- deleting a key ----

def test_a_key_with_jobs_is_not_deleted(farm):
    farm.submit()
    assert farm.run("forget", PK, "", 10, RESULT_MS) == ["active", 1]
    assert farm.r("EXISTS", P + "key:" + PK) == 1


def test_a_key_is_deleted_by_force_with_its_jobs(farm):
    farm.lead()
    farm.key(concurrency=2)
    ids = farm.submit_many(25)
    took = farm.take(count=2)
    farm.expire_lease(took[1][0])
    farm.repair()  # one running, one delayed, 23 queued
    words = []
    while not words or words[-1][0] == "more":
        words.append(farm.run("forget", PK, "force", 10, RESULT_MS))
    assert [w[0] for w in words] == ["more", "more", "ok"] and words[-1][1] == 1
    assert sorted(farm.state(i) for i in ids) == ["cancelled"] * 24 + ["running"]
    assert farm.run("renew", "w1", 15_000, *took[0][:2]) == [[], [took[0][0]]]
    farm.finish(took[0][0], took[0][1], "cancelled", "cancelled")
    farm.run("sweep", "s1", "0")
    farm.all_quiet()
    for k in "key:", "jobs:", "book:":
        assert farm.r("EXISTS", P + k + PK) == 0
    assert farm.r("EXISTS", P + "active", P + "keys") == 0
    assert farm.run("forget", PK, "", 10, RESULT_MS) == ["none", 0]


# ---- the scheduler itself ----

def account():
    try:
        pwd.getpwnam("unfarm-sched")
    except KeyError:
        subprocess.run(["useradd", "--system", "unfarm-sched"], check=True)


class Scheduler:
    def __init__(self, folder, name, server, lock_ms=600, tick_ms=20):
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        conf = self.folder / "unfarm.conf"
        conf.write_text(
            "[farm]\nredis_url = unix:%s\nrun_dir = %s\nnode = %s\n"
            "[scheduler]\nlock_ms = %d\ntick_ms = %d\n" % (
                server.path, self.folder / "run", name, lock_ms, tick_ms))
        self.log = open(self.folder / "log", "a+")
        self.process = subprocess.Popen(
            [BUILD / "unfarm-scheduler", "-c", conf], stderr=self.log)
        self.name = name

    def said(self, text):
        self.log.flush()
        return text in (self.folder / "log").read_text()

    def signal(self, number):
        self.process.send_signal(number)
        return self.process.wait(5)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        self.log.close()


@pytest.fixture
def schedulers(server, tmp_path):
    if os.getuid() == 0:
        account()
    all = []

    def start(name, **how):
        s = Scheduler(tmp_path, name, server, **how)
        all.append(s)
        return s
    yield start
    for s in all:
        s.stop()


def leader(redis):
    return (redis("GET", P + "leader") or "").split("/")[0]


def test_two_schedulers_one_leads_and_the_other_takes_over(schedulers, redis):
    a = schedulers("a")
    wait_for(lambda: leader(redis) == "a")
    b = schedulers("b")
    wait_for(lambda: b.said("connected to redis"))
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert leader(redis) == "a"
        time.sleep(0.02)
    assert not b.said("leading")

    died = time.monotonic()
    a.signal(signal.SIGKILL)
    wait_for(lambda: leader(redis) == "b")
    assert time.monotonic() - died < 0.6 + 0.2 + 0.3  # the lock and a question
    wait_for(lambda: b.said("leading"))


def test_a_scheduler_that_is_told_to_stop_gives_up_the_lock(schedulers, redis):
    a = schedulers("a", lock_ms=3000)
    wait_for(lambda: leader(redis) == "a")
    assert a.signal(signal.SIGTERM) == 0
    assert redis("EXISTS", P + "leader") == 0
    schedulers("b", lock_ms=3000)
    wait_for(lambda: leader(redis) == "b", 1.0)


def test_a_follower_that_stops_leaves_the_leader_alone(schedulers, redis):
    schedulers("a")
    wait_for(lambda: leader(redis) == "a")
    b = schedulers("b")
    wait_for(lambda: b.said("connected to redis"))
    assert b.signal(signal.SIGTERM) == 0
    assert leader(redis) == "a"


def test_the_leader_repairs_and_says_so_once(schedulers, farm, redis):
    s = schedulers("a")
    id = farm.submit()
    farm.take(lease=50)
    wait_for(lambda: farm.r("ZCARD", P + "delayed") == 1)
    assert farm.job(id)["attempts"] == "1"
    wait_for(lambda: farm.r("LLEN", P + "ring") == 1, 3)
    ((_, lease, *_),) = farm.take()
    farm.finish(id, lease)
    time.sleep(0.1)
    text = (s.folder / "log").read_text()
    assert text.count("repaired") == 2  # expired, promoted; nothing on idle ticks
    assert "expired=1" in text and "promoted=1" in text


def test_a_leader_that_was_stopped_too_long_steps_down(schedulers, redis):
    a = schedulers("a")
    wait_for(lambda: leader(redis) == "a")
    a.process.send_signal(signal.SIGSTOP)
    schedulers("b")
    wait_for(lambda: leader(redis) == "b")
    a.process.send_signal(signal.SIGCONT)
    wait_for(lambda: a.said("leads no more"))
    assert leader(redis) == "b"


def test_a_full_batch_is_followed_by_the_next_at_once(schedulers, farm, redis):
    farm.key(concurrency=2000)
    farm.submit_many(1600)
    farm.take(count=1600, lease=1)
    s = schedulers("a", tick_ms=60_000)
    wait_for(lambda: farm.r("ZCARD", P + "leases") == 0)
    farm.check()
    assert s.said("expired=500") and s.said("expired=100")


def test_redis_away_means_nobody_leads_until_it_is_back(schedulers, server, tmp_path):
    own = Server(reachable(tmp_path))
    own.start()
    s = None
    try:
        s = Scheduler(tmp_path, "solo", own)
        wait_for(lambda: s.said("leading"))
        own.stop()
        wait_for(lambda: s.said("leads no more"))
        own.start()
        c = Redis(own.path)
        wait_for(lambda: leader(c) == "solo")
        assert s.signal(signal.SIGTERM) == 0
        c.close()
    finally:
        if s:
            s.stop()
        own.stop()


def test_a_scheduler_drops_root(schedulers, redis):
    if os.getuid() != 0:
        pytest.skip("needs root")
    s = schedulers("a")
    wait_for(lambda: leader(redis) == "a")
    status = pathlib.Path("/proc/%d/status" % s.process.pid).read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    uid = str(pwd.getpwnam("unfarm-sched").pw_uid)
    assert fields["Uid"].split() == [uid] * 4
    assert fields["Groups"].strip() == ""
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert int((s.folder / "run" / "scheduler.pid").read_text()) == s.process.pid


def test_a_bad_configuration_stops_the_start(tmp_path):
    conf = tmp_path / "c"
    conf.write_text("[scheduler]\n\ntick_ms = 5\n")
    r = subprocess.run([BUILD / "unfarm-scheduler", "-c", conf], stderr=subprocess.PIPE, text=True)
    assert r.returncode == 64 and "%s:3: scheduler.tick_ms" % conf in r.stderr


# ---- the operator's command ----

class Cli:
    def __init__(self, folder, server):
        self.conf = folder / "unfarm.conf"
        self.conf.write_text("[farm]\nredis_url = unix:%s\ndata_dir = %s\n" % (server.path, folder))
        self.folder = folder

    def __call__(self, *args, want=0):
        r = subprocess.run([BUILD / "unfarm", "-c", self.conf, *args], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert r.returncode == want, r.stderr
        return r.stdout + r.stderr

    def json(self, *args, want=0):
        r = subprocess.run([BUILD / "unfarm", "-c", self.conf, *args, "--json"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert r.returncode == want, r.stderr
        return json.loads(r.stdout)


@pytest.fixture
def cli(server, redis, tmp_path):
    if not (BUILD / "unfarm").exists():
        pytest.skip("unfarm is not built")
    return Cli(tmp_path, server)


def test_a_key_lives_and_dies(cli, redis):
    k = cli.json("key", "create", "--rate", "100", "--tier", "Gold", "--note", "a b")
    pk, secret = k["public_key"], k["secret_key"]
    assert (k["rate"], k["tier"], k["note"], k["expires"]) == (100, "Gold", "a b", None)
    stored = pairs(redis("HGETALL", P + "key:" + pk))
    assert stored["rate"] == "100" and secret not in json.dumps(stored)
    assert (cli.folder / "master.key").stat().st_mode & 0o777 == 0o640
    shown = cli("key", "show", pk)
    assert "Gold" in shown and secret not in shown and stored["secret"] not in shown
    cli("key", "set", pk, "--concurrency", "7", "--expires", "1d", "--note", "")
    k = cli.json("key", "show", pk)
    assert (k["concurrency"], k["rate"], k["note"]) == (7, 100, "") and k["expires"]
    cli("key", "suspend", pk)
    assert cli.json("key", "show", pk)["state"] == "suspended"
    cli("key", "resume", pk)
    assert [k["state"] for k in cli.json("key", "list")] == ["active"]
    cli("key", "delete", pk)
    assert redis("KEYS", P + "*") == []
    assert "no key" in cli("key", "show", pk, want=66)


def test_gateways_hear_of_every_change(cli, server):
    sub = Redis(server.path)
    sub("SUBSCRIBE", P + "keys")
    pk = cli.json("key", "create")["public_key"]
    cli("key", "set", pk, "--rate", "5")
    cli("key", "suspend", pk)
    cli("key", "delete", pk)
    assert [sub.read()[2] for _ in range(4)] == [pk] * 4
    sub.close()


def test_a_busy_key_is_deleted_only_by_force(cli, redis):
    farm = Farm(redis)
    pk = cli.json("key", "create")["public_key"]
    farm.beat("w1", "python")
    farm.submit(pk)
    farm.submit(pk)
    farm.take()
    assert cli.json("key", "show", pk)["running"] == 1
    assert cli.json("key", "show", pk)["waiting"] == 1
    assert "2 jobs" in cli("key", "delete", pk, want=73)
    assert "1 running" in cli("key", "delete", pk, "--force")
    farm.check()


@pytest.mark.parametrize("args", [
    ["create", "--rate", "0"], ["create", "--queue", "x"], ["create", "--expires", "1x"],
    ["create", "--expires", "2020-01-01T00:00:00Z"], ["create", "--tier", "a\nb"],
    ["create", "--note", "x" * 200], ["show"], ["show", "x"], ["set", PK],
    ["list", "--force"], ["create", PK], ["create", "--expires", "99999999999999d"]])
def test_bad_arguments_change_nothing(cli, redis, args):
    status = 66 if args == ["set", PK] else 64
    assert cli("key", *args, want=status).startswith("unfarm: ")
    assert redis("KEYS", P + "*") == []


def test_status_tells_whether_the_farm_is_well(cli, redis, tmp_path):
    assert "no worker lives" in cli("status", want=1)
    farm = Farm(redis)
    farm.beat("w1", "python", "ruby")
    farm.submit()
    farm.lead("host/1/a")
    s = cli.json("status")
    assert (s["waiting"], s["running"], s["slots"], s["leader"]) == (1, 0, 4, "host/1/a")
    assert s["workers"] == [{"worker": "w1", "node": "n1", "slots": 4, "languages": 2}]
    assert "host/1/a" in cli("status") and "1 waiting" in cli("status")
    cli.conf.write_text("[farm]\nredis_url = unix:%s/none.sock\n" % tmp_path)
    assert "is it running" in cli("status", want=1)
    assert cli.json("status", want=1)["redis"]["up"] is False


def test_the_password_of_redis_is_not_shown(cli):
    cli.conf.write_text("[farm]\nredis_url = redis://:hunter2@127.0.0.1:1\n")
    assert "hunter2" not in cli("status", want=1)
    assert "hunter2" not in json.dumps(cli.json("status", want=1))


def test_config_prints_what_is_in_force_and_a_sample_that_loads(cli):
    assert "farm.data_dir = %s" % cli.folder in cli("config")
    sample = cli("config", "--sample")
    assert "[scheduler]" in sample
    cli.conf.write_text(sample)
    assert "scheduler.tick_ms = 500" in cli("config")
