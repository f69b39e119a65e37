"""The C programs of this folder, and a farm to point them at."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lib"))

from farm import BUILD, Farm, wait_for  # noqa: E402

# The same programs for the floor as in a sandbox, whatever the caller's PATH.
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Failed(Exception):
    pass


def tool(name, *args, check=True, env=None):
    """Runs bench-NAME; the lines of JSON that it printed."""
    done = subprocess.run(
        [BUILD / f"bench-{name}", *map(str, args)], capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL
    )
    if check and done.returncode != 0:
        raise Failed(f"bench-{name} {' '.join(map(str, args))}: {done.stderr.strip() or done.stdout.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def floor(argv, n, *, loops=1, expect=None):
    """argv N times in each loop; bench-floor's JSON."""
    extra = ["-e", expect] if expect else []
    return tool("floor", "-n", n, "-j", loops, *extra, "--", *argv, env=ENVIRON)[0]


class BenchFarm(Farm):
    """A private farm whose limits are out of the way, with keys of its own."""

    LIMITS = {"rate_per_minute": 100000000, "burst": 100000000, "concurrency": 1000000, "queue": 100000000}

    def __init__(self, languages=("python", "bash", "dash", "c"), **conf):
        conf.setdefault("key", self.LIMITS)
        conf.setdefault("job", {}).setdefault("output_kb", 32768)
        conf["worker"] = {"drain_seconds": 0} | conf.get("worker", {})
        super().__init__(conf=conf, languages=list(languages))

    def __enter__(self):
        super().__enter__()
        self.redis("CONFIG", "SET", "appendfsync", "everysec")  # as `make run` has it
        self.redis("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        self.key = self.make_key()
        self.wait_languages(*self.languages)
        return self

    def make_key(self, *options):
        made = subprocess.run(
            [BUILD / "unfarm", "-c", self.dir / "unfarm.conf", "key", "create", "--json", *map(str, options)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        pair = json.loads(made.stdout)
        return pair["public_key"], pair["secret_key"]

    @contextlib.contextmanager
    def body(self, request):
        with tempfile.NamedTemporaryFile("w", dir=self.dir, suffix=".json") as f:
            json.dump(request, f)
            f.flush()
            yield f.name

    def load(self, mode, *options, request=None, key=None, port=None, check=True):
        """bench-load against this farm (or another port); its JSON lines."""
        public, secret = key or self.key
        args = ["-m", mode, "-P", port or self.port, "-k", public, "-s", secret, *options]
        if request is None:
            return tool("load", *args, check=check)
        with self.body(request) as path:
            return tool("load", *args, "-b", path, check=check)

    def daemons_pids(self):
        pids = {name: proc.pid for name, proc in self.procs.items()}
        pids["redis"] = self.redis_proc.pid
        pids |= {f"worker.{i}": pid for i, pid in enumerate(self.workers())}
        pids |= {f"gateway.{i}": pid for i, pid in enumerate(self.gateways()) if pid != pids["gateway"]}
        return pids

    def wait_rest(self, ready):
        """Until the pool is full, `ready` or a little more, and nothing is
        made or destroyed; the number."""
        seen = []

        def still():
            seen.append(len(self.inits()))
            return len(seen) > 10 and seen[-1] >= ready and len(set(seen[-10:])) == 1

        wait_for("the sandboxes to be ready", still, 120, 0.05)
        return seen[-1]


class Hello:
    """A bare libmicrohttpd beside the farm."""

    def __enter__(self):
        self.proc = subprocess.Popen(
            [BUILD / "bench-hello"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.proc.stdout.readline())
        return self

    def __exit__(self, *_):
        self.proc.stdin.close()
        self.proc.wait(20)
        self.proc.stdout.close()


class BareRedis:
    """A Redis for the queue's scripts alone; no disk."""

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="unfarm-bench-")
        sock = f"{self.dir.name}/redis.sock"
        self.url = f"unix:{sock}"
        self.proc = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--appendonly", "no", "--dir",
             self.dir.name],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for("redis", lambda: os.path.exists(sock))
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait(60)
        self.dir.cleanup()
