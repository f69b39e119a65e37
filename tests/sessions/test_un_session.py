"""`un session` against a real farm: in a terminal of its own, through pipes, and over lines that break.

A proxy between `un` and the gateway cuts the connections of terminals, and only those, in the middle of
frames; what came out and what went in must be as if it had not.
"""

import contextlib
import fcntl
import gzip
import hashlib
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest
import requests

from farm import BUILD, PUBLIC, SECRET, Farm, wait_for
from terminal import Terminal

UN = os.environ.get("UN_BIN", str(BUILD / "un"))
PROMPT = b"$ "
DEADLINE = 60  # seconds; only a test that fails ever waits so long


@pytest.fixture(scope="module")
def sessions():
    conf = {"sessiond": {"grace_seconds": 20}}
    with Farm(daemons=("scheduler", "sessiond", "gateway"), languages=["bash"], conf=conf) as farm:
        def begins():
            with contextlib.suppress(requests.ConnectionError):
                made = farm.post("/sessions", {"shell": "bash"})
                return made.status_code == 200 and farm.delete(f"/sessions/{made.json()['id']}")

        wait_for("sessions to begin", begins)
        yield farm


@pytest.fixture(autouse=True)
def none_left(sessions):
    yield
    sessions.end_sessions()


def environment(farm, url=None):
    return os.environ | {
        "UNSANDBOX_API_BASE": url or farm.url, "UNSANDBOX_PUBLIC_KEY": PUBLIC, "UNSANDBOX_SECRET_KEY": SECRET,
        "TERM": "xterm-256color", "NO_COLOR": "1",
    }


def un(farm, *args, typed=b"", url=None, cwd=None):
    """`un session` with pipes instead of a terminal, to its end."""
    return subprocess.run([UN, "session", *args], input=typed, env=environment(farm, url), capture_output=True,
                          timeout=DEADLINE, cwd=cwd)


def only_session(farm):
    found = farm.get("/sessions").json()["sessions"]
    assert len(found) == 1, found
    return found[0]


class Typist:
    """`un session` in a pseudo-terminal of its own."""

    def __init__(self, farm, *args, url=None, cols=90, rows=30, cwd=None):
        self.master, self.slave = pty.openpty()
        self.resize(cols, rows, tell=False)
        self.cooked = termios.tcgetattr(self.slave)
        self.output = b""
        self.proc = subprocess.Popen(
            [UN, "session", *args], stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=environment(farm, url), cwd=cwd, start_new_session=True,
            preexec_fn=self.begin)
        os.set_blocking(self.master, False)

    @staticmethod
    def begin():
        """As a login does: with the terminal, and without what whoever runs the tests ignores."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(sig, signal.SIG_DFL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        os.close(self.slave)
        os.close(self.master)

    def resize(self, cols, rows, tell=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        if tell:
            self.proc.send_signal(signal.SIGWINCH)

    def step(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self.output += os.read(self.master, 65536)

    def until(self, what, seconds=DEADLINE):
        """Reads until what() is true, or these bytes came; all of the output."""
        test = what if callable(what) else lambda: what in self.output
        deadline = time.monotonic() + seconds
        while not test():
            assert time.monotonic() < deadline, (what, self.output[-2000:])
            self.step()
        return self.output

    def type(self, data):
        while data:
            assert select.select([], [self.master], [], DEADLINE)[1], "nobody reads what is typed"
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self.master, data):]
            self.step(0)

    press = Terminal.press

    def run(self, line):
        """Types a line at the prompt; what it printed, when it is done."""
        mark = f"done-{random.getrandbits(60):x}"
        start = len(self.output)
        self.type(f"{line}; echo {mark[:6]}''{mark[6:]}\r".encode())
        self.until(lambda: mark.encode() in self.output[start:])
        return self.output[start:self.output.index(mark.encode(), start)]

    def end(self):
        """The exit status; everything was read."""
        deadline = time.monotonic() + DEADLINE
        while self.proc.poll() is None:
            assert time.monotonic() < deadline, self.output[-2000:]
            self.step(0.02)
        while select.select([self.master], [], [], 0)[0]:
            self.step(0)
        return self.proc.returncode

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_cooked(self):
        return termios.tcgetattr(self.slave) == self.cooked


class Cutter:
    """
    A TCP proxy to the farm.  The connection of a terminal is reset after a random number of bytes
    from the farm, or to it: `down` and `up` are (least, most), None: never.
    """

    def __init__(self, farm, *, down=None, up=None, seed=1):
        self.port = farm.port
        self.down, self.up = down, up
        self.random = random.Random(seed)
        self.cuts = 0
        self.dumb = False
        self.swallowed = 0
        self.refused = 0
        self.open = True
        self.lines = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut_all()

    @staticmethod
    def _reset(*socks):
        for s in socks:
            with contextlib.suppress(OSError):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def cut_all(self):
        for pair in list(self.lines):
            self._reset(*pair)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = client.recv(65536)
            terminal = b"Upgrade: websocket" in head
            if terminal and not self.open:
                self.refused += 1
                self._reset(client)
                return
            farm = socket.create_connection(("127.0.0.1", self.port))
            for s in (client, farm):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            farm.sendall(head)
            pair = (client, farm)
            if terminal:
                self.lines.add(pair)
            threading.Thread(target=self._carry, args=(farm, client, pair, self.down if terminal else None),
                             daemon=True).start()
            self._carry(client, farm, pair, self.up if terminal else None)

    def _carry(self, source, sink, pair, limits):
        left = self.random.randint(*limits) if limits else None
        dumb = False
        try:
            while data := source.recv(65536):
                dumb = dumb or self.dumb
                if dumb:
                    self.swallowed += 1
                    continue
                if left is not None and len(data) >= left:
                    sink.sendall(data[:left])
                    self.cuts += 1
                    break
                sink.sendall(data)
                left = left and left - len(data)
        except OSError:
            pass
        self.lines.discard(pair)
        self._reset(*pair)


# ---- being in a session ----


def test_a_session_from_begin_to_end(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        assert t.output.startswith(b"Connecting to unsandbox... done\r\n")
        assert t.is_raw()
        s = only_session(sessions)
        assert (s["shell"], s["network_mode"], s["ttl"], s["vcpu"]) == ("bash", "zerotrust", 3600, 1)
        assert b"30 90" in t.run("stty size")
        assert b"root" in t.run("whoami")
        t.type(b"exit 3\r")
        assert t.end() == 0
        assert t.output.endswith(b"\r\nSession ended.\r\n")
        assert t.is_cooked()
    wait_for("an empty list", lambda: sessions.get("/sessions").json()["sessions"] == [])
    # Its end was asked for, so that nothing is kept for later.
    wait_for("the end of the session", lambda: sessions.delete(f"/sessions/{s['id']}").status_code == 404)


def test_keys_arrive_as_they_are(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        t.type(b"stty raw -echo; echo re''ady; head -c 8 | od -An -tx1 -v; stty sane\r")
        t.until(b"ready\n")
        t.type(b"\x03\x1a\x1c\x11\x13\x04\x0d\x7f")
        t.until(b" 03 1a 1c 11 13 04 0d 7f")


def test_a_resize_arrives_at_once(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        t.run("trap 'stty size' WINCH")
        for cols, rows in ((133, 41), (50, 12)):
            t.resize(cols, rows)
            # A signal that comes while bash is not at its prompt waits for the next key.
            wait_for("its size", lambda size=b"%d %d\r\n" % (rows, cols): t.run("true") and size in t.output)


def test_options_reach_the_session(sessions, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one\n")
    (tmp_path / "sub/b.txt").write_bytes(b"two\n")
    with Typist(sessions, "-s", "sh", "-v", "2", "--ttl", "600", "-n", "zerotrust", "-f", "sub/b.txt", "-F", "a.txt",
                "-F", "sub/b.txt", cwd=tmp_path) as t:
        t.until(b"# ")
        s = only_session(sessions)
        assert (s["shell"], s["vcpu"], s["memory_mb"], s["ttl"]) == ("sh", 2, 4096, 600)
        assert t.run("cat /tmp/input/b.txt /tmp/input/a.txt /tmp/input/sub/b.txt").count(b"two\r\n") == 2
        t.type(b"exit\r")
        assert t.end() == 0


def test_pipes_instead_of_a_terminal(sessions):
    r = un(sessions, typed=b"echo $((6*7)); tty; exit 5\n")
    assert r.returncode == 0, r
    assert r.stderr == b"Connecting to unsandbox... done\nSession ended.\n"
    assert b"\r42\r\n/dev/pts/" in r.stdout and b"Connecting" not in r.stdout


def test_the_end_of_input_is_not_the_end(sessions):
    """Output that comes after the last typed byte is all there."""
    r = un(sessions, "-s", "sh", typed=b"sleep 1; seq 1 30000; exit\n")
    assert r.returncode == 0
    assert r.stdout.count(b"\r\n") > 30000 and b"\r\n30000\r\n" in r.stdout


def test_a_slow_reader_gets_everything(sessions):
    """And what it wrote is acknowledged: else the line would stand still until it is given up, after 50 s."""
    began = time.monotonic()
    proc = subprocess.Popen([UN, "session", "-s", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, env=environment(sessions))
    proc.stdin.write(b"stty -echo; echo; seq 1 200000; exit\n")
    proc.stdin.flush()
    wait_for("the pipe to be full", lambda: select.select([proc.stdout], [], [], 0)[0])
    time.sleep(1)  # it stays full while nobody reads; what is not read waits at the farm
    out = proc.stdout.read()
    assert proc.wait(DEADLINE) == 0
    proc.stdin.close()
    whole = numbers(out) == list(range(1, 200001))
    assert whole, out[:300]
    assert time.monotonic() - began < 45


def test_a_slow_terminal_is_shown_the_screen(sessions):
    """It stood in a full-screen program; of 20 MB it shows the end, at the top of an empty screen."""
    with Typist(sessions, "-s", "sh") as t:
        t.until(b"# ")
        s = only_session(sessions)
        t.type(b"printf '\\033[?1049h\\033[5;9r'; seq 1 3000000; touch /tmp/over; echo en''d\r")
        look = f"/sessions/{s['id']}/execute"
        wait_for("it to print", lambda: sessions.post(look, {"argv": ["test", "-e", "/tmp/over"]}).json()["exit_code"] == 0)
        t.until(b"end\r\n")
        assert re.search(rb"un: the farm no longer had \d{7,} bytes", t.output)
        shown = t.output[t.output.rindex(b"\033[2J") + 4:t.output.index(b"end\r\n")]
        got = numbers(shown)
        whole = got == list(range(got[0], 3000001))
        assert whole and b"\033[r" in t.output and len(shown) <= 64 << 10, (got[:3], got[-3:])
        t.type(b"exit\r")
        assert t.end() == 0


def test_a_reader_that_goes_away_ends_the_session(sessions):
    proc = subprocess.Popen([UN, "session"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(sessions))
    proc.stdin.write(b"yes\n")
    proc.stdin.flush()
    proc.stdout.read(10)
    proc.stdout.close()
    assert proc.wait(DEADLINE) == 128 + signal.SIGPIPE
    proc.stdin.close()
    proc.stderr.close()
    wait_for("an empty list", lambda: sessions.get("/sessions").json()["sessions"] == [])


# ---- its end, and the terminal's ----


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_it_and_restores_the_terminal(sessions, sig, tmp_path):
    with Typist(sessions, "-a", "-o", str(tmp_path)) as t:
        t.until(PROMPT)
        t.run("echo kept > /tmp/artifacts/k.txt")
        assert t.is_raw()
        container = only_session(sessions)["container_name"]
        t.proc.send_signal(sig)
        assert t.end() == 128 + sig
        assert t.is_cooked()
        assert b"Session ended.\r\n" in t.output
        assert (tmp_path / f"k-{container}.txt").read_bytes() == b"kept\n"
    wait_for("an empty list", lambda: sessions.get("/sessions").json()["sessions"] == [])


def test_a_crash_restores_the_terminal(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        assert t.is_raw()
        t.proc.send_signal(signal.SIGSEGV)
        assert t.end() == -signal.SIGSEGV
        assert t.is_cooked()


def test_stopped_and_continued(sessions):
    """kill -TSTP gives the terminal back; it is raw again, and of the right size, after a CONT."""
    with Typist(sessions) as t:
        t.until(PROMPT)
        t.proc.send_signal(signal.SIGTSTP)
        wait_for("it to stop", lambda: os.waitpid(t.proc.pid, os.WNOHANG | os.WUNTRACED)[0])
        assert t.is_cooked()
        t.resize(77, 33, tell=False)
        t.proc.send_signal(signal.SIGCONT)
        wait_for("it to be raw", t.is_raw)
        assert b"33 77" in t.run("stty size")
        t.type(b"exit\r")
        assert t.end() == 0


def test_tilde_dot_leaves(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        assert b"/root\r\n" in t.run("echo ~ ~/x | cut -d' ' -f1")  # a tilde within a line is nothing special
        t.type(b"\r~")
        t.type(b".")
        assert t.end() == 0
        assert t.output.endswith(b"Session ended.\r\n") and t.is_cooked()
    wait_for("an empty list", lambda: sessions.get("/sessions").json()["sessions"] == [])


def test_why_it_ended_is_said(sessions):
    with Typist(sessions, "--ttl", "1") as t:
        assert t.end() == 0
        assert b"Session ended.\r\nIt ended because its time was used up (--ttl).\r\n" in t.output
    with Typist(sessions) as t:
        t.until(PROMPT)
        assert un(sessions, "--kill", only_session(sessions)["id"]).returncode == 0
        assert t.end() == 0
        assert b"It ended because it was terminated from outside." in t.output


# ---- artifacts and recordings ----


def test_artifacts_are_saved_under_the_containers_name(sessions, tmp_path):
    blob = bytes(range(256)) * 40
    (tmp_path / "blob").write_bytes(blob)
    typed = b"cd /tmp/artifacts; cp /tmp/input/blob blob.bin; : > empty; mkdir d; echo x > d/y.tar.gz; exit\n"
    r = un(sessions, "-a", "-o", str(tmp_path / "out"), "-f", str(tmp_path / "blob"), typed=typed)
    assert r.returncode == 0, r
    container = re.search(rb"unsb-vm-\d+", r.stdout).group().decode()
    saved = {str(p.relative_to(tmp_path / "out")): p.read_bytes()
             for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert saved == {f"blob-{container}.bin": blob, f"empty-{container}": b"", f"d/y.tar-{container}.gz": b"x\n"}
    assert f"Artifact saved: {tmp_path}/out/empty-{container} (0 bytes)\n" in r.stderr.decode()
    assert b"Tip:" not in r.stderr


def test_nothing_is_saved_unasked(sessions, tmp_path):
    r = un(sessions, typed=b"echo x > /tmp/artifacts/x; exit\n", cwd=tmp_path)
    assert r.returncode == 0 and b"Artifact" not in r.stderr and list(tmp_path.iterdir()) == []
    assert r.stderr.endswith(b"Session ended.\nNot saved: 1 file of /tmp/artifacts (-a saves it)\n")
    r = un(sessions, typed=b"exit\n", cwd=tmp_path)
    assert r.stderr.endswith(b"Session ended.\n")


def test_audit(sessions, tmp_path):
    r = un(sessions, "--audit", "-o", str(tmp_path), typed=b"echo au''dited\nexit\n")
    assert r.returncode == 0, r
    container = re.search(rb"unsb-vm-\d+", r.stdout).group().decode()
    assert r.stderr.decode().endswith(f"Tip: Replay session with: zcat {tmp_path}/session.log*.gz | less -R\n")
    assert b"audited" in gzip.decompress((tmp_path / f"session.log-{container}.gz").read_bytes())
    assert b"echo au" in (tmp_path / f"bash_history-{container}").read_bytes()
    assert f"Artifact saved: {tmp_path}/session.log-{container}.gz (" in r.stderr.decode()


def test_many_artifacts_at_once(sessions, tmp_path):
    """More than the answer to any other call may have."""
    typed = b"cd /tmp/artifacts; for i in 1 2; do head -c 25500000 /dev/urandom > $i.bin; done; sha256sum *; exit\n"
    r = un(sessions, "-o", str(tmp_path), typed=typed)
    assert r.returncode == 0, r.stderr
    for path in tmp_path.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest().encode() in r.stdout
    assert len(list(tmp_path.iterdir())) == 2


# ---- sessions that go on ----


# screen may drop lines when its window becomes smaller; tmux has a line of its own.
@pytest.mark.parametrize("how,keys,mode,size,inside", [
    ("--tmux", b"\x02d", "tmux", (70, 20), "19 70"),
    ("--screen", b"\x01d", "screen", (90, 30), "30 90"),
])
def test_detach_and_attach(sessions, how, keys, mode, size, inside):
    with Typist(sessions, how) as t:
        t.until(PROMPT)
        s = only_session(sessions)
        assert s["multiplexer"] == mode
        t.run("there=still")
        t.press(keys)
        assert t.end() == 0
        assert t.output.endswith(f"\r\nSession detached. Reconnect with: un session --attach {s['container_name']}\r\n".encode())
        assert t.is_cooked()
    with Typist(sessions, "--attach", s["container_name"], cols=size[0], rows=size[1]) as t:
        t.until(b"done-")  # the screen is painted again
        assert t.output.startswith(f"Reconnecting to session {s['id']}... done\r\n".encode())
        assert b"still" in t.run("echo $there")
        assert re.search(rf"[\nl]{inside}\r\n".encode(), t.run("stty size"))
        t.resize(72, 22)
        wait_for("its size", lambda: re.search(rb"2[12] 72\r\n", t.run("stty size")))
        t.type(b"exit\r")
        assert t.end() == 0
        assert b"Session ended.\r\n" in t.output
    wait_for("an empty list", lambda: sessions.get("/sessions").json()["sessions"] == [])


@pytest.mark.parametrize("how", ["--tmux", "--screen"])
def test_the_screen_is_painted_beside_others(sessions, how):
    """A second terminal of the same size on a multiplexer that somebody uses sees what is there."""
    with Typist(sessions, how) as first:
        first.until(PROMPT)
        first.run("echo on-the-screen")
        with Typist(sessions, "--attach", only_session(sessions)["id"]) as second:
            second.until(b"on-the-screen")


def test_persist(sessions):
    with Typist(sessions, "--persist") as t:
        t.until(PROMPT)
        s = only_session(sessions)
        assert s["persist"] and s["multiplexer"] == ""
        t.run("there=still; printf 'a\\033[cz'")
        t.until(b"a\x1b[cz")
        t.proc.send_signal(signal.SIGHUP)  # its window was closed
        assert t.end() == 128 + signal.SIGHUP
        assert b"Reconnect with: un session --attach " + s["container_name"].encode() in t.output
    with Typist(sessions, "--attach", s["id"]) as t:
        t.until(b"a\x1b[\x18z")  # what was printed comes again, but for questions to the terminal
        assert b"still" in t.run("echo $there")
        t.type(b"\r~.")
        assert t.end() == 0 and t.output.endswith(s["container_name"].encode() + b"\r\n")
    assert only_session(sessions)["status"] == "running"
    with Typist(sessions, "--attach", s["id"]) as t:
        t.until(b"there=still")
        t.type(b"exit\r")
        assert t.end() == 0 and t.output.endswith(b"Session ended.\r\n")


def test_artifacts_of_an_attached_session(sessions, tmp_path):
    """Who is attached leaves them to who began it, unless it asks for them."""
    with Typist(sessions, "-o", str(tmp_path)) as t:
        t.until(PROMPT)
        s = only_session(sessions)
        with Typist(sessions, "--attach", s["id"]) as other:
            other.until(PROMPT)
            other.type(b"echo x > /tmp/artifacts/x; exit\r")
            assert other.end() == 0
        assert t.end() == 0
        assert [p.name for p in tmp_path.iterdir()] == [f"x-{s['container_name']}"]
    with Typist(sessions, "--persist") as t:
        t.until(PROMPT)
        s = only_session(sessions)
        t.run("echo z > /tmp/artifacts/z")
        t.type(b"\r~.")
        assert t.end() == 0
    with Typist(sessions, "--attach", s["id"], "-o", str(tmp_path)) as t:
        t.until(PROMPT)
        t.type(b"exit\r")
        assert t.end() == 0
    assert (tmp_path / f"z-{s['container_name']}").read_bytes() == b"z\n"


def test_read_only(sessions):
    with Typist(sessions) as t:
        t.until(PROMPT)
        s = only_session(sessions)
        with Typist(sessions, "--attach", s["id"], "--read-only", cols=20, rows=5) as reader:
            reader.until(PROMPT)
            reader.type(b"echo from-reader\r")
            t.run("echo from-writer")
            reader.until(b"from-writer\r\n")
            assert b"from-reader" not in reader.output
            assert b"30 90" in t.run("stty size")  # nor does its size count
            reader.type(b"\x03")
            assert reader.end() == 0 and reader.is_cooked()
        assert b"here" in t.run("echo he''re")


# ---- from outside ----


def test_list_and_info(sessions):
    r = un(sessions, "--list")
    assert (r.returncode, r.stdout, r.stderr) == (0, b"No active sessions\n", b"")
    with Typist(sessions, "-s", "sh", "--ttl", "3599") as t:
        t.until(b"# ")
        s = only_session(sessions)
        lines = un(sessions, "-l").stdout.decode().splitlines()
        assert lines[:2] == ["Active sessions: 1", ""]
        row = "{:40} {:20} {:10} {:8} {:10}"
        assert lines[2] == row.format("SESSION ID", "CONTAINER", "SHELL", "TTL", "STATUS")
        assert set(lines[3]) == {"-", " "}
        ttl = re.fullmatch(r"59m\d+s", lines[4][73:81].strip())
        assert ttl and lines[4] == row.format(s["id"], s["container_name"], "sh", ttl.group(), "running")
        assert len(lines) == 5
        for name in (s["id"], s["container_name"]):
            r = un(sessions, "--info", name)
            assert r.returncode == 0 and r.stdout.startswith(b"Session Information:\n")
            info = dict(re.findall(r"^  (\S[^:]*):\s+(.*)$", r.stdout.decode(), re.M))
            assert info["ID"] == s["id"] and info["Container"] == s["container_name"]
            assert (info["vCPU"], info["Memory"], info["Boosted"]) == ("1", "2048 MB", "no")
            assert (info["Status"], info["Viewers"]) == ("running", "1")


def test_freeze_boost_and_kill(sessions, tmp_path):
    with Typist(sessions, "--persist") as t:
        t.until(PROMPT)
        s = only_session(sessions)
        name = s["container_name"]
        r = un(sessions, "--freeze", name)
        assert (r.returncode, r.stdout, r.stderr) == (0, b"", b"Session frozen successfully\n")
        assert only_session(sessions)["status"] == "frozen"
        t.until(f"un: the session is frozen; un session --unfreeze {s['id']} lets it go on".encode())
        r = un(sessions, "--unfreeze", s["id"])
        assert (r.returncode, r.stdout, r.stderr) == (0, b"Session woken successfully\n", b"")
        t.until(b"un: the session goes on")
        r = un(sessions, "--boost", name)
        assert (r.returncode, r.stdout) == (0, b"Session boosted to 2 vCPU, 4096 MB RAM\n")
        r = un(sessions, "--boost", name, "--boost-vcpu", "3")
        assert (r.returncode, r.stdout) == (0, b"Session boosted to 3 vCPU, 6144 MB RAM\n")
        r = un(sessions, "--unboost", name)
        assert (r.returncode, r.stdout) == (0, b"Session unboosted, returning to base resources\n")
        t.run("echo x > /tmp/artifacts/x")
        r = un(sessions, "--kill", name, "--audit", "-o", str(tmp_path))
        assert (r.returncode, r.stdout) == (0, b"Session terminated successfully\n")
        assert r.stderr.startswith(f"Terminating session {s['id']}... done\n".encode())
        assert t.end() == 0
    assert {p.name for p in tmp_path.iterdir()} == {f"x-{name}", f"bash_history-{name}"}


@pytest.mark.parametrize("what", ["--info", "--attach", "--kill", "--freeze", "--unfreeze", "--boost", "--unboost"])
def test_a_session_that_is_not_there(sessions, what):
    r = un(sessions, what, "unsb-vm-nowhere")
    assert r.returncode == 1 and b"Session not found" in r.stderr and r.stdout == b""


@pytest.mark.parametrize("args,status,says", [
    (["--snapshot", "x"], 1, b"--snapshot is not available on this farm yet"),
    (["--restore", "x"], 1, b"--restore is not available on this farm yet"),
    (["--kill", "a", "--info", "b"], 2, b"choose one"),
    (["--tmux", "--screen"], 2, b"choose one"),
    (["--attach", "../x"], 2, b"names no session"),
    (["--read-only"], 2, b"goes with --attach"),
    (["--boost-vcpu", "2"], 2, b"goes with --boost"),
    (["--ttl", "0"], 1, b"not a number from 1 to 86400"),
    (["word"], 2, b"unexpected argument"),
    (["-s", "no-such-shell"], 1, b"no-such-shell"),
    (["-n", "semitrusted"], 1, b"semitrusted"),
    (["-f", "/nowhere"], 1, b"/nowhere"),
])
def test_refusals(sessions, args, status, says):
    r = un(sessions, *args)
    assert (r.returncode, r.stdout) == (status, b"") and says in r.stderr


# ---- lines that break ----


def numbers(output):
    return [int(line) for line in re.findall(rb"^(\d+)\r*$", output.replace(b"\r\n", b"\n"), re.M)]


def test_output_is_whole_over_lines_that_break(sessions):
    with Cutter(sessions, down=(20000, 300000)) as cutter:
        with Typist(sessions, "-s", "sh", url=cutter.url) as t:
            t.until(b"# ")
            t.type(b"stty -echo; PS1=; echo be''gin; seq 1 200000; echo en''d\r")
            t.until(b"end\r\n")
            whole = t.output[t.output.index(b"begin\r\n") + 7:t.output.index(b"end\r\n")]
            assert whole == b"".join(b"%d\r\n" % i for i in range(1, 200001))
            assert cutter.cuts >= 4
            t.type(b"exit\r")
            assert t.end() == 0 and t.output.endswith(b"Session ended.\r\n")


@pytest.mark.parametrize("pause", ["0", "2"])
def test_input_comes_once_over_lines_that_break(sessions, pause):
    """Also when it waits in all buffers on the way, because its reader begins late."""
    data = b"".join(b"%d," % i for i in range(40000))
    with Cutter(sessions, up=(600, 60000), seed=int(pause)) as cutter:
        with Typist(sessions, "-s", "sh", url=cutter.url) as t:
            t.until(b"# ")
            t.type(f"stty raw -echo; echo re''ady; sleep {pause}; head -c {len(data)} > /tmp/artifacts/in; stty sane; "
                   "sha256sum < /tmp/artifacts/in\r".encode())
            t.until(b"ready\n")
            t.type(data)
            t.until(lambda: re.search(rb"[0-9a-f]{64}  -", t.output))
            assert hashlib.sha256(data).hexdigest().encode() in t.output
            assert cutter.cuts >= 3
            t.type(b"exit\r")
            assert t.end() == 0


def test_a_line_that_is_away_for_a_while(sessions):
    """It is said once that it is gone, and that it came back; what happened meanwhile is shown."""
    with Cutter(sessions) as cutter:
        with Typist(sessions, url=cutter.url) as t:
            t.until(PROMPT)
            t.type(b"sleep 1; echo mean''while\r")
            cutter.open = False
            cutter.cut_all()
            t.until(b"un: the connection is lost")
            t.type(b"echo ty''ped\r")
            wait_for("more than one try", lambda: cutter.refused >= 3)
            cutter.open = True
            t.until(b"un: connected again")
            t.until(b"meanwhile\r\n")
            t.until(b"typed\r\n")
            assert t.output.count(b"the connection is lost") == 1
            assert t.output.count(b"typed\r\n") == 1
            t.type(b"exit\r")
            assert t.end() == 0


def test_a_line_that_says_nothing(sessions):
    """It is not closed, but nothing comes through: what is typed finds that out."""
    with Cutter(sessions) as cutter:
        with Typist(sessions, url=cutter.url) as t:
            t.until(PROMPT)
            cutter.dumb = True
            t.type(b"echo af''ter\r")
            wait_for("bytes to be swallowed", lambda: cutter.swallowed)
            cutter.dumb = False  # for lines to come
            t.until(b"after\r\n", 30)  # a line that is merely idle is given up after 50
            assert t.output.count(b"after\r\n") == 1


def test_giving_up_while_the_line_is_away(sessions):
    with Cutter(sessions) as cutter:
        with Typist(sessions, "--tmux", url=cutter.url) as t:
            t.until(PROMPT)
            cutter.open = False
            cutter.cut_all()
            t.until(b"Enter ~ . gives up")
            t.type(b"\r~.")
            assert t.end() == 0 and b"Session detached." in t.output and t.is_cooked()


def test_back_too_late(sessions):
    """The session ended while the line was away: that is said, and its artifacts are there all the same."""
    with Cutter(sessions) as cutter:
        with Typist(sessions, url=cutter.url) as t:
            t.until(PROMPT)
            t.type(b"sleep 1; exit\r")
            t.until(b"exit\r\n")
            cutter.open = False
            cutter.cut_all()
            wait_for("its end", lambda: sessions.get("/sessions").json()["sessions"] == [])
            cutter.open = True
            assert t.end() == 0 and b"Session ended." in t.output


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_the_gateway_starts_again(sessions, sig):
    with Typist(sessions) as t:
        t.until(PROMPT)
        sessions.stop_one("gateway", sig)
        t.type(b"echo af''ter\r")
        sessions.start("gateway")
        t.until(b"after\r\n")
        assert t.output.count(b"after\r\n") == 1
        t.type(b"exit\r")
        assert t.end() == 0


# ---- within tmux ----


def test_within_a_local_tmux(sessions, tmp_path):
    sock = str(tmp_path / "tmux")

    def tmux(*args):
        return subprocess.run(["tmux", "-S", sock, *args], capture_output=True, text=True, check=True).stdout

    words = [f"{k}={v}" for k, v in environment(sessions).items() if k.startswith("UNSANDBOX")]
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "25", "env", *words, UN, "session")
    try:
        wait_for("the prompt", lambda: "root@unsb" in tmux("capture-pane", "-p"))
        tmux("send-keys", "stty size; seq 3 | tac", "Enter")
        wait_for("its output", lambda: re.search(r"2[45] 100\n3\n2\n1\n", tmux("capture-pane", "-p")))
        tmux("resize-window", "-x", "60", "-y", "21")
        tmux("send-keys", "clear; stty size", "Enter")
        wait_for("the size", lambda: re.search(r"2[01] 60\n", tmux("capture-pane", "-p")))
    finally:
        tmux("kill-server")
    wait_for("the session to end with its window", lambda: sessions.get("/sessions").json()["sessions"] == [])
