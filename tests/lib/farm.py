"""A private farm for a test: its own Redis, daemons, port, cgroup and folder.

    with Farm() as farm:
        answer = farm.post("/execute", {"language": "bash", "code": "echo hi"})

Everything is started as real processes and stopped by pid; a farm checks on its
way out that it left no process, mount or cgroup behind.
"""

import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/debug"))
PUBLIC = "unsb-pk-test-0000-0000-0001"
SECRET = "unsb-sk-test0-vault-unlck-12345"


def best(measure, good, tries=3):
    """What measure() gives, tried again on a machine that was busy with something else: the first good one, or the last."""
    for _ in range(tries):
        value = measure()
        if good(value):
            break
        time.sleep(0.5)
    return value


def wait_for(what, test, seconds=30, pause=0.02):
    """The first true value of test(); fails, naming what, after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def redis_script(name):
    """A script of conf/redis as the daemons have it (scripts/embed-lua)."""
    text = (ROOT / f"conf/redis/{name}.lua").read_text()
    flags = text.startswith("#!")  # Redis reads them in the very first line
    head, body = text.split("\n", 1) if flags else ("", text)
    return f"{head}\n" * flags + (ROOT / "conf/redis/_prelude.lua").read_text() + body


def ensure_accounts():
    for name in ("unfarm-gw", "unfarm-wk", "unfarm-sched", "unfarm-sd"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(
                ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
                check=True,
            )


def remove_groups(name):
    """Kills what is in a farm's control groups and removes them."""
    for top in pathlib.Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for folder in (*top.glob("*/"), top):
            for _ in range(50):
                pids = ""
                with contextlib.suppress(OSError):  # it goes meanwhile: ENODEV, too
                    pids = (folder / "cgroup.procs").read_text()
                for pid in pids.split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                with contextlib.suppress(FileNotFoundError):
                    try:
                        folder.rmdir()
                    except OSError:
                        time.sleep(0.02)
                        continue
                break


# With the number of our root: tests in another one see our groups, and not our folders.
PREFIX = f"unfarm-test-{os.stat('/').st_ino:x}-"


def sweep():
    """What a killed test left: control groups of farms whose folder is gone."""
    for top in pathlib.Path("/sys/fs/cgroup/pids").glob(f"{PREFIX}*"):
        farm = re.sub("-(start|check|plan|sessions)$", "", top.name)  # groups for trials: sandbox/check.c
        if not pathlib.Path(tempfile.gettempdir(), farm).exists():
            remove_groups(top.name)


class Farm:
    """
    conf       settings, {section: {name: value}}
    languages  only these records; None: all
    redis      further arguments of redis-server
    disks      folders of the farm that are small disks: {"redis": "8m"}
    wrap       words in front of a daemon's command: {"worker": ["unshare", "-m"]}
    env        further variables of a daemon, or of "redis": {"gateway": {...}}
    """

    def __init__(self, *, conf=None, daemons=("scheduler", "worker", "gateway"), languages=None,
                 redis=(), disks=None, wrap=None, env=None):
        self.conf = conf or {}
        self.daemons = daemons
        self.languages = languages
        self.redis_args = list(redis)
        self.disks = disks or {}
        self.wrap = wrap or {}
        self.env = env or {}
        self.procs = {}
        self.redis_proc = None
        self.complaints = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()

    # ---- life ----

    def __enter__(self):
        ensure_accounts()
        sweep()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.dir.chmod(0o755)
        self.cgroup = self.dir.name
        for name in ("data", "run", "log", "redis"):
            (self.dir / name).mkdir()
        self._share()
        self._write_conf()
        try:
            for name, size in self.disks.items():
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs",
                                self.dir / name], check=True)
            self.start_redis()
            for name in self.daemons:
                self.start(name)
            if "gateway" in self.daemons and "worker" in self.daemons:
                self.wait_ready()
        except BaseException:
            self._show_logs()
            self.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._show_logs()
        self.stop()
        if kind is None:
            left = self.leftovers()
            remove_groups(self.cgroup)
            remove_groups(f"{self.cgroup}-sessions")
            assert left == [], left
            assert self.complaints == [], "\n".join(self.complaints)

    def _share(self):
        share = self.dir / "share"
        shutil.copytree(ROOT / "conf", share)
        if self.languages is not None:
            for record in (share / "languages.d").iterdir():
                if record.stem not in self.languages:
                    record.unlink()
        subprocess.run(["chmod", "-R", "a+rX", share], check=True)

    def _write_conf(self):
        sections = {
            "farm": {
                "redis_url": f"unix:{self.dir}/run/redis.sock",
                "data_dir": self.dir / "data",
                "run_dir": self.dir / "run",
                "share_dir": self.dir / "share",
                "libexec_dir": BUILD,
                "dev_key": "yes",
            },
            "gateway": {"port": self.port},
            "sandbox": {"cgroup": self.cgroup},
            "sessiond": {"port": free_port(), "cgroup": f"{self.cgroup}-sessions"},
        }
        for name, rows in self.conf.items():
            sections.setdefault(name, {}).update(rows)
        with open(self.dir / "unfarm.conf", "w") as f:
            for name, rows in sections.items():
                f.write(f"[{name}]\n")
                f.writelines(f"{key} = {value}\n" for key, value in rows.items())

    def start_redis(self):
        self.redis_proc = subprocess.Popen(
            [
                "redis-server", "--port", "0", "--unixsocket", f"{self.dir}/run/redis.sock",
                "--unixsocketperm", "777", "--dir", f"{self.dir}/redis", "--appendonly", "yes",
                "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
                *self.redis_args,
            ],
            stdout=open(self.dir / "log/redis.log", "a"), stderr=subprocess.STDOUT,
            env=os.environ | self.env.get("redis", {}),
        )
        wait_for("redis", lambda: self.redis("PING") == "PONG")

    def kill_redis(self):
        self.redis_proc.kill()
        self.redis_proc.wait()

    def start(self, name, *, suffix=""):
        log = open(self.dir / f"log/{name}{suffix}.log", "a")
        self.procs[name + suffix] = subprocess.Popen(
            [*self.wrap.get(name, []), BUILD / f"unfarm-{name}", "-c", self.dir / "unfarm.conf"],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | self.env.get(name, {}),
        )

    def wait_ready(self, seconds=60):
        def ready():
            assert self.procs["gateway"].poll() is None, "the gateway ended"
            assert self.procs["worker"].poll() is None, "the worker ended"
            with contextlib.suppress(requests.ConnectionError):
                return self.session.get(self.url + "/ready").status_code == 200

        wait_for("the farm to be ready", ready, seconds, 0.05)

    def wait_languages(self, *names, seconds=120):
        """Until the canaries of these languages passed."""
        wait_for(
            f"languages {names}",
            lambda: set(names) <= set(self.get("/languages", sign=False).json()["languages"]),
            seconds, 0.1,
        )

    def wait_canaries(self, seconds=240):
        """Until every installed language was tried."""
        wait_for("the canaries", lambda: "languages tried" in self.log("worker"), seconds, 0.2)
        time.sleep(1.1)  # gateways look again after a second

    def stop_one(self, name, sig=None, seconds=60):
        """sessiond's sessions end with it, unless it is told to keep them: by SIGTERM."""
        proc = self.procs.pop(name)
        proc.send_signal(sig or (signal.SIGQUIT if name.startswith("sessiond") else signal.SIGTERM))
        return proc.wait(seconds)

    def stop(self):
        for name, proc in list(self.procs.items()):
            try:
                self.stop_one(name)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()
        if self.redis_proc:
            self.redis_proc.terminate()
            self.redis_proc.wait(20)
        self.complaints = self._complaints()
        for name in self.disks:
            subprocess.run(["umount", self.dir / name], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _complaints(self):
        """What sanitizers, or valgrind, had to say in the logs."""
        words = ("Sanitizer", "runtime error:", "ERROR SUMMARY: ")
        lines = [f"{log.name}: {line}" for log in sorted((self.dir / "log").glob("*.log"))
                 for line in log.read_text(errors="replace").splitlines() if any(w in line for w in words)]
        return [line for line in lines if "ERROR SUMMARY: 0 errors" not in line]

    def leftovers(self):
        """Processes, mounts and cgroups of this farm that are still there."""
        left = [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}")]
        left += [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(self.cgroup)]
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        left += [line for line in mounts.splitlines() if str(self.dir) in line]
        for proc in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.dir).encode() in proc.read_bytes():
                    left.append(str(proc))
        return left

    def fill(self, name):
        """Takes the rest of a small disk; unlinking what it returns gives it back."""
        ballast = self.dir / name / "ballast"
        with open(ballast, "wb", buffering=0) as f:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while f.write(b"x" * size):
                        pass
        return ballast

    def log(self, name):
        with contextlib.suppress(FileNotFoundError):
            return (self.dir / f"log/{name}.log").read_text(errors="replace")
        return ""

    def _show_logs(self):
        for path in sorted((self.dir / "log").glob("*.log")):
            print(f"---- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:]))

    # ---- processes of the farm ----

    def gateways(self):
        """Pids of the processes that serve: children of the one that was started, or itself."""
        pid = self.procs["gateway"].pid
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [pid]

    def workers(self):
        """Pids of the worker processes (not of their master)."""
        master = self.procs["worker"].pid
        children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
        found = []
        for pid in map(int, children):
            with contextlib.suppress(OSError):
                if b"--child" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def processes(self, numbers):
        """Pids of those in our groups that live and whose numbers in their pid namespaces, ours first, are such."""
        found = []
        for procs in pathlib.Path(f"/sys/fs/cgroup/pids/{self.cgroup}").glob("n*/cgroup.procs"):
            with contextlib.suppress(OSError):
                for pid in map(int, procs.read_text().split()):
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    if re.search(rf"^NSpid:{numbers}$", status, re.M) and "State:\tZ" not in status:
                        found.append(pid)
        return found

    def nests(self):
        return self.processes(r"\t\d+\t1")

    def inits(self):
        """First processes of sandboxes, those of dead ones not counted."""
        return self.processes(r"\t\d+\t\d+\t1")

    def inside(self):
        """All of sandboxes."""
        return self.processes(r"\t\d+\t\d+\t\d+.*")

    def compiled(self):
        """The compiled programs that are kept, by their files' names."""
        return {path.name for path in (self.dir / "data/compiled").glob("[0-9a-f]" * 80)}

    # ---- talking to it ----

    def redis(self, *args):
        out = subprocess.run(
            ["redis-cli", "-s", f"{self.dir}/run/redis.sock", *map(str, args)],
            capture_output=True, text=True,
        )
        return out.stdout.rstrip("\n")

    def hash(self, key):
        """A hash of the farm, by its name without the prefix."""
        words = self.redis("HGETALL", "{unfarm}:" + key).split("\n")
        return dict(zip(words[::2], words[1::2]))

    def new_key(self, **limits):
        """unfarm key create: the pair."""
        options = [f"--{name}={value}" for name, value in limits.items()]
        out = subprocess.run(
            [BUILD / "unfarm", "-c", self.dir / "unfarm.conf", "key", "create", "--json", *options],
            capture_output=True, text=True, check=True)
        made = json.loads(out.stdout)
        return made["public_key"], made["secret_key"]

    def keys(self):
        """Every key of the farm, but for the books of its processes."""
        books = ("winfo:", "can:", "workers", "leader", "key:", "keys", "stats", "seq", "wake")
        found = self.redis("KEYS", "*").split("\n")
        names = {k.split(":", 1)[1] for k in found if k}
        return {n for n in names if not n.startswith(books)}

    def sign(self, method, target, body, key=(PUBLIC, SECRET), now=None):
        stamp = str(int(now if now is not None else time.time()))
        message = f"{stamp}:{method}:{target}:".encode() + body
        return {
            "Authorization": f"Bearer {key[0]}",
            "X-Timestamp": stamp,
            "X-Signature": hmac.new(key[1].encode(), message, hashlib.sha256).hexdigest(),
            "Content-Type": "application/json",
        }

    def call(self, method, target, body=b"", *, key=(PUBLIC, SECRET), sign=True, headers=None,
             session=None, timeout=130):
        if not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = self.sign(method, target, body, key) if sign else {}
        head.update(headers or {})
        caller = session or self.session
        return caller.request(method, self.url + target, data=body, headers=head, timeout=timeout)

    def get(self, target, **kw):
        return self.call("GET", target, **kw)

    def post(self, target, body=b"", **kw):
        return self.call("POST", target, body, **kw)

    def delete(self, target, **kw):
        return self.call("DELETE", target, **kw)

    def end_sessions(self):
        for s in self.get("/sessions").json()["sessions"]:
            self.delete(f"/sessions/{s['id']}")

    def run(self, language, code, **options):
        """POST /execute; the result, which must be a 200."""
        answer = self.post("/execute", {"language": language, "code": code, **options})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, language, code, **options):
        answer = self.post("/execute/async", {"language": language, "code": code, **options})
        assert answer.status_code == 200, answer.text
        return answer.json()["job_id"]

    def wait_job(self, job_id, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            job = self.get(f"/jobs/{job_id}?wait=20").json()
            if job["status"] not in ("pending", "running"):
                return job
            assert time.monotonic() < deadline, f"{job_id} is {job['status']}"
