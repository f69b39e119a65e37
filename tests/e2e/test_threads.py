"""The one place with threads, a worker that writes large results, under the thread sanitizer.

`make tsan` runs everything so; this is the part that has something to find, in every `make test`.
"""

import base64
import os
import subprocess

from farm import BUILD, ROOT, Farm, wait_for

TSAN = ROOT / "build/tsan"
LARGE = 1 << 20  # worker/fetch.c: LARGE_RESULT and more


def build():
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    made = subprocess.run(["make", "-j2", f"B={TSAN.relative_to(ROOT)}", "SAN=thread", f"{TSAN.relative_to(ROOT)}/unfarm-worker"],
                          cwd=ROOT, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    symbols = subprocess.run(["nm", "-D", TSAN / "unfarm-worker"], capture_output=True, text=True, check=True).stdout
    assert "__tsan_write8" in symbols and BUILD.is_dir()


def threads(farm):
    return [int(line.split()[1]) for pid in farm.workers()
            for line in open(f"/proc/{pid}/status") if line.startswith("Threads:")]


def test_large_results_are_written_without_races():
    """While other jobs come and go, the languages are read again and the worker drains; Farm reads the logs."""
    build()
    code = f"head -c {LARGE} /dev/urandom | base64 -w0 | head -c {LARGE}; head -c 90000 /dev/zero >/tmp/artifacts/a"
    wrap = {"worker": ["sh", "-c", 'shift; exec "$0" "$@"', TSAN / "unfarm-worker"]}
    with Farm(languages=["bash"], conf={"worker": {"slots": 8, "drain_seconds": 10}}, wrap=wrap) as farm:
        farm.wait_languages("bash")
        idle = max(threads(farm))
        jobs = [farm.submit("bash", code if n % 3 else "echo small", return_artifacts=True) for n in range(24)]
        done = [farm.wait_job(job) for job in jobs[:12]]
        farm.procs["worker"].send_signal(1)
        done += [farm.wait_job(job) for job in jobs[12:]]
        assert max(threads(farm)) > idle, "no thread was started: nothing was tried"
        for n, job in enumerate(done):
            if n % 3:
                assert len(job["stdout"]) == LARGE and len(base64.b64decode(job["artifacts"][0]["content_base64"])) == 90000
            else:
                assert job["stdout"] == "small\n"
        last = farm.submit("bash", code)
        wait_for("it to run", lambda: farm.get(f"/jobs/{last}").json()["status"] != "pending")
        assert farm.stop_one("worker") == 0
