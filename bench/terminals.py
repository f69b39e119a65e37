"""What a session costs: until its first prompt, for each key that is pressed, at rest, to freeze."""
import contextlib
import fcntl
import os
import pathlib
import pty
import re
import signal
import statistics
import struct
import subprocess
import termios
import time

from farm import Farm, wait_for
from terminal import Native

PROMPT = b"$ "
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "xterm-256color", "HOME": "/root", "PS1": "\\u@\\h:\\w$ "}


class SessionFarm(Farm):
    def __init__(self, n):
        super().__init__(daemons=("scheduler", "sessiond", "gateway"), conf={"sessiond": {"sessions": n + 8, "warm": 8, "keep_seconds": 0}})

    def __enter__(self):
        super().__enter__()
        wait_for("a node", lambda: self.redis("HLEN", "{unfarm}:room") == "1")
        wait_for("a gateway", lambda: self.get("/sessions").status_code == 200)
        return self

    def create(self, **body):
        answer = self.post("/sessions", {"shell": "bash", "persist": True, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]


class Local:
    """The same shell in a terminal of this machine."""

    def __init__(self, *argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, ENVIRON)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def until(self, what):
        seen = b""
        while what not in seen:
            seen += os.read(self.fd, 65536)
        return seen

    def type(self, data):
        os.write(self.fd, data)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def ms(seconds):
    return 1000 * statistics.median(seconds)


def to_prompt(farm, n):
    took = []
    for _ in range(n):
        began = time.perf_counter()
        session = farm.create()
        t = Native(farm, session)
        t.until(PROMPT)
        took.append(time.perf_counter() - began)
        t.close()
        farm.delete(f"/sessions/{session}")
        time.sleep(0.05)  # the next sandbox is made meanwhile
    return took


def local_to_prompt(n):
    took = []
    for _ in range(n):
        began = time.perf_counter()
        t = Local("bash", "--norc", "-i")
        t.until(PROMPT)
        took.append(time.perf_counter() - began)
        t.close()
    return took


def echoes(t, read, n):
    """A key, until it is on the screen; `cat` is what runs, so the terminal echoes."""
    took = []
    t.type(b"cat\r")
    read(b"cat\r\n")
    time.sleep(0.2)
    for _ in range(n):
        key = b"~"  # nothing paints it but the echo
        began = time.perf_counter()
        t.type(key)
        read(key)
        took.append(time.perf_counter() - began)
    return took


def remote_echo(farm, n):
    session = farm.create(shell="dash")
    t = Native(farm, session)
    t.until(b"# ")

    def read(what):
        at = len(t.output)
        while what not in t.output[at:]:
            t.step()

    took = echoes(t, read, n)
    t.close()
    farm.delete(f"/sessions/{session}")
    return took


def local_echo(argv, n):
    t = Local(*argv)
    time.sleep(0.5)
    took = echoes(t, t.until, n)
    t.close()
    return took


def pss_kb(pid):
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return 0


def available_kb():
    return int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])


def idle_mb(farm, n):
    """Of each of n sessions with a bash at its prompt: what the machine has less."""
    wait = farm.create()
    farm.delete(f"/sessions/{wait}")
    time.sleep(2)
    before, made = available_kb(), []
    for _ in range(n):
        made.append(farm.create())
    time.sleep(3)
    each = (before - available_kb()) / n / 1024
    for s in made:
        farm.delete(f"/sessions/{s}")
    return each


def freezing(farm, n):
    session = farm.create()
    t = Native(farm, session)
    t.until(PROMPT)
    frozen, thawed, answered = [], [], []
    for _ in range(n):
        frozen.append(farm.post(f"/sessions/{session}/freeze", {}).json()["freeze_time_us"] / 1e6)
        thawed.append(farm.post(f"/sessions/{session}/unfreeze", {}).json()["unfreeze_time_us"] / 1e6)
        farm.post(f"/sessions/{session}/freeze", {})
        began = time.perf_counter()
        assert farm.post(f"/sessions/{session}/execute", {"argv": ["true"]}).json()["exit_code"] == 0
        answered.append(time.perf_counter() - began)
    t.close()
    farm.delete(f"/sessions/{session}")
    return frozen, thawed, answered


def others(n):
    """Echo through what Debian offers, where it is installed."""
    found = {}
    for name, argv in (("script", ["script", "-qc", "dash -i", "/dev/null"]), ("tmux", ["tmux", "-L", "bench", "new-session", "dash", "-i"])):
        if subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True).returncode == 0:
            found[name] = ms(local_echo(argv, n))
    subprocess.run(["tmux", "-L", "bench", "kill-server"], capture_output=True)
    return found
