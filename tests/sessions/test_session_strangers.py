"""Sessions among those who do as they like: clients that vanish or never read, programs that would be rid of their shim."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import threading
import time

import pytest
import requests

from farm import Farm, wait_for
from session_calls import end, files, rss_kb, run, shims
from terminal import HELLO, PING, Gone, Native
from test_sessions import CONF, create, state, wait_sessions


@pytest.fixture(scope="module")
def farm():
    with Farm(conf=CONF, daemons=("scheduler", "sessiond", "gateway"), languages=["bash"]) as f:
        wait_sessions(f)
        yield f


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextlib.contextmanager
def idle(pid):
    """Over a second in which there is nothing to do; a loop that never sleeps takes all it gets."""
    def ticks():
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        switches = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
        return int(words[11]) + int(words[12]), int(switches[1])

    used, slept = ticks()
    yield
    time.sleep(1)
    used, slept = (b - a for a, b in zip((used, slept), ticks()))
    assert used <= 5 + slept // 20, (used, slept)


def stream(farm, session, command):
    """A command call whose output comes as it is printed; its connection, behind the head of the answer."""
    target = f"/sessions/{session}/execute"
    body = json.dumps({"command": command, "stream": True}).encode()
    head = "".join(f"{k}: {v}\r\n" for k, v in farm.sign("POST", target, body).items())
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.connect(("127.0.0.1", farm.port))
    sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    return sock


# ---- command calls ----


def test_a_stream_whose_gateway_died(farm):
    session = create(farm)
    sock = stream(farm, session, "sleep 30")
    for pid in farm.gateways():
        os.kill(pid, signal.SIGKILL)
    with idle(shims(farm)[session]):
        pass
    sock.close()

    def again():
        with contextlib.suppress(requests.ConnectionError):
            return farm.get("/sessions").status_code == 200

    wait_for("another gateway", again)
    end(farm, session)


def test_a_stream_that_is_read_slowly(farm):
    """What it prints waits in its pipes and not in the shim; then all of it arrives, and no character is cut."""
    session = create(farm)
    shim = shims(farm)[session]
    before = rss_kb(shim)
    sock = stream(farm, session, "yes")
    time.sleep(1)
    assert rss_kb(shim) < before + 16384
    sock.close()
    body = json.dumps({"command": "seq -f 'x€%.0f' 1 700000", "stream": True}).encode()
    target = f"/sessions/{session}/execute"
    with farm.session.post(farm.url + target, data=body, headers=farm.sign("POST", target, body), stream=True, timeout=60) as answer:
        time.sleep(0.5)
        events = re.findall(rb"event: (\w+)\ndata: (.*)\n\n", answer.content)
    assert events[-1][0] == b"exit" and json.loads(events[-1][1])["exit_code"] == 0
    assert "".join(json.loads(e[1])["data"] for e in events[:-1]) == "".join(f"x€{i}\n" for i in range(1, 700001))
    end(farm, session)


def test_a_command_that_leaves_a_printer(farm):
    session = create(farm)
    began = time.monotonic()
    done = run(farm, session, "echo first; yes & true")
    assert done["exit_code"] == 0 and done["stdout"].startswith("first\n")
    assert time.monotonic() - began < 10
    end(farm, session)


def test_a_command_that_is_running_at_the_end(farm):
    session = create(farm)
    answers = []
    raw = json.dumps({"command": "touch /tmp/artifacts/here; sleep 100"}).encode()
    target = f"/sessions/{session}/execute"
    waits = threading.Thread(target=lambda: answers.append(farm.call("POST", target, raw)))
    waits.start()
    wait_for("it to run", lambda: run(farm, session, "ls /tmp/artifacts")["stdout"])
    assert files(end(farm, session)) == {"here": b""}
    waits.join(10)
    assert not waits.is_alive() and answers[0].status_code == 200 and answers[0].json()["exit_code"] == 137


def test_a_closed_pipe_makes_nobody_deaf(farm):
    """Who comes while a command lives on without its outputs is heard after its end, too."""
    session = create(farm, shell="dash", persist=True)
    shim = shims(farm)[session]
    t = Native(farm, session)
    t.type(b"stty -echo; echo re''ady; cat >/dev/null\r")  # what is printed would wake all
    t.until(b"ready")
    t.close()
    wait_for("it to be gone", lambda: farm.get(f"/sessions/{session}").json()["viewers"] == 0)
    before = fds(shim)
    command = threading.Thread(target=run, args=(farm, session, "exec >&- 2>&-; sleep 1"))
    command.start()
    wait_for("its begin", lambda: fds(shim) > before)
    time.sleep(0.3)  # for its ends of the pipes to be seen
    viewers = [Native(farm, session, client=f"v{i}") for i in range(6)]
    command.join()
    for v in viewers:
        typed = v.typed
        v.type(b"x\r")
        v.until(lambda v=v, typed=typed: v.acked > typed, 5)
    for v in viewers:
        v.close()
    end(farm, session)


# ---- viewers ----


def test_who_reads_no_answers_is_not_read(farm):
    """Each ping would be answered, and each answer kept until there is room."""
    session = create(farm, persist=True)
    t = Native(farm, session)
    shim = shims(farm)[session]
    before = rss_kb(shim)
    pings = (bytes([0x80 | PING, 0x80 | 125]) + bytes(4 + 125)) * 1000
    t.ws.sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        for _ in range(300):
            t.ws.sock.sendall(pings)
    assert rss_kb(shim) < before + 8192
    t.drop()
    end(farm, session)


def test_who_breaks_the_protocol_has_to_go(farm):
    session = create(farm, persist=True)
    t = Native(farm, session)
    t.ws.sock.sendall(b"\x82\x03abc")  # without a mask
    t.ws.sock.settimeout(10)
    with pytest.raises(Gone):
        while True:
            t.ws._frame()
    end(farm, session)


def test_hello_comes_first(farm):
    session = create(farm, persist=True)
    assert farm.post(f"/sessions/{session}/freeze", {}).status_code == 200
    t = Native(farm, session, cols=33, rows=11)
    assert t.frames[0][0] == HELLO and (t.hello["state"], t.hello["cols"]) == ("running", 33)
    t.close()
    end(farm, session)


def test_a_reader_ends_nothing(farm):
    """The writer's line is cut, and the reader says good-bye meanwhile: the writer may come back."""
    session = create(farm, shell="dash")
    writer, reader = Native(farm, session, client="w"), Native(farm, session, role="ro")
    writer.until(b"# ")
    writer.drop()
    wait_for("it to be seen", lambda: farm.get(f"/sessions/{session}").json()["viewers"] == 1)
    reader.close()
    wait_for("it to be seen", lambda: farm.get(f"/sessions/{session}").json()["viewers"] == 0)
    assert state(farm, session) == "running"
    writer = Native(farm, session, client="w")
    writer.type(b"echo st''ill\r")
    writer.until(b"still")
    writer.close()
    end(farm, session)


# ---- on the way ----


def test_who_goes_while_he_is_let_in_leaves_nothing(farm):
    session = create(farm, persist=True)
    gateways = farm.gateways()
    Native(farm, session).close()
    wait_for("its end", lambda: farm.get(f"/sessions/{session}").json()["viewers"] == 0)
    before = sum(map(fds, gateways))
    target = f"/sessions/{session}/shell"
    ask = (f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
    for _ in range(20):
        sock = socket.create_connection(("127.0.0.1", farm.port))
        sock.sendall(ask)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    wait_for("all to be gone", lambda: farm.get(f"/sessions/{session}").json()["viewers"] == 0 and
             sum(map(fds, gateways)) <= before + 5)
    end(farm, session)


def test_half_a_line_to_a_node_costs_nothing(farm):
    port = int(re.search(r"\[sessiond\]\nport = (\d+)", (farm.dir / "unfarm.conf").read_text())[1])
    server = int(re.findall(r"pid=(\d+) msg=\"serving\"", farm.log("sessiond"))[-1])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"x")
        with idle(server):
            pass
        sock.sendall(b"y\n")
        sock.settimeout(5)
        assert b"not known" in sock.recv(4096) + sock.recv(4096)


# ---- programs ----


SHRINKER = """
import os
fds = [os.open(f"/tmp/artifacts/{i}", os.O_CREAT | os.O_RDWR) for i in range(60)]
while True:
    for size in (1 << 20, 0):
        for fd in fds:
            os.ftruncate(fd, size)
"""


def test_artifacts_that_shrink_are_no_harm(farm):
    """What a program cuts after its size was told is read as far as it goes; the recording is there."""
    session = create(farm, audit=True)
    run(farm, session, f"python3 -c '{SHRINKER}' >/dev/null 2>&1 &")
    wait_for("all of them", lambda: run(farm, session, "ls /tmp/artifacts | wc -l")["stdout"] == "60\n")
    kept = files(end(farm, session))
    assert "session.timing" in kept and all(len(data) <= 1 << 20 for data in kept.values())


def test_what_a_command_is_given_counts_as_the_sessions(farm):
    """Its input lies in memory for as long as somebody holds it open."""
    session = create(farm)
    serial = farm.get(f"/sessions/{session}").json()["container_name"].rpartition("-")[2]

    def used():
        groups = [g for top in ("*/", "") for g in pathlib.Path("/sys/fs/cgroup").glob(f"{top}{farm.cgroup}-sessions/n{serial}/**/memory.*")]
        return sum(int(p.read_text()) for p in groups if p.name in ("memory.usage_in_bytes", "memory.current"))

    assert used() > 0
    before = used()
    done = run(farm, session, "exec 3<&0; sleep 100 <&3 >/dev/null 2>&1 & wc -c", stdin="x" * (8 << 20))
    assert done["stdout"].split() == [str(8 << 20)]
    assert used() > before + (7 << 20)
    end(farm, session)


STOPPER = """
import os, signal, time
time.sleep(1)
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        pass
"""


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="takes 12 seconds; part of `make soak`")
def test_who_stops_each_new_process(farm):
    """Init waits for none of them for ever: the session still ends when it is told to."""
    session = create(farm, persist=True)
    shim = shims(farm)[session]
    run(farm, session, f"setsid python3 -c '{STOPPER}' >/dev/null 2>&1 &")
    time.sleep(1.5)
    began = time.monotonic()
    farm.call("POST", f"/sessions/{session}/execute", b'{"command":"true","timeout":1}')
    end(farm, session)
    assert time.monotonic() - began < 25
    wait_for("the shim to go", lambda: not pathlib.Path(f"/proc/{shim}").exists())
