"""The gateway alone, end to end: a private Redis, the real program, and a fake
worker that speaks the scripts of conf/redis/ directly.

Every refusal answers its status, says what to change and leaves no key behind
in Redis.
"""
import base64
import concurrent.futures
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest
import requests
from farm import redis_script

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build/debug")
P = "{unfarm}:"
PK = "unsb-pk-test-0000-0000-0001"
SK = "unsb-sk-test0-vault-unlck-12345"
OTHER_PK, OTHER_SK = "unsb-pk-aaaa-bbbb-cccc-dddd", "unsb-sk-aaaaa-bbbbb-ccccc-ddddd"
SMALL_PK, SMALL_SK = "unsb-pk-5555-5555-5555-5555", "unsb-sk-55555-55555-55555-55555"
OLD_PK, OLD_SK = "unsb-pk-0000-1111-2222-3333", "unsb-sk-00000-11111-22222-33333"
BAD_PK, BAD_SK = "unsb-pk-6666-6666-6666-6666", "unsb-sk-66666-66666-66666-66666"
NO_JOB = "job_1234567890123_0123456789abcdef01"
RESULT_MS = 60_000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Redis:
    """Just enough RESP2."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.lock = threading.Lock()

    def read(self):
        line = self.file.readline()
        assert line, "redis went away"
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind in b"+:":
            return int(rest) if kind == b":" else rest.decode()
        n = int(rest)
        if n < 0:
            return None
        if kind == b"$":
            return self.file.read(n + 2)[:-2].decode("utf-8", "surrogateescape")
        return [self.read() for _ in range(n)]

    def __call__(self, *args):
        out = [b"*%d\r\n" % len(args)]
        for arg in args:
            data = arg if isinstance(arg, bytes) else str(arg).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(data), data))
        with self.lock:
            self.sock.sendall(b"".join(out))
            return self.read()

    def script(self, name, *args):
        return self("EVAL", redis_script(name), 1, P, *args)

    def close(self):
        self.file.close()
        self.sock.close()


def seal(master, public_key, secret):
    """AES-256-GCM as common/secret.c stores a key's secret."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
    lib.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    lib.EVP_aes_256_gcm.restype = ctypes.c_void_p
    ctx = ctypes.c_void_p(lib.EVP_CIPHER_CTX_new())
    nonce, tag, n = os.urandom(12), ctypes.create_string_buffer(16), ctypes.c_int()
    out = ctypes.create_string_buffer(len(secret) + 16)
    cipher = ctypes.c_void_p(lib.EVP_aes_256_gcm())
    assert lib.EVP_EncryptInit_ex(ctx, cipher, None, master, nonce) == 1
    assert lib.EVP_EncryptUpdate(ctx, None, ctypes.byref(n), public_key.encode(), len(public_key)) == 1
    assert lib.EVP_EncryptUpdate(ctx, out, ctypes.byref(n), secret.encode(), len(secret)) == 1
    sealed = out.raw[: n.value]
    assert lib.EVP_EncryptFinal_ex(ctx, out, ctypes.byref(n)) == 1
    assert lib.EVP_CIPHER_CTX_ctrl(ctx, 0x10, 16, tag) == 1
    lib.EVP_CIPHER_CTX_free(ctx)
    return base64.b64encode(nonce + sealed + tag.raw).decode()


def wait_for(what, seconds=5.0):
    """The value of what() once it is true; fails at the deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(path):
    try:
        Redis(path).close()
        return True
    except OSError:
        return False


class Worker:
    """Beats, takes and finishes as told; `result` overrides what it reports."""

    def __init__(self, redis):
        self.redis = redis
        self.name = "node1.1.ab"

    def beat(self, languages=("python", "bash", "commonlisp", "cpp"), node="node1", name=None, **info):
        about = {"node": node, "pid": 1, "slots": 16, "busy": 1, "ready": 4, "spawning": 0, "max_vcpu": 4,
                 "load": [0.5, 0.25, 0.125], "cores": 4, "started": 0,
                 "memory": {"used_gb": 1.5, "available_gb": 6.5, "used_percent": 18.75}} | info  # fmt: skip
        self.redis.script("beat", name or self.name, 600_000, json.dumps(about), *languages)

    def take(self, count=1, seconds=5):
        return wait_for(lambda: self.redis.script("take", self.name, "node1", 4, count, 60_000), seconds)

    def finish(self, job, status="completed", reason="exited", message="", **result):
        full = {"stdout": "hi\n", "stderr": "", "exit_code": 0, "end_reason": reason, "stdout_bytes": 3,
                "stderr_bytes": 0, "stdout_truncated": False, "stderr_truncated": False, "wall_ms": 11, "cpu_ms": 9,
                "memory_bytes": 4096, "total_time_ms": 12, "artifacts": [],
                "run": {"end_reason": reason, "exit_code": 0, "wall_ms": 11, "cpu_ms": 9, "memory_bytes": 4096},
                "isolation": "namespaces"} | result  # fmt: skip
        return self.redis.script("finish", job[0], job[1], status, reason, message, json.dumps(full), RESULT_MS)

    def serve(self, n=1, **how):
        """Finish the next n jobs from a thread; returns the future of their specs."""

        def work():
            specs = []
            while len(specs) < n:
                for job in self.take(n - len(specs), 10):
                    specs.append(json.loads(job[3]))
                    self.finish(job, **how)
            return specs

        return POOL.submit(work)


POOL = concurrent.futures.ThreadPoolExecutor(64)


class Farm:
    def __init__(self, folder, settings="", port=None):
        self.folder = pathlib.Path(folder)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings
        self.processes = {}
        self.socket = str(self.folder / "redis.sock")

    def start_redis(self):
        self.processes["redis"] = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "777",
             "--save", "", "--appendonly", "no", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        wait_for(lambda: answers(self.socket))
        self.redis = Redis(self.socket)
        self.worker = Worker(Redis(self.socket))

    def start_gateway(self):
        conf = self.folder / "unfarm.conf"
        conf.write_text(
            f"[farm]\nredis_url = unix:{self.socket}\ndata_dir = {self.folder}/data\nrun_dir = {self.folder}/run\n"
            f"share_dir = {ROOT}/conf\ndev_key = yes\nlog_level = info\n[gateway]\nport = {self.port}\n{self.settings}"
        )
        log = open(self.folder / "gateway.log", "ab")
        program = subprocess.Popen([BUILD / "unfarm-gateway", "-c", conf], stderr=log)
        self.processes["gateway"] = program

        def up():
            assert program.poll() is None, (self.folder / "gateway.log").read_text()
            try:
                return requests.get(self.url + "/health", timeout=5).ok
            except requests.ConnectionError:
                return False

        wait_for(up, 10)
        # The first calls must not meet a gateway that is still connecting.
        wait_for(lambda: self.get("/stats").status_code == 200)

    def stop(self, name, sig=signal.SIGTERM, seconds=20):
        program = self.processes.pop(name, None)
        if program is None:
            return None
        program.send_signal(sig)
        return program.wait(seconds)

    def add_key(self, public_key, secret, **fields):
        master = (self.folder / "data" / "master.key").read_bytes()
        record = {"secret": seal(master, public_key, secret), "tier": "Tier 1", "note": "", "rate": 6000, "burst": 1000,
                  "concurrency": 5, "queue": 100, "created": 1, "expires": 0, "suspended": 0} | fields  # fmt: skip
        self.redis("HSET", f"{P}key:{public_key}", *[x for pair in record.items() for x in pair])
        self.redis("PUBLISH", f"{P}keys", public_key)

    # ---- requests ----

    def sign(self, method, target, body=b"", pk=PK, sk=SK, at=None, signed=None):
        at = str(int(time.time()) if at is None else at)
        text = f"{at}:{method}:{target}:".encode() + (body if signed is None else signed)
        digest = hmac.new(sk.encode(), text, hashlib.sha256).hexdigest()
        return {"Authorization": f"Bearer {pk}", "X-Timestamp": at, "X-Signature": digest}

    def call(self, method, target, body=None, headers=None, timeout=20, keys=(PK, SK), ctype="application/json", **how):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body or b""
        sent = self.sign(method, target, data, *keys, **how) | ({"Content-Type": ctype} if ctype else {})
        return requests.request(method, self.url + target, data=data, headers=sent | (headers or {}), timeout=timeout)

    def get(self, target, **how):
        return requests.get(self.url + target, timeout=10, **how)

    def post(self, target, body=None, **how):
        return self.call("POST", target, body, **how)

    def keys(self):
        """What is in Redis, but for what a call may leave: its key's bucket."""
        return sorted(k for k in self.redis("KEYS", "*") if not k.startswith((f"{P}book:", f"{P}active")))

    def raw(self, data=b""):
        sock = socket.create_connection(("127.0.0.1", self.port), 15)
        sock.settimeout(15)
        sock.sendall(data)
        return sock


def make_farm(settings=""):
    folder = tempfile.mkdtemp(prefix="unfarm-gw-")
    os.chmod(folder, 0o755)
    f = Farm(folder, settings)
    f.start_redis()
    return f


def end_farm(f):
    for name in ("gateway", "redis"):
        if name in f.processes:
            try:
                f.stop(name)
            except subprocess.TimeoutExpired:
                f.stop(name, signal.SIGKILL)
    log = f.folder / "gateway.log"
    text = log.read_text() if log.exists() else ""
    shutil.rmtree(f.folder)
    assert "Sanitizer" not in text and "runtime error" not in text, text


@pytest.fixture(scope="module", autouse=True)
def account():
    try:
        pwd.getpwnam("unfarm-gw")
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "unfarm-gw"], check=True)


@pytest.fixture(scope="module")
def farm():
    f = make_farm("hold_seconds = 2\nbody_seconds = 1\nmax_code_kb = 64\nmax_file_kb = 512\nmax_files_kb = 600\n"
                  "max_stdin_kb = 16\nmax_env_kb = 32\nmax_env = 256\nmax_args = 256\nmax_args_kb = 64\n"
                  "max_files = 10\nmax_body_kb = 2048\ndrain_seconds = 5\n")  # fmt: skip
    try:
        f.start_gateway()
        f.add_key(OTHER_PK, OTHER_SK)
        f.add_key(SMALL_PK, SMALL_SK, rate=60, burst=2, concurrency=1, queue=0)
        f.add_key(OLD_PK, OLD_SK, expires=1000)
        f.add_key(BAD_PK, BAD_SK, suspended=1)
        f.worker.beat()
        yield f
    finally:
        end_farm(f)


@pytest.fixture
def clean(farm):
    """The test must leave Redis as it was."""
    before = farm.keys()
    yield farm
    assert farm.keys() == before


def code(**more):
    return {"language": "python", "code": "print(1)"} | more


# ---- what works -------------------------------------------------------------


def test_execute_answers_with_the_result_in_the_contracts_order(farm):
    done = farm.worker.serve()
    r = farm.post("/execute", code())
    assert r.status_code == 200 and r.headers["Content-Type"] == "application/json"
    assert ": " not in r.text.replace("stderr", "") and "null" not in r.text and '"error"' not in r.text
    assert list(r.json())[:16] == [
        "job_id", "id", "status", "success", "stdout", "stderr", "output", "exit_code", "language", "network_mode",
        "artifacts", "execution_mode", "total_time_ms", "execution_time_ms", "execution_time", "duration_ms"]  # fmt: skip
    assert r.json()["stdout"] == r.json()["output"] == "hi\n"
    assert r.json()["success"] is True and r.json()["exit_code"] == 0 and r.json()["status"] == "completed"
    assert r.json()["end_reason"] == "exited" and r.json()["isolation"] == "namespaces" and "result" not in r.json()
    assert done.result()[0]["language"] == "python"
    job = farm.call("GET", "/jobs/" + r.json()["job_id"])
    assert list(job.json())[-1] == "result" and job.json()["result"]["stdout"] == "hi\n"
    assert job.json()["created_at"].endswith("Z") and job.json()["completed_at"].endswith("Z")


def test_everything_a_client_may_say_reaches_the_worker(farm):
    done = farm.worker.serve()
    body = code(language="PY", env={"A": "1", "N": 2, "T": True}, args=["x", 3], stdin="in", ttl="7", vcpu="2",
                memory_mb=64, cpu_limit=3, return_artifacts="true", network="zerotrust", unknown=[1], input_files=[
                    {"filename": "/a/b.txt\n", "content": "aGk=\n"}, {"content_base64": "aG8"}])  # fmt: skip
    assert farm.post("/execute", body).status_code == 200
    spec = done.result()[0]
    assert spec["language"] == "python" and spec["env"] == {"A": "1", "N": "2", "T": "true"}
    assert spec["args"] == ["x", "3"] and spec["stdin"] == "in" and spec["ttl"] == 7 and spec["vcpu"] == 2
    assert spec["memory_mb"] == 64 and spec["cpu_limit"] == 3 and spec["return_artifact"] is True
    assert spec["files"] == [{"filename": "a/b.txt", "content_base64": "aGk="}, {"filename": "1", "content_base64": "aG8="}]


def test_a_failed_program_is_still_200(farm):
    farm.worker.serve(exit_code=3, stderr="boom", stdout="")
    r = farm.post("/execute", code())
    assert r.status_code == 200 and r.json()["success"] is False and r.json()["exit_code"] == 3
    assert r.json()["output"] == "boom"


def test_a_lost_job_says_why_in_error(farm):
    farm.worker.serve(status="failed", reason="unstartable", message="no such program", exit_code=127)
    r = farm.post("/execute", code())
    assert r.json()["status"] == "failed" and r.json()["error"] == "no such program"


@pytest.mark.parametrize("target", ["/execute/async", "/execute", "/run/async?ttl=9"])
def test_async_answers_at_once_and_is_polled(farm, target):
    if target.startswith("/run"):
        r = farm.post(target, "#!/usr/bin/env python3\nprint(1)", ctype="text/plain")
        assert r.json()["detected_language"] == "python"
    else:
        r = farm.post(target, code(**({"async": True} if target == "/execute" else {})))
    job = r.json()["job_id"]
    assert r.status_code == 200 and r.json()["status"] == "pending" and r.json()["id"] == job
    assert r.json()["message"] == "Job accepted for execution"
    pending = farm.call("GET", f"/jobs/{job}").json()
    assert pending["status"] == "pending" and "result" not in pending and "stdout" not in pending
    taken = farm.worker.take()[0]
    assert farm.call("GET", f"/jobs/{job}").json()["status"] == "running"
    waiting = POOL.submit(farm.call, "GET", f"/jobs/{job}?wait=10")
    also = POOL.submit(farm.call, "GET", f"/jobs/{job}/wait")
    wait_for(lambda: farm.redis("HGET", f"{P}job:{job}", "waiters"))
    farm.worker.finish(taken)
    assert waiting.result().json()["status"] == also.result().json()["status"] == "completed"


def test_run_finds_the_language_and_reads_its_query(farm):
    done = farm.worker.serve()
    r = farm.post("/run?ttl=5&env=%7B%22A%22%3A%22b+c%22%7D&return_artifact=true", "#!/bin/bash\necho \xff", ctype="text/plain")
    assert r.status_code == 200 and r.json()["detected_language"] == r.json()["language"] == "bash"
    spec = done.result()[0]
    assert spec["ttl"] == 5 and spec["env"] == {"A": "b c"} and spec["return_artifact"] is True
    done = farm.worker.serve()
    r = farm.post("/run", {"code": "#!/usr/bin/env -S python3 -u\n"})
    assert r.json()["detected_language"] == "python" and done.result()[0]["language"] == "python"


def test_long_jobs_answer_with_their_id_after_the_hold(farm):
    r = farm.post("/execute", code())
    assert r.status_code == 200 and r.json()["status"] == "pending"
    assert farm.call("DELETE", "/jobs/" + r.json()["id"]).json()["status"] == "cancelled"


@pytest.mark.parametrize("method, tail", [("DELETE", ""), ("POST", "/cancel")])
def test_cancel_returns_the_partial_output(farm, method, tail):
    job = farm.post("/execute/async", code()).json()["id"]
    taken = farm.worker.take()[0]
    answer = POOL.submit(farm.call, method, f"/jobs/{job}{tail}", "{}")
    wait_for(lambda: farm.redis("HGET", f"{P}job:{job}", "cancel"))
    farm.worker.finish(taken, "cancelled", "cancelled", stdout="half", exit_code=-1)
    body = answer.result().json()
    assert answer.result().status_code == 200 and list(body)[2:6] == ["status", "message", "success", "stdout"]
    assert body["status"] == "cancelled" and body["message"] == "Job cancelled" and body["stdout"] == "half"
    assert body["exit_code"] == -1 and body["result"]["stdout"] == "half"
    again = farm.call(method, f"/jobs/{job}{tail}")
    assert again.status_code == 200 and again.json()["status"] == "cancelled"


def test_cancel_before_it_ran(farm):
    job = farm.post("/execute/async", code()).json()["id"]
    body = farm.call("DELETE", f"/jobs/{job}").json()
    assert body["status"] == "cancelled" and body["stdout"] == "" and body["exit_code"] == -1 and body["artifacts"] == []


def test_list_is_newest_first(farm):
    ids = [farm.post("/execute/async", code(), keys=(OTHER_PK, OTHER_SK)).json()["id"] for _ in range(3)]
    r = farm.call("GET", "/jobs?limit=2", keys=(OTHER_PK, OTHER_SK)).json()
    assert [j["job_id"] for j in r["jobs"]] == ids[:0:-1] and r["count"] == 2
    assert set(r["jobs"][0]) >= {"id", "status", "language", "network_mode", "created_at", "submitted_at"}
    for job in ids:
        farm.call("DELETE", f"/jobs/{job}", keys=(OTHER_PK, OTHER_SK))


def test_idempotency(farm):
    head = {"Idempotency-Key": "order 1"}
    first = farm.post("/execute/async", code(), headers=head)
    again = farm.post("/execute/async", code(), headers=head)
    assert again.json()["id"] == first.json()["id"] and again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert farm.post("/execute/async", code(ttl=5), headers=head).status_code == 409
    farm.worker.serve()
    wait_for(lambda: farm.call("GET", "/jobs/" + first.json()["id"]).json()["status"] == "completed")
    head = {"Idempotency-Key": "order 2"}
    calls = [POOL.submit(farm.post, "/execute", code(), headers=head) for _ in range(3)]
    farm.worker.serve()
    assert len({c.result().json()["id"] for c in calls}) == 1
    assert all(c.result().json()["stdout"] == "hi\n" for c in calls)
    for bad in ("x" * 256, "é".encode()):
        assert farm.post("/execute/async", code(), headers={"Idempotency-Key": bad}).status_code == 400


# ---- signatures -------------------------------------------------------------


def test_every_dialect_of_the_signature_is_accepted(clean):
    target = "/jobs?limit=1"
    assert requests.get(clean.url + target, headers=clean.sign("GET", "/jobs")).status_code == 200
    assert requests.get(clean.url + target, headers=clean.sign("GET", target)).status_code == 200
    for body, signed in ((b"{}", b""), (b"[]", b""), (b" {}\n", b""), (b"{}", b"{}"), (b"", b"")):
        assert clean.post("/keys/validate", body, signed=signed).status_code == 200
    assert clean.post("/keys/validate", b'{"a":1}', signed=b"").status_code == 401
    assert clean.call("GET", "/jobs/").status_code == 200
    assert clean.call("HEAD", "/jobs").status_code == 200
    chunked = requests.post(clean.url + "/keys/validate", data=iter([b"{", b"}"]), headers=clean.sign("POST", "/keys/validate", b"{}"))
    assert chunked.status_code == 200


def test_bad_authentication_is_401(clean):
    good = clean.sign("GET", "/jobs")

    def status(drop=(), **change):
        headers = {k: v for k, v in good.items() if k not in drop} | {k.replace("_", "-"): v for k, v in change.items()}
        r = clean.get("/jobs", headers=headers)
        assert r.status_code != 401 or ("timestamp" not in r.text and r.json()["code"] == "INVALID_KEY")
        return r.status_code

    assert status() == 200
    for name in good:
        assert status(drop=[name]) == 401
    assert status(X_Signature="0" * 64) == 401
    assert status(X_Signature=good["X-Signature"].upper()) == 401
    assert status(X_Signature="zz") == 401
    assert status(X_Signature="0" * 9000) == 401
    assert status(Authorization="Bearer " + "x" * 5000) == 401
    for junk in ("Bearer", "Bearer ", "Basic abc", "Bearer unsb-pk-", "Bearer unsb-pk-..", f"Bearer {PK} x", f"Bearer {SK}"):
        assert status(Authorization=junk) == 401
    for junk in ("", "abc", "+" + good["X-Timestamp"], "1e9", "-1", "9" * 30, good["X-Timestamp"] + ".0"):
        assert status(X_Timestamp=junk) == 401
    assert status(Authorization="Bearer unsb-pk-9999-9999-9999-9999") == 401
    assert clean.call("GET", "/jobs", signed=b"x").status_code == 401
    r = clean.get("/jobs", headers={"Authorization": "Bearer " + PK})
    assert all(h in r.json()["details"] for h in ("Authorization", "X-Timestamp", "X-Signature"))


def test_a_header_sent_twice_is_401(clean):
    s = clean.sign("GET", "/jobs")
    lines = "".join(f"{k}: {v}\r\n" for k, v in s.items())
    for name, value in s.items():
        sock = clean.raw(f"GET /jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}{name}: {value}\r\n\r\n".encode())
        assert sock.recv(20).startswith(b"HTTP/1.1 401")
        sock.close()


@pytest.mark.parametrize("off", [-301, 302])
def test_a_clock_that_is_off_is_named(clean, off):
    r = clean.call("GET", "/jobs", at=int(time.time()) + off)
    assert r.status_code == 401 and r.json()["message"] == "Request timestamp expired"
    assert clean.call("GET", "/jobs", at=int(time.time()) + (295 if off > 0 else -295)).status_code == 200


def test_suspended_and_expired_keys(clean):
    r = clean.call("GET", "/jobs", keys=(BAD_PK, BAD_SK))
    assert r.status_code == 403 and r.json()["code"] == "KEY_SUSPENDED"
    r = clean.call("GET", "/jobs", keys=(OLD_PK, OLD_SK))
    assert r.status_code == 401 and r.json()["code"] == "KEY_EXPIRED" and "timestamp" not in r.text
    assert clean.call("GET", "/jobs", keys=(BAD_PK, SK)).status_code == 401
    for keys, status, reason in (((BAD_PK, BAD_SK), 403, "suspended"), ((OLD_PK, OLD_SK), 401, "expired"), ((PK, "x"), 401, "invalid_key")):
        r = clean.post("/keys/validate", keys=keys)
        assert r.status_code == status and r.json()["valid"] is False and r.json()["reason"] == reason
        assert r.json()["error"]


def test_a_changed_key_is_noticed_at_once(farm):
    farm.add_key("unsb-pk-7", "s1")
    assert farm.call("GET", "/jobs", keys=("unsb-pk-7", "s1")).status_code == 200
    farm.add_key("unsb-pk-7", "s1", suspended=1)
    wait_for(lambda: farm.call("GET", "/jobs", keys=("unsb-pk-7", "s1")).status_code == 403, 1)
    farm.redis("HSET", f"{P}key:unsb-pk-7", "secret", "bm9uc2Vuc2U=")
    farm.redis("PUBLISH", f"{P}keys", "unsb-pk-7")
    wait_for(lambda: farm.call("GET", "/jobs", keys=("unsb-pk-7", "s1")).status_code == 500, 1)
    farm.redis("DEL", f"{P}key:unsb-pk-7")


def test_validate_describes_the_key(clean):
    r = clean.post("/keys/validate", "{}").json()
    assert r["valid"] is True and r["status"] == "valid" and r["public_key"] == PK and isinstance(r["tier"], str)
    assert r["expires_at"] == "2099-12-31T23:59:59Z" and r["valid_through_datetime"] == "2099-12-31 23:59:59 UTC"
    assert '"rate_limit":10000000.0' in clean.post("/keys/validate", "{}").text and r["time_remaining"].endswith(" days")


# ---- refusals that leave nothing behind ---------------------------------------

B64 = base64.b64encode(b"x" * (513 << 10)).decode()
REFUSED = [
    ("{", 400, "not valid JSON at line 1"),
    ('{"language":"python","language":"c","code":"x"}', 400, "duplicate"),
    ('"text"', 400, "JSON object"),
    ("[1]", 400, "JSON object"),
    ("", 400, "`code` is missing"),
    ("[]", 400, "`code` is missing"),
    ({"code": "x"}, 400, "`language` is missing"),
    (code(language=""), 400, "`language` is missing"),
    (code(language=7), 400, "`language` must be a string"),
    (code(language="klingon"), 400, "Unsupported language: klingon"),
    (code(language="\u0000"), 400, "NUL"),
    (code(language="julia"), 400, "`julia` is not installed"),
    (code(code=""), 400, "`code` is empty"),
    (code(code=7), 400, "`code` must be a string"),
    (code(code="x" * (64 * 1024 + 1)), 413, "`code` is larger than 64 KiB"),
    (code(ttl=0), 400, "`ttl` must be between 1 and 900"),
    (code(ttl=901), 400, "`ttl` must be between 1 and 900"),
    (code(ttl="soon"), 400, "`ttl` must be a whole number"),
    (code(ttl=1.5), 400, "`ttl` must be a whole number"),
    (code(vcpu=9), 400, "`vcpu` must be between 1 and 8"),
    (code(vcpu=5), 400, "ask for 4 or less"),
    (code(memory_mb=15), 400, "`memory_mb` must be between 16 and 2048"),
    (code(memory_mb=2049), 400, "`memory_mb` must be between 16 and 2048"),
    (code(language="cpp", memory_mb=32), 400, "cpp needs at least 96"),
    (code(cpu_limit=0), 400, "`cpu_limit` must be between 1 and 900"),
    (code(network_mode="semitrusted"), 400, "no egress proxy"),
    (code(network_mode="wifi"), 400, "zerotrust or semitrusted"),
    (code(return_wasm_artifact=True), 400, "return_wasm_artifact"),
    (code(return_artifact="maybe"), 400, "true or false"),
    (code(env=[1]), 400, "`env` must be an object"),
    (code(env={"A": None}), 400, "`env` variable `A`"),
    (code(env={"A": "\u0000"}), 400, "`env` variable `A`"),
    (code(env={"A=B": "1"}), 400, "`env` has the name `A=B`"),
    (code(env={"": "1"}), 400, "must not be empty"),
    (code(env={f"A{i}": "" for i in range(257)}), 400, "at most 256"),
    (code(env={"A": "x" * (33 << 10)}), 413, "`env` is larger than 32 KiB"),
    (code(args="x"), 400, "`args` must be a list"),
    (code(args=[{}]), 400, "`args` entry 0"),
    (code(args=["\u0000"]), 400, "`args` entry 0"),
    (code(args=["x"] * 257), 400, "at most 256"),
    (code(args=["x" * (65 << 10)]), 413, "`args` is larger"),
    (code(stdin=1), 400, "`stdin` must be a string"),
    (code(stdin="x" * (17 << 10)), 413, "`stdin` is larger than 16 KiB"),
    (code(stdin_base64="###"), 400, "`stdin_base64`: not base64"),
    (code(input_files={}), 400, "`input_files` must be a list"),
    (code(input_files=[1]), 400, "entry 0: must be an object"),
    (code(input_files=[{"filename": "a"}]), 400, "`content_base64` is missing"),
    (code(input_files=[{"filename": "a", "content": "a b!"}]), 400, "not base64 at byte 3"),
    (code(input_files=[{"filename": "a", "content": "a"}]), 400, "base64 ends too early"),
    (code(input_files=[{"content": "aGk="}] * 11), 400, "at most 10"),
    (code(input_files=[{"filename": "big", "content": B64}]), 413, "`big` is larger than 512 KiB"),
    (code(input_files=[{"content": B64[:600_000]}, {"content": B64[:400_000]}]), 413, "together the files are larger"),
    (code(input_files=[{"filename": "../x", "content": ""}]), 400, "`..`"),
    (code(input_files=[{"filename": "/a/../../x", "content": ""}]), 400, "`..`"),
    (code(input_files=[{"filename": "a\u0000b", "content": ""}]), 400, "control character"),
    (code(input_files=[{"filename": "x" * 300, "content": ""}]), 400, "longer than"),
    (code(input_files=[{"filename": "", "content": ""}]), 400, "file name is empty"),
    (code(input_files=[{"filename": "a", "content": ""}, {"filename": "/a", "content": ""}]), 400, "collides"),
    (code(input_files=[{"filename": "a", "content": ""}, {"filename": "a/b", "content": ""}]), 400, "collides"),
    ("[" * 100_000, 400, "not valid JSON"),
    (b"\xff\xfe", 400, "not valid JSON"),
]


@pytest.mark.parametrize("body, status, says", REFUSED, ids=[f"{i}-{s[:24]}" for i, (_, _, s) in enumerate(REFUSED)])
def test_a_bad_job_is_refused_and_leaves_nothing(clean, body, status, says):
    for target in ("/execute", "/execute/async"):
        r = clean.post(target, body)
        assert r.status_code == status and says in r.json()["error"], r.text
        assert set(r.json()) == {"error", "message", "code", "details"} and r.json()["code"].isupper()


@pytest.mark.parametrize("target, body, status, says", [
    ("/run", "hello world", 400, "#!/usr/bin/env"),
    ("/run", "", 400, "`code` is empty"),
    ("/run?ttl=0", "#!/bin/bash\n", 400, "`ttl`"),
    ("/run?env=x", "#!/bin/bash\n", 400, "`env`"),
    ("/run?network_mode=semitrusted", "#!/bin/bash\n", 400, "egress"),
])  # fmt: skip
def test_a_bad_run_is_refused(clean, target, body, status, says):
    r = clean.post(target, body, ctype="text/plain")
    assert r.status_code == status and says in r.json()["error"], r.text


def test_unknown_jobs_and_other_keys_jobs_are_404(farm):
    job = farm.post("/execute/async", code()).json()["id"]
    before = farm.keys()
    for keys, name in (((OTHER_PK, OTHER_SK), job), ((PK, SK), NO_JOB), ((PK, SK), "x"), ((PK, SK), "a" * 500), ((PK, SK), "%00")):
        for method, tail in (("GET", ""), ("GET", "?wait=1"), ("GET", "/wait"), ("DELETE", ""), ("POST", "/cancel")):
            r = farm.call(method, f"/jobs/{name}{tail}", keys=keys)
            assert r.status_code == 404 and r.json()["error"] == "Job not found or expired", r.text
    assert farm.keys() == before
    farm.call("DELETE", f"/jobs/{job}")
    assert farm.call("GET", f"/jobs/{job}?wait=soon").status_code == 400
    assert farm.call("GET", "/jobs?limit=0").status_code == 400


def test_bodies_that_are_too_large_are_413(clean):
    big = b"x" * (3 << 20)
    assert clean.post("/execute", big).status_code == 413
    r = requests.post(clean.url + "/execute", data=iter([big[: 1 << 20]] * 3), headers=clean.sign("POST", "/execute", big))
    assert r.status_code == 413 and "2048 KiB" in r.json()["error"]
    assert clean.post("/keys/validate", b"x" * (65 << 10)).status_code == 413
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 40)
    assert clean.raw(head).recv(20).startswith(b"HTTP/1.1 413")
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (3 << 20)
    assert clean.raw(head).recv(20).startswith(b"HTTP/1.1 413")
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    assert clean.raw(head).recv(20).startswith(b"HTTP/1.1 100")


def test_what_cannot_be_read_is_415_and_odd_types_are_not(clean):
    assert clean.post("/execute", b"x", ctype="multipart/form-data; boundary=x").status_code == 415
    assert clean.post("/execute", b"x", headers={"Content-Encoding": "gzip"}).status_code == 415
    for ctype in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "x", None):
        r = clean.post("/execute/async", code(language="klingon"), ctype=ctype)
        assert r.status_code == 400 and "klingon" in r.text


def test_wrong_paths_and_methods(clean):
    assert clean.get("/nothing").status_code == 404 and clean.get("/nothing").json()["code"] == "NOT_FOUND"
    assert clean.get("/").status_code == 404
    assert clean.get("/jobs//wait").status_code == 404
    for method, target, allow in (("PUT", "/execute", "POST"), ("POST", "/jobs/x/", "GET, HEAD, DELETE"),
                                  ("OPTIONS", "/health", "GET, HEAD"), ("DELETE", "/keys/validate", "POST")):  # fmt: skip
        r = requests.request(method, clean.url + target)
        assert r.status_code == 405 and r.headers["Allow"] == allow
    for target in ("/health", "/health/", "/ready", "/languages", "/shells", "/metrics", "/stats", "/cluster", "/pools"):
        r = requests.head(clean.url + target)
        assert r.status_code == 200 and not r.content and int(r.headers["Content-Length"]) > 0


def test_a_body_cut_short_leaves_nothing(clean):
    s = clean.sign("POST", "/execute/async", json.dumps(code()).encode())
    head = "POST /execute/async HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n" + "".join(f"{k}: {v}\r\n" for k, v in s.items())
    sock = clean.raw((head + "\r\n" + json.dumps(code())).encode())
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(4096)[:12] in (b"", b"HTTP/1.1 408")
    sock.close()
    assert clean.get("/health").status_code == 200


def test_slow_clients_are_ended(clean):
    slow_head = clean.raw(b"GET /health HTTP/1.1\r\nX-")
    slow_body = clean.raw(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{")
    silent = clean.raw()
    end = time.monotonic() + 6
    for sock in (slow_head, slow_body):
        answer = b""
        try:
            while time.monotonic() < end:
                sock.sendall(b"a")
                sock.settimeout(0.1)
                try:
                    data = sock.recv(4096)
                except TimeoutError:
                    continue
                answer += data
                if not data:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() < end, "it was not ended"
        assert answer.startswith(b"HTTP/1.1 408") and b"REQUEST_TIMEOUT" in answer
    assert silent.recv(10) == b""


def sync_socket(farm):
    body = json.dumps(code()).encode()
    head = "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    return farm.raw((head + "".join(f"{k}: {v}\r\n" for k, v in farm.sign("POST", "/execute", body).items()) + "\r\n").encode() + body)


def newest_job(farm):
    return farm.call("GET", "/jobs?limit=1").json()["jobs"][0]


def test_a_client_that_leaves_ends_its_job(farm):
    sock = sync_socket(farm)
    taken = farm.worker.take()[0]
    sock.close()
    wait_for(lambda: farm.redis("HGET", f"{P}job:{taken[0]}", "cancel"))
    farm.worker.finish(taken, "cancelled", "cancelled")
    sock = sync_socket(farm)
    job = wait_for(lambda: [j for j in [newest_job(farm)] if j["status"] == "pending"])[0]["id"]
    sock.close()
    wait_for(lambda: farm.redis("HGET", f"{P}job:{job}", "state") == "cancelled")
    reader = POOL.submit(farm.post, "/execute/async", code())
    job = reader.result().json()["id"]
    target = f"/jobs/{job}?wait=9"
    sock = farm.raw((f"GET {target} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in farm.sign("GET", target).items()) + "\r\n").encode())
    wait_for(lambda: farm.redis("HGET", f"{P}job:{job}", "waiters"))
    sock.close()
    assert farm.call("GET", f"/jobs/{job}").json()["status"] == "pending"
    farm.call("DELETE", f"/jobs/{job}")


# ---- limits -------------------------------------------------------------------


def test_limits_are_429_with_retry_after(farm):
    keys = (SMALL_PK, SMALL_SK)
    first = farm.post("/execute/async", code(), keys=keys)
    assert first.headers["X-RateLimit-Limit"] == "60" and first.headers["X-RateLimit-Remaining"] == "1"
    assert int(first.headers["X-RateLimit-Reset"]) >= time.time() - 1
    before = farm.keys()
    r = farm.post("/execute/async", code(), keys=keys)
    assert r.status_code == 429 and r.json()["error"] == "concurrency_limit_reached"
    assert r.json()["active_executions"] == 1 and r.json()["concurrency_limit"] == 1 and int(r.headers["Retry-After"]) >= 1
    assert farm.keys() == before
    assert farm.call("DELETE", "/jobs/" + first.json()["id"], keys=keys).status_code == 200
    second = farm.post("/execute/async", code(), keys=keys)
    assert second.status_code == 200
    farm.call("DELETE", "/jobs/" + second.json()["id"], keys=keys)
    before = farm.keys()
    r = farm.post("/execute/async", code(), keys=keys)
    assert r.status_code == 429 and r.json()["error"] == "rate_limit_exceeded" and int(r.headers["Retry-After"]) >= 1
    assert r.json()["message"] and farm.keys() == before


# ---- catalogue ------------------------------------------------------------------


def test_catalogue(clean):
    r = clean.get("/languages")
    assert r.json()["languages"] == ["bash", "commonlisp", "cpp", "lisp", "python"] and r.json()["count"] == 5
    assert r.json()["aliases"]["py"] == "python" and list(r.json())[0] == "languages"
    shells = clean.get("/shells").json()
    assert "bash" in shells["shells"] and "bash" in shells["categories"]["unix"] and shells["count"] == len(shells["shells"])
    assert clean.get("/health").text == '{"status":"ok"}'
    assert clean.get("/ready").json() == {"status": "ready", "workers": 1, "languages": 4}
    cluster = clean.get("/cluster", headers={"Authorization": "Bearer " + PK}).json()
    assert cluster["mode"] == "pooled" and cluster["pool_size"] == 16 and cluster["available"] == 15
    assert cluster["network_mode"] == "zerotrust_only" and cluster["load_avg"] == {"load1": 0.5, "load5": 0.25, "load15": 0.125}
    assert cluster["memory"]["used_percent"] == 18.75
    pools = clean.get("/pools").json()
    assert pools["pool_count"] == 1 and pools["pools"][0]["id"] == "pool_manager@node1" and pools["pools"][0]["vcpu_count"] == 4
    for target in ("/stats", "/system/stats", "/system", "/pool", "/status"):
        assert clean.get(target).json()["load_1min"] == "0.50" and clean.get(target).json()["containers"] == 5
    text = clean.get("/metrics").text
    assert "unfarm_redis_up 1" in text and 'path="/jobs/{id}",code="2xx"' in text and "unfarm_workers 1" in text


# ---- faults and life --------------------------------------------------------------


def test_odd_records_do_not_break_it(farm):
    job = farm.post("/execute/async", code()).json()["id"]
    taken = farm.worker.take()[0]
    farm.redis.script("finish", taken[0], taken[1], "completed", "exited", "", "not json", RESULT_MS)
    r = farm.call("GET", f"/jobs/{job}").json()
    assert r["status"] == "completed" and r["stdout"] == ""
    farm.redis("HSET", f"{P}job:{job}", "state", "odd")
    r = farm.call("GET", f"/jobs/{job}")
    assert r.status_code == 500 and r.json()["error"] == "Internal error" and job not in r.text
    farm.redis("DEL", f"{P}job:{job}")
    farm.worker.redis.script("beat", "odd", 1100, "[1,", "nonsense", "x" * 300)
    time.sleep(1.05)  # the view that is remembered grows old
    assert farm.get("/cluster").status_code == 200
    time.sleep(0.1)


def test_requests_survive_a_redis_that_went_away():
    f = make_farm("hold_seconds = 10\n")
    try:
        assert f.processes.keys() == {"redis"}
        f.start_gateway()
        assert f.get("/ready").status_code == 503 and "no worker" in f.get("/ready").json()["message"]
        r = f.post("/execute/async", code(language="julia", vcpu=8))
        assert r.status_code == 200, "without a worker nobody knows what will be there"
        f.call("DELETE", "/jobs/" + r.json()["id"])
        f.worker.beat()
        waiting = POOL.submit(f.post, "/execute", code())
        taken = f.worker.take()[0]
        f.processes["redis"].send_signal(signal.SIGSTOP)
        f.processes["redis"].send_signal(signal.SIGCONT)
        # Cut every connection but ours: messages are lost, the answer is not.
        for line in f.redis("CLIENT", "LIST").splitlines():
            info = dict(x.split("=", 1) for x in line.split() if "=" in x)
            if info["cmd"] != "client|list" and info["id"] != str(f.worker.redis("CLIENT", "ID")):
                f.redis("CLIENT", "KILL", "ID", info["id"])
        f.worker.finish(taken)
        assert waiting.result().json()["stdout"] == "hi\n"
        f.stop("redis", signal.SIGKILL)
        wait_for(lambda: f.get("/stats").status_code == 503)
        for r in (f.get("/languages"), f.get("/ready"), f.post("/execute", code()), f.call("GET", "/jobs")):
            assert r.status_code == 503 and r.headers["Retry-After"] == "1" and r.json()["code"] == "UNAVAILABLE"
        assert f.get("/health").status_code == 200 and "unfarm_redis_up 0" in f.get("/metrics").text
        os.unlink(f.socket)
        f.start_redis()
        wait_for(lambda: f.get("/stats").status_code == 200)
    finally:
        end_farm(f)


def test_stop_answers_those_who_wait():
    f = make_farm("hold_seconds = 100\ndrain_seconds = 5\n")
    try:
        f.start_gateway()
        f.worker.beat()
        calls = [POOL.submit(f.post, "/execute", code()) for _ in range(20)]
        ids = {t[0] for t in f.worker.take(20)}
        wait_for(lambda: len(ids) == 20 or ids.update(t[0] for t in f.worker.redis.script("take", f.worker.name, "node1", 4, 20, 60_000)))
        begun = time.monotonic()
        assert f.stop("gateway") == 0 and time.monotonic() - begun < 3
        got = [c.result() for c in calls]
        assert all(r.status_code == 200 and r.json()["status"] == "running" for r in got)
        assert {r.json()["id"] for r in got} == ids and (f.folder / "run" / "gateway.pid").exists()
        with pytest.raises(requests.ConnectionError):
            f.get("/health")
        f.start_gateway()
        assert f.stop("gateway", signal.SIGINT) == 0
    finally:
        end_farm(f)


def test_the_dev_key_stays_on_loopback():
    f = make_farm("listen = 0.0.0.0\n")
    try:
        with pytest.raises(AssertionError, match="everybody knows that key"):
            f.start_gateway()
        f.settings = "[farm]\ndev_key = no\n"
        f.redis("HSET", f"{P}key:{PK}", "secret", "x")
        f.start_gateway()
        assert f.call("GET", "/jobs").status_code == 401
    finally:
        end_farm(f)


def test_it_gives_up_root(farm):
    status = pathlib.Path(f"/proc/{farm.processes['gateway'].pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    uid = str(pwd.getpwnam("unfarm-gw").pw_uid)
    assert fields["Uid"].split() == [uid] * 4 and fields["NoNewPrivs"] == "1" and int(fields["Threads"]) == 1
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapInh"], 16) == 0
