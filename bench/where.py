"""Where a job's time goes: processor time by process, a flame graph, and the
system calls of one job.

Samples come from the processor's counters where perf has them, else from its
clock (`cpu-clock`), which every virtual machine has.
"""

import collections
import contextlib
import json
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

from svg import flame
from tools import BUILD, wait_for

REQUEST = {"language": "bash", "code": "echo 1"}
WAITING = {"epoll_wait", "epoll_pwait", "poll", "ppoll", "select", "futex", "wait4", "waitid", "nanosleep",
           "clock_nanosleep", "pause", "rt_sigtimedwait"}  # fmt: skip
ROLES = {"gateway": "gateway", "worker": "worker master", "scheduler": "scheduler", "redis": "Redis"}


def role_of(name):
    if name.startswith("gateway."):
        return ROLES["gateway"]
    return ROLES.get(name, "worker process")


def on_cpu_ns(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def cgroup_ns(name):
    """Processor time of all sandboxes so far; None when no tree counts it."""
    for file in (f"cpuacct/{name}/cpuacct.usage", f"cpu,cpuacct/{name}/cpuacct.usage"):
        with contextlib.suppress(OSError):
            return int(pathlib.Path("/sys/fs/cgroup", file).read_text())
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/sys/fs/cgroup/{name}/cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec"):
                return int(line.split()[1]) * 1000
    return None


def books(farm):
    found = collections.Counter()
    for name, pid in farm.daemons_pids().items():
        found[role_of(name)] += on_cpu_ns(pid)
    inside = cgroup_ns(farm.cgroup)
    if inside is not None:
        found["sandboxes (init and program)"] = inside
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["client"] = int((used.ru_utime + used.ru_stime) * 1e9)
    return found


def cpu_by_process(farm, n):
    """Microseconds of processor time that each process spends on a job."""
    before = books(farm)
    done = farm.load("sync", "-n", n, request=REQUEST)[-1]
    after = books(farm)
    each = {role: (after[role] - before[role]) / n / 1000 for role in after if role != "scheduler"}
    return {"jobs": n, "p50_us": done["us"]["p50"], "cpu_us": each}


def perf(*args):
    return subprocess.run(["perf", *args], capture_output=True, text=True)


def perf_while(farm, n, *args):
    """perf with these arguments for as long as n jobs take one after the other."""
    body = farm.dir / "profile.json"
    body.write_text(json.dumps(REQUEST))
    key, secret = farm.key
    load = [BUILD / "bench-load", "-m", "sync", "-P", farm.port, "-k", key, "-s", secret, "-n", n, "-b", body]
    return perf(*args, "--", *map(str, load))


def roles_of(farm):
    return {pid: role_of(name) for name, pid in farm.daemons_pids().items() if name != "scheduler"}


def counters_work():
    done = perf("stat", "-x,", "-e", "cycles", "true")
    return done.returncode == 0 and "not supported" not in done.stderr and "not counted" not in done.stderr


KERNEL = ("kworker", "ksoftirqd", "rcu", "migration", "netns", "khugepaged", "kcompactd")


def role_by_name(comm):
    """Of a process that is none of the daemons; None: it is none of ours."""
    if "sandbox-i" in comm:
        return "sandbox: init"
    if comm == "bash":
        return "sandbox: bash"
    if comm.startswith(KERNEL):
        return "kernel threads"
    return "client" if comm == "bench-load" else None


def stacks_of(script, roles):
    """perf script's text -> {(role, outermost, ..., innermost): samples}"""
    found = collections.Counter()
    for block in script.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if not lines:
            continue
        head = re.match(r"\s*(.+?)\s+(\d+)\s*$", lines[0])
        if not head:
            continue
        comm, pid = head[1], int(head[2])
        frames = []
        for line in lines[1:]:
            m = re.match(r"\s*[0-9a-f]+ (.+?) \((.*)\)$", line)
            if m:
                inside = pathlib.PurePath(m[2].removesuffix(" (deleted)")).name
                name = f"in {inside}" if m[1] == "[unknown]" else m[1].split("+0x")[0]
                frames.append(name + ("_[k]" if "kernel" in m[2] else ""))
        role = roles.get(pid) or role_by_name(comm)
        if role:
            found[(role, *reversed(frames))] += 1
    return found


def hottest(stacks, n):
    """Functions by the share of samples in which they were running themselves."""
    own, total = collections.Counter(), sum(stacks.values())
    for frames, count in stacks.items():
        own[frames[-1]] += count
    return [[name.removesuffix("_[k]"), name.endswith("_[k]"), count / total] for name, count in own.most_common(n)]


def sample(farm, folder, n):
    event = "cycles" if counters_work() else "cpu-clock"
    data = folder / "perf.data"
    data.unlink(missing_ok=True)
    # All processors: sandboxes are born of nests that were there before.
    done = perf_while(farm, n, "record", "-a", "-q", "-e", event, "-F", "1999", "-g", "-o", str(data))
    if done.returncode != 0 or not data.exists():
        return {"unavailable": (done.stderr.strip().splitlines() or ["perf record failed"])[-1]}
    script = perf("script", "-i", str(data), "-F", "comm,pid,ip,sym,dso").stdout
    stacks = stacks_of(script, roles_of(farm))
    if not stacks:
        return {"unavailable": "perf took no samples"}
    flame(folder / "flame.svg", f"Where the processor is, one `bash` job at a time ({event})", stacks)
    whole = collections.Counter()
    for frames, count in stacks.items():
        whole[frames[0]] += count
    total = sum(whole.values())
    return {"event": event, "samples": total, "share": {k: v / total for k, v in whole.most_common()},
            "functions": hottest(stacks, 15)}  # fmt: skip


def parse_trace(text, roles):
    """perf trace -s -> {role: {call: [calls, ms]}}; sandboxes are not in it."""
    found, who = {}, None
    for line in text.splitlines():
        head = re.match(r"\s*(.+) \((\d+)\), \d+ events", line)
        if head:
            who = roles.get(int(head[2]))
            continue
        row = re.match(r"\s+([a-z_0-9]+)\s+(\d+)\s+\d+\s+([\d.]+)\s", line)
        if row and who:
            calls = found.setdefault(who, {}).setdefault(row[1], [0, 0.0])
            calls[0] += int(row[2])
            calls[1] += float(row[3])
    return found


def system_calls(farm, n):
    with tempfile.NamedTemporaryFile("r") as out:
        pids = ",".join(map(str, roles_of(farm)))
        done = perf_while(farm, n, "trace", "-s", "-o", out.name, "-p", pids)
        found = parse_trace(out.read(), roles_of(farm))
    if not found:
        return {"unavailable": (done.stderr.strip().splitlines() or ["perf trace saw nothing"])[-1]}
    each = {}
    for who, calls in found.items():
        busy = {k: v for k, v in calls.items() if k not in WAITING}
        each[who] = {
            "calls": sum(c for c, _ in calls.values()) / n,
            "us": 1000 * sum(ms for _, ms in busy.values()) / n,
            "most": [[k, c / n, 1000 * ms / n] for k, (c, ms) in sorted(busy.items(), key=lambda i: -i[1][1])[:8]],
        }
    return {"jobs": n, "by_process": each}


def profile(run, farm):
    wait_for("the farm to rest", farm.inits, 60)
    run.gate()
    found = {"request": REQUEST, "cpu": cpu_by_process(farm, run.n(500, 20))}
    if shutil.which("perf"):
        found["samples"] = sample(farm, run.folder, run.n(2000, 30))
        found["calls"] = system_calls(farm, run.n(500, 20))
    else:
        found["samples"] = found["calls"] = {"unavailable": "perf is not installed"}
    return found
