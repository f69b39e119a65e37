"""One gateway as several processes: what they share, and what the death of one costs."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from farm import BUILD, Farm, free_port, wait_for

PROCESSES = 3


@pytest.fixture(scope="module")
def farm():
    with Farm(conf={"gateway": {"processes": PROCESSES, "drain_seconds": 5}}) as f:
        yield f


@pytest.fixture
def own_farm():
    with Farm(conf={"gateway": {"processes": PROCESSES, "drain_seconds": 5}}, daemons=("gateway",)) as f:
        wait_for("all processes", lambda: f.log("gateway").count("redis connected") == PROCESSES)
        yield f


def metric(farm, name, session=None):
    text = farm.call("GET", "/metrics", session=session).text
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.]+)$", text, re.M))


def owner(farm, sock):
    """The process that has this connection, by the kernel's tables; None while no one accepted it."""
    here = sock.getsockname()[1]
    for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        cells = row.split()
        if cells[1].endswith(f":{farm.port:04X}") and cells[2].endswith(f":{here:04X}"):
            for pid in farm.gateways():
                for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if str(fd.readlink()) == f"socket:[{cells[9]}]":
                            return pid
    return None


def connect(farm):
    return socket.create_connection(("127.0.0.1", farm.port), timeout=30)


def ask(sock):
    sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock.recv(4096)


def connect_to(farm, pid):
    """A connection that this process serves."""
    for _ in range(200):
        sock = connect(farm)
        assert b"200 OK" in ask(sock)
        if owner(farm, sock) == pid:
            return sock
        sock.close()
    raise AssertionError(f"{pid} serves nobody")


def test_every_process_serves_and_all_count_together(farm):
    pids = farm.gateways()
    assert len(pids) == PROCESSES and farm.procs["gateway"].pid not in pids
    before = metric(farm, "unfarm_gateway_requests_total")
    socks = [connect_to(farm, pid) for pid in pids]
    for _ in range(10):
        for sock in socks:
            assert b"200 OK" in ask(sock)
    seen = []
    for _ in range(12):
        with requests.Session() as session:
            seen.append(metric(farm, "unfarm_gateway_requests_total", session))
    assert seen == sorted(seen) and seen[0] >= before + 30 + PROCESSES and seen[-1] == seen[0] + 11
    for sock in socks:
        sock.close()


def test_a_job_sent_to_one_is_known_to_all(farm):
    """Waiting at each of them, and one of them cancels."""
    job = farm.submit("bash", "sleep 60")
    got = []

    def wait():
        with requests.Session() as session:
            got.append(farm.call("GET", f"/jobs/{job}?wait=60", session=session).json()["status"])

    threads = [threading.Thread(target=wait) for _ in range(12)]
    for t in threads:
        t.start()
    wait_for("them to wait", lambda: metric(farm, "unfarm_gateway_open_requests") >= 12)
    farm.delete(f"/jobs/{job}")
    for t in threads:
        t.join()
    assert got == ["cancelled"] * 12


def test_one_that_is_killed_takes_only_its_own_connections(farm):
    victim, *others = farm.gateways()
    sockets = {pid: connect_to(farm, pid) for pid in [victim, *others]}
    os.kill(victim, signal.SIGKILL)
    with contextlib.suppress(ConnectionResetError):
        assert sockets[victim].recv(1) == b""
    for pid in others:
        assert b"200 OK" in ask(sockets[pid])
    new = wait_for("another one", lambda: set(farm.gateways()) - {victim, *others} and farm.gateways())
    assert len(new) == PROCESSES and set(others) < set(new)
    assert farm.run("bash", "echo on")["stdout"] == "on\n"
    assert metric(farm, "unfarm_gateway_open_requests") == 1  # this one
    for sock in sockets.values():
        sock.close()


def test_connections_that_wait_for_a_dead_one_are_served_by_the_next(farm):
    victim = farm.gateways()[0]
    os.kill(victim, signal.SIGSTOP)
    socks = [connect(farm) for _ in range(60)]
    for sock in socks:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    time.sleep(0.5)  # what the others accept is answered
    os.kill(victim, signal.SIGKILL)
    assert [b"200 OK" in sock.recv(4096) for sock in socks] == [True] * 60
    wait_for("another one", lambda: len(farm.gateways()) == PROCESSES and victim not in farm.gateways())


def test_a_reload_reaches_all_and_those_that_come_later(farm):
    record = farm.dir / "share/languages.d/bash.json"
    changed = json.loads(record.read_text())
    changed["aliases"].append("bashling")
    record.write_text(json.dumps(changed))
    before = farm.log("gateway").count('"reloaded"')
    farm.procs["gateway"].send_signal(signal.SIGHUP)
    wait_for("reloads", lambda: farm.log("gateway").count('"reloaded"') == before + PROCESSES + 1)

    def known_to_all():
        for pid in farm.gateways():
            sock = connect_to(farm, pid)
            body = json.dumps({"language": "bashling", "code": "echo it"}).encode()
            head = farm.sign("POST", "/execute", body)
            lines = "".join(f"{k}: {v}\r\n" for k, v in head.items())
            sock.sendall(f"POST /execute HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body)
            answer = b""
            while data := sock.recv(4096):
                answer += data
            assert b'"stdout":"it\\n"' in answer, answer

    known_to_all()
    victim = farm.gateways()[1]
    os.kill(victim, signal.SIGKILL)
    wait_for("another one", lambda: len(farm.gateways()) == PROCESSES and victim not in farm.gateways())
    known_to_all()


def test_a_second_gateway_of_the_same_port_refuses_to_start(farm):
    second = subprocess.run([BUILD / "unfarm-gateway", "-c", farm.dir / "unfarm.conf"], capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode != 0 and f"port {farm.port}" in second.stderr and "already in use" in second.stderr


def listens(farm):
    with contextlib.suppress(OSError), connect(farm):
        return True
    return False


def gone(pids):
    return not any(pathlib.Path(f"/proc/{pid}/fd").exists() for pid in pids)


def test_sigterm_answers_those_who_wait_at_each_process(own_farm):
    f = own_farm
    f.start("worker")
    f.wait_ready()
    job = f.submit("bash", "sleep 60")
    wait_for("it to run", lambda: f.get(f"/jobs/{job}").json()["status"] == "running")
    socks = [connect_to(f, pid) for pid in f.gateways()]
    target = f"/jobs/{job}?wait=60"
    lines = "".join(f"{k}: {v}\r\n" for k, v in f.sign("GET", target, b"").items())
    for sock in socks:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    wait_for("them to wait", lambda: metric(f, "unfarm_gateway_open_requests") >= PROCESSES + 1)
    f.procs["gateway"].terminate()
    for sock in socks:
        assert b'"status":"running"' in sock.recv(8192)
    assert f.procs["gateway"].wait(20) == 0
    assert not listens(f)
    f.start("gateway")
    wait_for("the farm", lambda: listens(f) and f.delete(f"/jobs/{job}").status_code == 200)


def test_children_do_not_outlive_their_parent(own_farm):
    f = own_farm
    pids = f.gateways()
    f.procs["gateway"].kill()
    f.procs["gateway"].wait()
    wait_for("the children to end", lambda: gone(pids), 20)
    assert not listens(f)
    f.start("gateway")
    wait_for("the port", lambda: listens(f))


def test_a_child_that_gives_up_ends_all(own_farm):
    """As when its settings are bad: SIGTERM makes it end by itself."""
    f = own_farm
    os.kill(f.gateways()[0], signal.SIGTERM)
    f.procs["gateway"].wait(20)
    assert not listens(f)
    f.start("gateway")
    wait_for("the port", lambda: listens(f))


def test_what_no_process_can_do_ends_the_gateway(farm):
    conf = farm.dir / "wrong.conf"
    text = (farm.dir / "unfarm.conf").read_text().replace(f"port = {farm.port}", f"port = {free_port()}").replace("dev_key = yes", "dev_key = no")
    conf.write_text(re.sub("redis_url = .*", "redis_url = nonsense", text))
    done = subprocess.run([BUILD / "unfarm-gateway", "-c", conf], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64 and "neither with unix: nor redis://" in done.stderr


def test_one_that_always_dies_is_started_once_a_second(own_farm):
    f = own_farm
    until = time.monotonic() + 3.5
    killed = 0
    keep = f.gateways()[1:]
    while time.monotonic() < until:
        for pid in set(f.gateways()) - set(keep) - {f.procs["gateway"].pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.02)
    assert 2 <= len(re.findall("was killed", f.log("gateway"))) <= 6, killed
    wait_for("all of them", lambda: len(f.gateways()) == PROCESSES)


def test_one_process_has_no_parent():
    with Farm(conf={"gateway": {"processes": 1}}, daemons=("gateway",)) as f:
        wait_for("it", lambda: listens(f))
        pid = f.procs["gateway"].pid
        assert f.gateways() == [pid] and owner(f, connect_to(f, pid)) == pid


def test_one_process_a_core_unless_told_otherwise():
    with Farm(daemons=("gateway",)) as f:
        wait_for("it", lambda: listens(f))
        cores = os.sysconf("SC_NPROCESSORS_ONLN")
        wait_for("one a core", lambda: f.log("gateway").count('"serving"') == cores)
        assert len(f.gateways()) == cores


def test_a_language_that_has_just_come_is_not_refused(own_farm):
    """This process looked less than a second ago; whoever submits has seen it at another."""
    f = own_farm
    f.redis("SET", "{unfarm}:winfo:w", json.dumps({"node": "n", "max_vcpu": 1}))
    f.redis("ZADD", "{unfarm}:workers", int(time.time() + 600) * 1000, "w")
    f.redis("SADD", "{unfarm}:can:w", "bash")
    with requests.Session() as session:
        wait_for("it to look", lambda: f.call("GET", "/languages", session=session).json()["languages"] == ["bash"])
        refused = f.call("POST", "/execute/async", {"language": "python", "code": "1"}, session=session)
        assert refused.status_code == 400 and "not installed on any machine" in refused.json()["error"]
        f.redis("SADD", "{unfarm}:can:w", "python")
        taken = f.call("POST", "/execute/async", {"language": "python", "code": "1"}, session=session)
        assert taken.status_code == 200, taken.text
