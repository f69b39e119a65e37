"""What a session costs: until its first prompt, for each key that is pressed, at rest, to freeze."""
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import pty
import re
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import termios
import time

from farm import Farm, free_port, wait_for
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
    t.until(PROMPT.strip())
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


def call_s(farm, link, target, body):
    """Of a request that is signed and ready, to its answer."""
    raw = json.dumps(body).encode()
    head = farm.sign("POST", target, raw)
    began = time.perf_counter()
    link.request("POST", target, raw, head)
    answer = json.loads(link.getresponse().read())
    took = time.perf_counter() - began
    assert answer["exit_code"] == 0
    return took


def freezing(farm, n):
    session = farm.create()
    link = http.client.HTTPConnection("127.0.0.1", farm.port)
    t = Native(farm, session)
    t.until(PROMPT)
    frozen, thawed, answered = [], [], []
    for _ in range(n):
        frozen.append(farm.post(f"/sessions/{session}/freeze", {}).json()["freeze_time_us"] / 1e6)
        thawed.append(farm.post(f"/sessions/{session}/unfreeze", {}).json()["unfreeze_time_us"] / 1e6)
        farm.post(f"/sessions/{session}/freeze", {})
        answered.append(call_s(farm, link, f"/sessions/{session}/execute", {"argv": ["true"]}))
    link.close()
    t.close()
    farm.delete(f"/sessions/{session}")
    return frozen, thawed, answered


SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
"""


@contextlib.contextmanager
def ssh():
    """What begins a command line through a private sshd on loopback."""
    separation = pathlib.Path("/run/sshd")
    there = separation.exists()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/key"], check=True)
        pathlib.Path(folder, "config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
        separation.mkdir(mode=0o755, exist_ok=True)
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", f"{folder}/config", "-E", f"{folder}/log"])
        try:
            wait_for("sshd", lambda: server.poll() is None and listens(port))
            yield ["ssh", "-tt", "-e", "none", "-F", "none", "-i", f"{folder}/key", "-p", str(port), "-o", "StrictHostKeyChecking=no",
                   "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1"]
        finally:
            server.terminate()
            server.wait()
            if not there:
                separation.rmdir()


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def others(n):
    """Echo through what Debian offers, where it is installed."""
    def there(*programs):
        return all(subprocess.run(["sh", "-c", f"command -v {p}"], capture_output=True).returncode == 0 for p in programs)

    found = {}
    if there("script"):
        found["script"] = ms(local_echo(["script", "-qc", "dash -i", "/dev/null"], n))
    if there("tmux"):
        found["tmux"] = ms(local_echo(["tmux", "-L", "bench", "new-session", "dash", "-i"], n))
        subprocess.run(["tmux", "-L", "bench", "kill-server"], capture_output=True)
    if there("ssh", "/usr/sbin/sshd"):
        with ssh() as words:
            found["sshd"] = ms(local_echo([*words, "PS1='$ ' dash -i"], n))
    return found
