"""What the figures were measured on, and whether anything else was running."""

import os
import pathlib
import platform
import time


def describe():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    memory = int(pathlib.Path("/proc/meminfo").read_text().split(None, 2)[1])
    release = dict(
        line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return {
        "model": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**20, 1),
        "kernel": platform.release(),
        "virtual": any(" hypervisor" in line for line in info if line.startswith("flags")),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "load_before": [round(v, 2) for v in os.getloadavg()],
    }


def cpu_times():
    """Ticks that were idle, and all ticks, since boot."""
    values = [int(v) for v in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return values[3] + values[4], sum(values)


class Gate:
    """Waits for a quiet machine before a batch, with one budget for the whole
    run; says how quiet it was when it let the batch through."""

    LOOK, QUIET = 0.15, 0.88  # seconds, share of idle time

    def __init__(self, patience):
        self.left, self.idle = patience, []

    def _look(self):
        before = cpu_times()
        time.sleep(self.LOOK)
        after = cpu_times()
        return (after[0] - before[0]) / max(1, after[1] - before[1])

    def __call__(self):
        until = time.monotonic() + min(10, self.left)
        began = time.monotonic()
        idle = self._look()
        while idle < self.QUIET and time.monotonic() < until:
            idle = self._look()
        self.left = max(0, self.left - (time.monotonic() - began))
        self.idle.append(idle)

    def summary(self):
        seen = sorted(self.idle) or [0]
        quiet = sum(v >= self.QUIET for v in seen)
        return {"batches": len(seen), "quiet": quiet, "idle_median": round(seen[len(seen) // 2], 3)}
