"""The measurements.  Each takes a Run and adds rows and curves to its result.

A row's value is the median over rounds.  Where it is compared with something
else, both were measured in the same round, and the ratio is the median of the
rounds' ratios: what slowed a round down slowed both.
"""

import base64
import contextlib
import os
import pathlib
import statistics
import subprocess
import threading
import time

import peers
from tools import BareRedis, BenchFarm, Failed, Hello, floor, tool
from where import books

import terminals  # after tools, which finds the tests' modules

CORES = os.cpu_count()
OUT = '"stdout":"1\\n"'
MB = 2**20
C_SOURCE = '#include <stdio.h>\nint main(void){puts("1");return 0;}\n'
LOADER = "/lib64/ld-linux-x86-64.so.2"  # starts a program that has no x bit


class Run:
    """What is measured how often, and what came out."""

    def __init__(self, quick, gate, folder):
        self.quick, self.gate, self.folder = quick, gate, folder
        self.rounds = 2 if quick else 5
        self.rows, self.curves, self.peers = [], [], {}

    def n(self, full, quick):
        return quick if self.quick else full

    def row(self, key, what, value, unit, *, target=None, limit=None, judged=None, most=True, **more):
        """limit: what `judged` (the ratio, the difference or the value) must not
        exceed, or reach when most is false."""
        ok = None
        if limit is not None and judged is not None:
            ok = judged <= limit if most else judged >= limit
        self.rows.append({"key": key, "what": what, "value": value, "unit": unit, "judged": judged,
                          "target": target, "limit": limit, "pass": ok} | more)  # fmt: skip

    def curve(self, key, title, x, y, series, *, logx=False, logy=False, note=""):
        self.curves.append({"key": key, "title": title, "x": x, "y": y, "logx": logx, "logy": logy, "note": note,
                            "series": {name: [list(p) for p in line] for name, line in series.items()}})  # fmt: skip


def p50(lines):
    return lines[-1]["us"]["p50"] / 1000  # ms


def one_at_a_time(farm, request, n, expect=OUT):
    return p50(farm.load("sync", "-n", n, "-e", expect, request=request))


# ---- one job at a time, beside the floor and the others ----


def requests_of(program):
    data = base64.b64encode(pathlib.Path(program).read_bytes()).decode()
    return {
        "python": {"language": "python", "code": "print(1)"},
        "bash": {"language": "bash", "code": "echo 1"},
        "compiled": {"language": "c", "code": C_SOURCE},
        "program": {
            "language": "dash", "code": f"exec {LOADER} ./hello",
            "input_files": [{"filename": "hello", "content_base64": data}],
        },
    }  # fmt: skip


def latency(run, farm):
    program = str(run.folder / "hello")
    subprocess.run(["gcc", "-O2", "-o", program, "-x", "c", "-"], input=C_SOURCE.encode(), check=True)
    bare = {
        "python": (["/usr/bin/python3", "-c", "print(1)"], "1"),
        "bash": (["/usr/bin/bash", "-c", "echo 1"], "1"),
        "compiled": ([program], "1"),
    }
    bundles = run.folder / "peers"
    bundles.mkdir(exist_ok=True)
    found, missing = peers.find({k: bare[k] for k in ("python", "bash")}, bundles)
    requests = requests_of(program)
    samples = {}
    often = {"farm": run.n(100, 10), "bare": run.n(100, 20)}
    for _ in range(run.rounds):
        for name, (argv, expect) in bare.items():
            run.gate()
            samples.setdefault(("bare", name), []).append(p50([floor(argv, often["bare"], expect=expect)]))
        for name, request in requests.items():
            run.gate()
            n = max(5, often["farm"] // 5) if name == "compiled" else often["farm"]
            samples.setdefault(("farm", name), []).append(one_at_a_time(farm, request, n))
        for peer, lines in found.items():
            for name, argv in lines.items():
                run.gate()
                n = run.n(50 if peer == "bubblewrap" else 15, 3)
                samples.setdefault((peer, name), []).append(p50([floor(argv, n, expect="1")]))
    latency_rows(run, samples)
    table = {}
    for who in ("bare", "farm", *found):
        table[who] = {
            name: {"ms": statistics.median(samples[who, name]), "ratio": ratio(samples, who, name)}
            for name in ("python", "bash")
        }
    run.peers = {"measured": table, "missing": missing}


def ratio(samples, who, name):
    return statistics.median(a / b for a, b in zip(samples[who, name], samples["bare", name]))


def latency_rows(run, samples):
    def both(name, base=None):
        a, b = samples["farm", name], samples["bare", base or name]
        more = {"bare": statistics.median(b), "rounds": a, "bare_rounds": b}
        return statistics.median(a), statistics.median(x / y for x, y in zip(a, b)), statistics.median(
            x - y for x, y in zip(a, b)), more  # fmt: skip

    value, times, _, more = both("python")
    run.row("sync_python", "`POST /execute` of Python `print(1)`, one at a time, p50", value, "ms", ratio=times,
            target="≤ 0.35 × bare", limit=0.35, judged=times, **more)  # fmt: skip
    value, times, over, more = both("bash")
    run.row("sync_bash", "the same of `bash` `echo 1`", value, "ms", ratio=times, over=over,
            target="≤ bare + 1 ms", limit=1, judged=over, **more)  # fmt: skip
    value, times, over, more = both("compiled")
    run.row("sync_compiled", "the same of a C program sent before", value, "ms", ratio=times, over=over,
            target="≤ bare + 1 ms", limit=1, judged=over, **more)  # fmt: skip
    value, times, over, more = both("program", "compiled")
    run.row("sync_program", "the same of a program sent as a file", value, "ms", ratio=times, over=over, **more)


# ---- all cores ----


def throughput(run, farm):
    cases = {
        "python": (["/usr/bin/python3", "-c", "print(1)"], {"language": "python", "code": "print(1)"}),
        "bash": (["/usr/bin/bash", "-c", "echo 1"], {"language": "bash", "code": "echo 1"}),
    }
    rates = {name: [] for name in cases}
    for _ in range(run.rounds):
        for name, (argv, request) in cases.items():
            run.gate()
            base = floor(argv, run.n(100, 20), loops=CORES, expect="1")["rate"]
            run.gate()
            done = farm.load("async", "-c", 16 * CORES, "-t", run.n(4, 0.5), "-e", OUT, request=request)[-1]
            rates[name].append((done["rate"], base))
    for name, target, limit in (("python", "≥ 3 × bare", 3), ("bash", None, None)):
        times = statistics.median(a / b for a, b in rates[name])
        run.row(f"throughput_{name}", f"async {name} jobs through HTTP, submitted to read, all cores",
                statistics.median(a for a, _ in rates[name]), "jobs/s", ratio=times,
                bare=statistics.median(b for _, b in rates[name]), rounds=[a for a, _ in rates[name]],
                target=target, limit=limit, judged=times, most=False)  # fmt: skip


def polling(run, farm):
    job = farm.post("/execute", {"language": "bash", "code": "echo 1"}, key=farm.key).json()["job_id"]
    rates = []
    with Hello() as hello:
        for _ in range(run.rounds):
            how = ("-c", 16, "-t", run.n(2, 0.4))
            run.gate()
            base = farm.load("get", *how, port=hello.port)[-1]["rate"]
            run.gate()
            rates.append((farm.load("get", *how, "-p", f"/jobs/{job}", "-e", OUT)[-1]["rate"], base))
    times = statistics.median(a / b for a, b in rates)
    run.row("polling", "signed `GET /jobs/{id}`, one gateway", statistics.median(a for a, _ in rates), "calls/s",
            ratio=times, bare=statistics.median(b for _, b in rates), rounds=[a for a, _ in rates],
            target="≥ 0.3 × a bare libmicrohttpd", limit=0.3, judged=times, most=False)  # fmt: skip


def exactness(run, farm):
    errors = []
    for _ in range(run.n(3, 1)):
        run.gate()
        ids = [farm.post("/execute/async", {"language": "bash", "code": "sleep 9", "ttl": 1}, key=farm.key)
               .json()["job_id"] for _ in range(4)]  # fmt: skip
        for job in ids:
            ended = farm.get(f"/jobs/{job}?wait=20", key=farm.key).json()
            if ended["status"] != "timeout":
                raise Failed(f"a job over its time is {ended['status']}")
            errors.append(abs(ended["wall_ms"] - 1000))
    run.row("wall_limit", "a job over its `ttl`: error of its wall clock, median", statistics.median(errors), "ms",
            target="< 5 ms", limit=4.999, judged=statistics.median(errors), rounds=errors)  # fmt: skip


# ---- as work grows ----


def with_cpu(farm, load):
    """load(), bench-load's JSON, and the farm's processor time for one of its
    operations in ms: of daemons, Redis and sandboxes, and what else runs on the
    machine does not change it."""
    before = books(farm)
    done = load()[-1]
    after = books(farm)
    spent = sum(after[role] - before[role] for role in after if role not in ("client", "scheduler"))
    return done, spent / max(1, done["operations"]) / 1e6


def concurrency(run, farm):
    seen, costs = {}, {}
    for _ in range(run.n(3, 1)):  # passes, so that a busy moment does not make a point
        for name, code in (("python", "print(1)"), ("bash", "echo 1")):
            for c in run.n((1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 8)):
                run.gate()
                done, ms = with_cpu(farm, lambda: farm.load("async", "-c", c, "-t", run.n(2, 0.3), "-e", OUT,
                                                            request={"language": name, "code": code}))  # fmt: skip
                costs.setdefault((name, c), []).append(ms)
                seen.setdefault((name, c), []).append((done["rate"], done["us"]["p50"] / 1000, done["us"]["p99"] / 1000))
    rates, waits = {}, {}
    for (name, c), passes in seen.items():
        rate, middle, tail = (statistics.median(p) for p in zip(*passes))
        rates.setdefault(name, []).append((c, rate))
        waits.setdefault(f"{name} p50", []).append((c, middle))
        waits.setdefault(f"{name} p99", []).append((c, tail))
    run.curve("throughput", "Throughput against concurrency", "jobs at the same time", "jobs/s", rates, logx=True,
              note="rises to the cores and stays")  # fmt: skip
    cpu = {}
    for (name, c), passes in costs.items():
        cpu.setdefault(name, []).append((c, statistics.median(passes)))
    run.curve("throughput-cpu", "Processor time of a job against concurrency", "jobs at the same time", "ms", cpu,
              logx=True, note="flat")  # fmt: skip
    run.curve("latency", "Time to the result against concurrency", "jobs at the same time", "ms", waits,
              logx=True, logy=True, note="linear above the cores")  # fmt: skip


def queue_depth(run, _farm):
    depths = run.n((0, 10, 100, 1000, 10_000, 100_000, 1_000_000), (0, 1000))
    run.gate()
    with BareRedis() as empty, BareRedis() as full:
        lines = tool("queue", "-d", ",".join(map(str, depths)), "-n", run.n(4000, 200), empty.url, full.url)
    series = {}
    for step in ("enqueue", "take", "finish"):
        series[step] = [(line["depth"], line["full"][step]["p50"]) for line in lines]
    for step in ("enqueue", "take"):
        times = [line["full"][step]["p50"] / line["empty"][step]["p50"] for line in lines]
        worst = times.index(max(times))
        run.row(f"queue_{step}", f"`{step}`, p50, the worst of 0 to {depths[-1]:,} waiting jobs", series[step][worst][1],
                "µs", ratio=times[worst], bare=lines[worst]["empty"][step]["p50"], rounds=times,
                target="≤ 1.2 × an empty queue", limit=1.2, judged=times[worst])  # fmt: skip
    run.curve("queue", "The queue's scripts against jobs that wait", "waiting jobs", "µs, p50", series, logx=True,
              note="flat")  # fmt: skip


def fairness(run, farm):
    """Another key's job while one key has many waiting."""
    crowd = farm.make_key("--concurrency", "1")
    farm.post("/execute/async", {"language": "bash", "code": "sleep 800", "ttl": 900}, key=crowd)
    alone, behind = [], []
    done = 0
    for depth in run.n((0, 100, 1000, 10_000, 100_000), (0, 200)):
        if depth > done:
            tool("queue", "-f", depth - done, "-K", crowd[0], f"unix:{farm.dir}/run/redis.sock")
            done = depth
        run.gate()
        ended = farm.load("sync", "-n", run.n(150, 10), "-e", OUT, request={"language": "bash", "code": "echo 1"})[-1]
        alone.append((depth, ended["us"]["p50"] / 1000))
        behind.append((depth, ended["us"]["p99"] / 1000))
    run.curve("waiting", "A job while another key's jobs wait", "waiting jobs of the other key", "ms",
              {"p50": alone, "p99": behind}, logx=True, note="flat")  # fmt: skip


def sizes(run, farm):
    outputs, files = [], []
    cpu = {"output": [], "files": []}

    def measure(series, name, n, request, expect):
        often = run.n(max(5, min(60, (8 << 20) // max(1, n))), 5)
        run.gate()
        done, ms = with_cpu(farm, lambda: farm.load("sync", "-n", often, "-e", expect, request=request))
        series.append((n, p50([done])))
        cpu[name].append((n, ms))

    for n in run.n((1, 1024, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20), (1, 64 << 10)):
        code = f"head -c {n} /dev/zero | tr '\\0' x"
        measure(outputs, "output", n, {"language": "bash", "code": code}, f'"stdout_bytes":{n},')
    for n in run.n((0, 1024, 64 << 10, 1 << 20, 4 << 20, 10 << 20), (0, 64 << 10)):
        parts = [n // 2, n - n // 2] if n > 5 * MB else [n] if n else []
        sent = [{"filename": f"f{i}", "content_base64": base64.b64encode(bytes(k)).decode()} for i, k in enumerate(parts)]
        code = "echo 1" if not parts else "[ -s f0 ] && echo 1"
        measure(files, "files", n, {"language": "bash", "code": code, "input_files": sent}, OUT)
    run.curve("output", "A job against the bytes that it prints", "bytes of output", "ms, p50", {"output": outputs},
              logx=True, logy=True, note="flat, then linear")  # fmt: skip
    run.curve("files", "A job against the bytes of its input files", "bytes of files", "ms, p50", {"files": files},
              logx=True, logy=True, note="flat, then linear")  # fmt: skip
    run.curve("size-cpu", "Processor time of a job against its bytes", "bytes", "ms", cpu, logx=True, logy=True,
              note="flat, then linear")  # fmt: skip


# ---- sandboxes at rest ----


def own_mb(pids):
    """Memory that these processes share with no others; programs and libraries are the page cache's."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1])
    return total / 1024


def charged_mb(farm, group):
    """What the kernel charges to a control group, its own part included."""
    for tree, name in (("memory", "memory.usage_in_bytes"), ("", "memory.current")):
        with contextlib.suppress(OSError):
            return int(pathlib.Path("/sys/fs/cgroup", tree, farm.cgroup, group, name).read_text()) / MB
    return 0


def at_rest(farm):
    """Of each sandbox that is ready, with the nest that it was forked in: (program that it has up or "", own MB, charged MB)."""
    found = []
    inits = set(farm.inits())
    for procs in pathlib.Path("/sys/fs/cgroup/pids", farm.cgroup).glob("n*/cgroup.procs"):
        pids = set(map(int, procs.read_text().split()))
        if inits & pids:
            exes = {os.path.basename(os.readlink(f"/proc/{pid}/exe")) for pid in pids}
            program = next((exe for exe in exes if "sandbox-init" not in exe), "")
            found.append((program, own_mb(pids), charged_mb(farm, procs.parent.name)))
    return found


def used_mb():
    """Memory of the whole machine that is in use, page cache left out: it also
    has what the kernel charges to nobody, and what others do meanwhile."""
    found = {}
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        found[name] = int(value.split()[0]) / 1024
    return found["MemTotal"] - found["MemFree"] - found["Buffers"] - found["Cached"] + found["Shmem"] - found["SReclaimable"]


def ready(run, _farm):
    """A farm of its own for each number of ready sandboxes."""
    whole, charged, times = [], [], []
    for n in run.n((1, 4, 16, 64, 250, 500), (2, 40)):
        before = used_mb()
        with BenchFarm(languages=("bash",), worker={"warm": n, "slots": 8 * CORES, "forked": "", "ahead": 0}) as farm:
            n = farm.wait_rest(n)
            run.gate()
            whole.append((n, used_mb() - before))
            plain = at_rest(farm)
            charged.append((n, sum(mb for _, _, mb in plain)))
            # With a variable of its own it is not forked: it takes one of those.
            request = {"language": "bash", "code": "echo 1", "env": {"A": "1"}}
            times.append((n, one_at_a_time(farm, request, run.n(100, 10))))
    with BenchFarm(languages=("python",), worker={"forked": "python", "ahead": 0}) as farm:
        one_at_a_time(farm, {"language": "python", "code": "print(1)"}, run.n(30, 5))
        farm.wait_rest(1)
        python = [found for found in at_rest(farm) if found[0].startswith("python")]
    (few, least), (many, most) = whole[0], whole[-1]
    value = statistics.median(mb for _, mb, _ in plain)
    run.row("sandbox_private", "a warm sandbox at rest: memory of its processes and its nest's", value, "MB",
            target="≤ 1 MB", limit=1, judged=value)  # fmt: skip
    run.row("sandbox_charged", "the same: all that is charged to their control group",
            statistics.median(mb for _, _, mb in plain), "MB")  # fmt: skip
    run.row("sandbox_whole", f"the same: the machine's memory, 1 of {many}", (most - least) / (many - few), "MB",
            rounds=[m for _, m in whole])  # fmt: skip
    value = statistics.median(mb for _, mb, _ in python)
    run.row("python_ready", "Python ready in a warm sandbox: memory of its processes and its nest's", value, "MB",
            target="≤ 4 MB", limit=4, judged=value)  # fmt: skip
    run.row("python_charged", "the same: all that is charged to their control group",
            statistics.median(mb for _, _, mb in python), "MB")  # fmt: skip
    run.curve("ready-memory", "Memory against sandboxes that are ready", "sandboxes ready", "MB",
              {"machine": whole, "control groups": charged}, note="linear")  # fmt: skip
    run.curve("ready-latency", "A job against sandboxes that are ready", "sandboxes ready", "ms, p50",
              {"bash, not forked": times}, logx=True, note="flat")  # fmt: skip


def sessions(run, _farm):
    n, idle = run.n(40, 5), run.n(200, 10)
    with terminals.SessionFarm(idle) as farm:
        run.gate()
        local, remote = terminals.local_to_prompt(n), terminals.to_prompt(farm, n)
        run.row("session_create", "session: create to first prompt, p50", terminals.ms(remote), "ms", bare=terminals.ms(local),
                target="≤ 10 ms", limit=10, judged=terminals.ms(remote))  # fmt: skip
        rounds = [(terminals.remote_echo(farm, 10 * n), terminals.local_echo(["dash", "-i"], 10 * n)) for _ in range(run.rounds)]
        over = statistics.median(terminals.ms(a) - terminals.ms(b) for a, b in rounds)
        run.row("session_echo", "session: a keystroke's echo over WebSocket, over a local PTY, p50", statistics.median(terminals.ms(a) for a, _ in rounds), "ms",
                bare=statistics.median(terminals.ms(b) for _, b in rounds), over=over, target="≤ 0.3 ms more", limit=0.3, judged=over)  # fmt: skip
        for name, value in terminals.others(10 * n).items():
            run.row(f"session_echo_{name}", f"the same through `{name}` of this machine", value, "ms")
        frozen, thawed, answered = terminals.freezing(farm, 5 * n)
        for key, what, took, limit in (("freeze", "session: freeze, with a shell at its prompt, p50", frozen, 0.2), ("thaw", "session: thaw, p50", thawed, 0.2),
                                       ("wake", "session: a command call to a frozen one, answered, p50", answered, 3)):  # fmt: skip
            run.row(f"session_{key}", what, terminals.ms(took), "ms", target=f"≤ {limit} ms", limit=limit, judged=terminals.ms(took))
        each = terminals.idle_mb(farm, idle)
        run.row("session_memory", f"idle session with bash: the machine's memory, 1 of {idle}", each, "MB", target="≤ 1.2 MB", limit=1.2, judged=each)


# ---- a long time ----


def rss_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def sample_memory(farm, stop, every, found):
    began = time.monotonic()
    while not stop.wait(every):
        at = time.monotonic() - began
        for name, pid in farm.daemons_pids().items():
            with contextlib.suppress(OSError):
                found.setdefault(name, []).append((at, rss_kb(pid) / 1024))


def drift(line):
    """Last third over the middle third, as medians: the first third warms up."""
    third = len(line) // 3
    if third == 0:
        return None
    return statistics.median(v for _, v in line[-third:]) / statistics.median(v for _, v in line[third : 2 * third])


def soak(seconds, gate):
    request = {"language": "bash", "code": "echo 1"}
    every = max(0.5, seconds / 120)
    memory, stop = {}, threading.Event()
    # Results live a minute, so that what is kept is as much at the end as in the middle.
    with BenchFarm(languages=("bash",), job={"result_seconds": 60}) as farm:
        gate()
        most = farm.load("async", "-c", 16 * CORES, "-t", min(10, seconds / 5), "-e", OUT, request=request)[-1]["rate"]
        watcher = threading.Thread(target=sample_memory, args=(farm, stop, every, memory))
        watcher.start()
        try:
            lines = farm.load("async", "-c", 64 * CORES, "-t", seconds, "-r", 0.8 * most, "-i", every, "-e", OUT,
                              request=request, check=False)  # fmt: skip
        finally:
            stop.set()
            watcher.join()
    whole = lines.pop()
    middle = {q: [(line["at"], line["us"][q] / 1000) for line in lines if line["us"]["n"]] for q in ("p50", "p99")}
    return {
        "seconds": seconds, "capacity": most, "rate": 0.8 * most, "whole": whole, "latency_ms": middle,
        "memory_mb": memory, "drift": {"p50": drift(middle["p50"])} | {k: drift(v) for k, v in memory.items()},
    }  # fmt: skip


ALL = (latency, throughput, polling, exactness, concurrency, sizes, fairness, queue_depth, ready, sessions)
