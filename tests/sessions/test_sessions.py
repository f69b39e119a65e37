"""Sessions: a terminal that survives its connection, and what is around it."""
import base64
import contextlib
import ctypes
import gzip
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from farm import Farm, wait_for
from session_calls import end, files, rss_kb, run, servers, shims
from terminal import STATE, Gone, Native, Refused, Terminal

FROZEN_MAX = 3
CONF = {"sessiond": {"grace_seconds": 1, "keep_seconds": 20, "warm": 2}, "gateway": {"frozen_sessions": FROZEN_MAX}}


@pytest.fixture(scope="module")
def farm():
    with Farm(conf=CONF, daemons=("scheduler", "sessiond", "gateway")) as f:
        wait_sessions(f)
        yield f


@contextlib.contextmanager
def own_farm(conf=None, **more):
    merged = {k: {**CONF.get(k, {}), **(conf or {}).get(k, {})} for k in {*CONF, *(conf or {})}}
    with Farm(conf=merged, daemons=("scheduler", "sessiond", "gateway"), **more) as f:
        wait_sessions(f)
        yield f


def wait_sessions(f):
    """Until a node says that it has room."""
    wait_for("a node for sessions", lambda: f.redis("HLEN", "{unfarm}:room") == "1")
    wait_for("the gateways", lambda: f.get("/sessions").status_code == 200)


def create(f, **body):
    answer = f.post("/sessions", {"shell": "bash", "network_mode": "zerotrust", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def state(f, session):
    return f.get(f"/sessions/{session}").json()["status"]


# ---- the object ----


def test_a_session_from_begin_to_end(farm):
    made = farm.post("/sessions", {"network_mode": "zerotrust", "ttl": 600, "shell": "bash"})
    s = made.json()
    assert made.status_code == 200 and s["session_id"] == s["id"] and s["id"].startswith("unsb-session-")
    assert re.fullmatch(r"unsb-vm-\d{5}", s["container_name"]) and s["name"] == s["container_name"]
    assert (s["status"], s["state"], s["shell"], s["vcpu"], s["memory_mb"]) == ("running", "running", "bash", 1, 2048)
    assert 590 <= s["remaining_ttl"] <= s["ttl"] == 600 and s["websocket_url"] == f"/sessions/{s['id']}/shell"
    assert made.text.startswith('{"success":true,"id":"unsb-session-')
    for name in (s["id"], s["container_name"]):
        assert farm.get(f"/sessions/{name}").json()["id"] == s["id"]
    listed = farm.get("/sessions").json()
    assert listed["count"] == 1 and listed["sessions"][0]["container_name"] == s["container_name"]
    t = Terminal(farm, s["id"])
    t.until(b"$ ")
    t.type(b"hostname; echo $((6*7)) > /tmp/artifacts/answer; exit 3\r")
    assert t.end() == {"type": "exit", "code": 3} and t.ws.close_code == 1000
    assert s["container_name"].encode() in t.output
    over = farm.get(f"/sessions/{s['id']}").json()
    assert over["status"] == "terminated" and over["reason"] == "exit" and over["remaining_ttl"] == 0
    assert farm.get("/sessions").json()["count"] == 0
    gone = farm.delete(f"/sessions/{s['container_name']}")
    assert gone.status_code == 200 and gone.text.startswith('{"success":true,')
    assert files(gone.json()) == {"answer": b"42\n"}
    # Its artifacts are there for another try until somebody has taken them.
    wait_for("it to be gone", lambda: farm.delete(f"/sessions/{s['id']}").status_code == 404)


def test_others_do_not_see_it(farm):
    session = create(farm)
    other = farm.new_key()
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/freeze"), ("POST", "/unfreeze"), ("POST", "/boost"),
                         ("POST", "/unboost"), ("POST", "/shell"), ("POST", "/execute"), ("POST", "/tickets")):
        body = b'{"command":"id"}' if method == "POST" else b""
        assert farm.call(method, f"/sessions/{session}{path}", body, key=other).status_code == 404, path
    assert farm.get("/sessions", key=other).json() == {"sessions": [], "count": 0}
    assert state(farm, session) == "running"
    end(farm, session)


@pytest.mark.parametrize("body,status,word", [
    ({"shell": "no-such-shell"}, 400, "/shells"),
    ({"network_mode": "semitrusted"}, 400, "egress"),
    ({"network_mode": "open"}, 400, "network_mode"),
    ({"vcpu": 9}, 400, "vcpu"),
    ({"ttl": 0}, 400, "ttl"),
    ({"ttl": 86401}, 400, "ttl"),
    ({"multiplexer": "byobu"}, 400, "multiplexer"),
    ({"input_files": [{"filename": "../x", "content_base64": ""}]}, 400, "input_files"),
    ([1], 400, "object"),
])
def test_what_cannot_be_is_refused(farm, body, status, word):
    answer = farm.post("/sessions", body)
    assert answer.status_code == status and word in answer.text, answer.text
    assert farm.get("/sessions").json()["count"] == 0


def test_input_files_and_artifacts(farm):
    blob = bytes(range(256)) * 500
    given = [{"filename": "a.bin", "content_base64": base64.b64encode(blob).decode()},
             {"filename": "dir/empty", "content": ""}]
    session = create(farm, input_files=given)
    done = run(farm, session, "cd /tmp/artifacts && cp -r /tmp/input/. . && mkdir -p deep/er && ln -s /etc/passwd link "
                              "&& mkfifo fifo && printf x > deep/er/file && sha256sum /tmp/input/a.bin")
    assert done["exit_code"] == 0, done
    kept = files(end(farm, session))
    assert kept == {"a.bin": blob, "dir/empty": b"", "deep/er/file": b"x"}


def test_a_file_may_have_the_name_of_the_history(farm):
    session = create(farm, shell="dash")
    assert run(farm, session, "echo mine > /tmp/artifacts/bash_history")["exit_code"] == 0
    assert files(end(farm, session)) == {"bash_history": b"mine\n"}


def test_the_root_is_the_users_own(farm):
    session = create(farm)
    script = """set -e
        id -u; echo hello > /etc/motd; echo '#!/bin/sh' > /usr/bin/mine; echo echo mine >> /usr/bin/mine; chmod +x /usr/bin/mine
        mine; rm /usr/bin/yes; ! command -v yes; useradd -m tester 2>/dev/null || echo "tester:x:1000:1000::/home/tester:/bin/sh" >> /etc/passwd
        chown 1000:1000 /etc/motd; stat -c %u /etc/motd"""
    done = run(farm, session, script)
    assert done["exit_code"] == 0 and done["stdout"].split() == ["0", "mine", "1000"], done
    assert pathlib.Path("/usr/bin/yes").exists() and not pathlib.Path("/usr/bin/mine").exists()
    full = run(farm, session, "dd if=/dev/zero of=/var/fill bs=1M count=3000 2>&1; rm /var/fill; echo $?", timeout=50)
    assert "No space left" in full["stdout"] or "Killed" in full["stdout"] + full["stderr"], full
    end(farm, session)


# ---- command calls ----


def test_a_command_call(farm):
    session = create(farm)
    done = run(farm, session, "cat; echo $WORD $HOME; pwd; echo err >&2; exit 7", stdin="in\0put", env={"WORD": "w"}, cwd="/tmp")
    assert done["stdout"] == "in\0putw /root\n/tmp\n" and done["stderr"] == "err\n" and done["exit_code"] == 7
    assert (done["status"], done["success"], done["timed_out"]) == ("completed", False, False)
    done = farm.post(f"/sessions/{session}/shell", {"argv": ["printf", "%s|", "a b", "$HOME"]}).json()
    assert done["stdout"] == "a b|$HOME|" and done["success"] is True
    for body in ({}, {"command": ""}, {"argv": [1]}, {"command": "x", "timeout": 0}, {"argv": ["no-such-program"]}):
        assert farm.post(f"/sessions/{session}/execute", body).status_code == 400, body
    end(farm, session)


def test_a_timeout_kills_all_of_it_a_hundred_times(farm):
    """Acceptance test 1: each returns soon, nothing is left, the next is as if nothing had been."""
    session = create(farm)
    quiet = run(farm, session, "ls -d /proc/[0-9]* | wc -l")["stdout"]
    took = []

    def once():
        began = time.monotonic()
        done = run(farm, session, "(setsid sleep 1000 &) ; sleep 1000 & sleep 1000", timeout=1)
        took.append(time.monotonic() - began)
        assert done["timed_out"] and done["status"] == "timeout" and done["exit_code"] == 124

    for _ in range(4):
        threads = [threading.Thread(target=once) for _ in range(25)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len(took) == 100 and sorted(took)[50] < 2
    wait_for("all to be gone", lambda: run(farm, session, "ls -d /proc/[0-9]* | wc -l")["stdout"] == quiet)
    assert run(farm, session, "echo well")["stdout"] == "well\n"
    end(farm, session)


@pytest.mark.parametrize("stream", [False, True])
def test_a_command_call_ends_with_its_session(farm, stream):
    session = create(farm, shell="dash", persist=True)
    answers = []
    body = {"command": "echo begun; touch /tmp/begun; sleep 300", "timeout": 200, "stream": stream}
    caller = threading.Thread(target=lambda: answers.append(farm.post(f"/sessions/{session}/execute", body, session=requests.Session())))
    caller.start()
    wait_for("it to begin", lambda: run(farm, session, "test -e /tmp/begun")["exit_code"] == 0)
    t = Native(farm, session)
    t.type(b"exit\r")
    caller.join(15)  # what the session left is kept for longer
    assert not caller.is_alive()
    assert "begun" in answers[0].text and '"exit_code":137' in answers[0].text, answers[0].text
    t.close()
    end(farm, session)


def test_what_a_call_leaves_behind_lives_on(farm):
    session = create(farm)
    began = time.monotonic()
    assert run(farm, session, "sleep 300 & echo $!")["exit_code"] == 0
    assert time.monotonic() - began < 10
    assert run(farm, session, "pgrep -c -x sleep")["stdout"] == "1\n"
    end(farm, session)


def test_output_is_streamed(farm):
    session = create(farm)
    body = {"command": "echo one; sleep 1; echo two >&2; exit 4", "stream": True}
    raw = json.dumps(body).encode()
    target = f"/sessions/{session}/execute"
    events, arrived = [], []
    with farm.session.post(farm.url + target, data=raw, headers=farm.sign("POST", target, raw), stream=True, timeout=30) as answer:
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"
        event = None
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"event: "):
                event = line[7:].decode()
            elif line.startswith(b"data: "):
                events.append((event, json.loads(line[6:])))
                arrived.append(time.monotonic())
    assert [e for e, _ in events] == ["stdout", "stderr", "exit"]
    assert events[0][1] == {"data": "one\n"} and events[1][1] == {"data": "two\n"} and events[2][1]["exit_code"] == 4
    assert arrived[1] - arrived[0] > 0.5
    end(farm, session)


def test_much_output_is_cut_and_said(farm):
    session = create(farm)
    done = run(farm, session, "head -c 30000000 /dev/zero | tr '\\0' x")
    assert done["truncated"] and len(done["stdout"]) == 10240 << 10 and done["exit_code"] == 0
    end(farm, session)


# ---- the terminal ----


def test_memory_does_not_grow_with_what_is_printed(farm):
    session = create(farm, shell="dash", persist=True)
    shim = shims(farm)[session]
    t = Native(farm, session)
    t.until(b"# ")
    before = rss_kb(shim)
    t.type(b"head -c 200000000 /dev/zero | tr '\\0' y; echo; echo DO''NE\r")
    t.until(lambda: b"DONE" in t.output[-100:], 100)
    assert rss_kb(shim) < before + 4096
    t.close()
    end(farm, session)


def test_readers_only_read(farm):
    session = create(farm, shell="dash", persist=True)
    writer, reader = Native(farm, session), Native(farm, session, role="ro")
    writer.until(b"# ")
    assert reader.hello["role"] == "ro"
    reader.type(b"echo no\r")
    reader.resize(20, 10)
    writer.type(b"echo ye''s; stty size\r")
    for t in (writer, reader):
        t.until(b"yes\r\n24 80")
    assert b"echo no" not in writer.output
    writer.resize(100, 30)
    reader.until(lambda: any(k == 6 and b == b"\x64\0\x1e\0" for k, b in reader.frames))
    for t in (writer, reader):
        t.close()
    end(farm, session)


def test_signals_reach_the_foreground(farm):
    session = create(farm, shell="dash", persist=True)
    t = Native(farm, session)
    t.until(b"# ")
    t.type(b"sleep 100; echo status $?\r")
    time.sleep(0.3)
    t.signal(signal.SIGTERM)  # none that a terminal sends
    t.signal(signal.SIGQUIT)
    t.until(b"status 131")
    t.type(b"trap 'echo caught' INT; cat; echo over\r")
    time.sleep(0.3)
    t.type(b"\x03")
    t.until(b"caught")
    t.close()
    end(farm, session)


# ---- its life ----


def test_it_ends_with_its_connection_unless_it_persists(farm):
    session = create(farm)
    t = Terminal(farm, session)
    t.until(b"$ ")
    t.close()
    wait_for("its end", lambda: state(farm, session) == "terminated", 10)
    assert farm.get(f"/sessions/{session}").json()["reason"] == "disconnected"
    kept = create(farm, multiplexer="none", persist=True)
    t = Terminal(farm, kept)
    t.until(b"$ ")
    t.type(b"echo remem''ber\r")
    t.until(b"remember")
    t.close()
    time.sleep(1.5)
    assert state(farm, kept) == "running"
    t = Terminal(farm, kept)
    t.until(b"remember")
    t.close()
    for s in (session, kept):
        end(farm, s)


def test_a_dropped_line_has_a_moment(farm):
    session = create(farm)
    t = Terminal(farm, session)
    t.until(b"$ ")
    t.drop()
    time.sleep(0.4)
    t = Terminal(farm, session)
    time.sleep(1.2)
    t.type(b"echo st''ill\r")
    t.until(b"still")
    t.drop()
    wait_for("its end", lambda: state(farm, session) == "terminated", 10)
    end(farm, session)


def test_time_is_counted_while_it_is_not_frozen(farm):
    session = create(farm, ttl=3, persist=True)
    assert farm.post(f"/sessions/{session}/freeze", b"").json()["status"] == "frozen"
    left = farm.get(f"/sessions/{session}").json()["remaining_ttl"]
    time.sleep(3.5)
    assert farm.get(f"/sessions/{session}").json()["remaining_ttl"] == left and state(farm, session) == "frozen"
    thawed = farm.post(f"/sessions/{session}/unfreeze", {}).json()
    assert thawed["status"] == "running" and thawed["unfreeze_time_ms"] < 100 and thawed["success"] is True
    wait_for("its end", lambda: state(farm, session) == "terminated", 10)
    assert farm.get(f"/sessions/{session}").json()["reason"] == "ttl"
    end(farm, session)


def test_silence_is_not_work_but_a_command_is():
    with own_farm({"sessiond": {"idle_seconds": 2}}) as f:
        idle, busy = create(f, persist=True), create(f, persist=True)
        worker = threading.Thread(target=lambda: run(f, busy, "sleep 5"))
        worker.start()
        wait_for("the idle one to end", lambda: state(f, idle) == "terminated", 15)
        assert f.get(f"/sessions/{idle}").json()["reason"] == "idle" and state(f, busy) == "running"
        worker.join()
        wait_for("the other one to end", lambda: state(f, busy) == "terminated", 15)
        for s in (idle, busy):
            end(f, s)


def test_freezing_loses_nothing(farm):
    """Acceptance test 6, shortened: the program counts, the session is frozen and thawed again and again."""
    session = create(farm, shell="dash", persist=True)
    t = Native(farm, session)
    t.until(b"# ")
    t.type(b"seq 1 300000; echo DO''NE\r")
    for _ in range(60):
        assert farm.post(f"/sessions/{session}/freeze", {}).status_code == 200
        assert farm.post(f"/sessions/{session}/unfreeze", {}).status_code == 200
        with contextlib.suppress(TimeoutError):
            t.ws.sock.settimeout(0.02)
            while True:
                t.step()
    t.until(b"DONE", 60)
    assert sum(1 for k, _ in t.frames if k == STATE) >= 120
    numbers = t.output.replace(b"\r", b"")
    start = numbers.index(b"\n1\n2\n") + 1
    assert numbers[start:numbers.index(b"DONE", start)] == b"".join(b"%d\n" % i for i in range(1, 300001))
    assert farm.post(f"/sessions/{session}/freeze", {}).json()["state"] == "frozen"
    t.type(b"echo wa''ke\r")
    with pytest.raises(AssertionError):
        t.until(b"wake", 0.5)
    other = Native(farm, session)  # an attachment thaws
    other.until(b"wake")
    for x in (t, other):
        x.close()
    end(farm, session)


def test_connections_inside_survive_freezing(farm):
    session = create(farm, shell="dash", persist=True)
    script = ("import socket,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen()\nc=socket.create_connection(s.getsockname())\n"
              "d,_=s.accept()\nfor i in range(200):\n c.send(b'%d ' % i); time.sleep(0.01); print(d.recv(99).decode(), end='', flush=True)\n")
    done = []
    worker = threading.Thread(target=lambda: done.append(farm.post(f"/sessions/{session}/execute", {"argv": ["python3", "-c", script]}).json()))
    worker.start()
    while worker.is_alive():
        farm.post(f"/sessions/{session}/freeze", {})
        time.sleep(0.05)
        farm.post(f"/sessions/{session}/unfreeze", {})
        time.sleep(0.1)
    assert done[0]["stdout"].split() == [str(i) for i in range(200)]
    end(farm, session)


def test_boost_changes_limits_at_once(farm):
    session = create(farm)
    serial = farm.get(f"/sessions/{session}").json()["container_name"].removeprefix("unsb-vm-").lstrip("0")

    def limits():
        top = pathlib.Path("/sys/fs/cgroup")
        cpu = top / "cpu" / f"{farm.cgroup}-sessions" / f"n{serial}" / "cpu.cfs_quota_us"
        memory = top / "memory" / f"{farm.cgroup}-sessions" / f"n{serial}" / "memory.limit_in_bytes"
        if not cpu.exists():  # v2
            cpu = top / f"{farm.cgroup}-sessions" / f"n{serial}" / "cpu.max"
            memory = cpu.with_name("memory.max")
        return int(cpu.read_text().split()[0]), int(memory.read_text())

    assert limits() == (100000, 2 << 30)
    for path, body, vcpu in (("/boost", {"vcpu": 4}, 4), ("/unboost", {}, 1), ("/boost", b"", 2)):
        s = farm.post(f"/sessions/{session}{path}", body).json()
        assert (s["vcpu"], s["memory_mb"], s["boosted"], s["success"]) == (vcpu, 2048 * vcpu, vcpu > 1, True)
        assert limits() == (100000 * vcpu, vcpu * 2 << 30)
    assert farm.call("PATCH", f"/sessions/{session}", {"vcpu": 1}).json()["boosted"] is False
    for bad in ({"vcpu": 0}, {"vcpu": 9}, {"vcpu": "x"}):
        assert farm.post(f"/sessions/{session}/boost", bad).status_code == 400
    end(farm, session)


def test_a_key_may_have_so_many(farm):
    key = farm.new_key(concurrency=2)
    made = [farm.post("/sessions", {"persist": True}, key=key) for _ in range(3)]
    assert [m.status_code for m in made] == [200, 200, 429] and made[2].json()["limit"] == 2
    first = made[0].json()["id"]
    assert farm.post(f"/sessions/{first}/freeze", {}, key=key).status_code == 200
    more = wait_for("room for another", lambda: next((a for a in [farm.post("/sessions", {}, key=key)] if a.status_code == 200), None))
    third = more.json()["id"]
    # What is asked for again, or more of, counts as if it were new.
    for method, path, body in (("POST", f"{first}/unfreeze", {}), ("POST", f"{first}/execute", {"command": "true"}),
                               ("POST", f"{third}/boost", {"vcpu": 2}), ("PATCH", third, {"vcpu": 2})):
        no = farm.call(method, f"/sessions/{path}", body, key=key)
        assert (no.status_code, no.json()["active"], no.json()["limit"]) == (429, 2, 2), path
    with pytest.raises(Refused) as e:
        Terminal(farm, first)
    assert e.value.status == 429
    assert farm.delete(f"/sessions/{third}", key=key).status_code == 200
    assert farm.post(f"/sessions/{made[1].json()['id']}/boost", {"vcpu": 2}, key=key).json()["vcpu"] == 2
    assert farm.post(f"/sessions/{first}/unfreeze", {}, key=key).status_code == 429
    assert farm.post(f"/sessions/{made[1].json()['id']}/unboost", {}, key=key).json()["vcpu"] == 1
    wait_for("room again", lambda: farm.post(f"/sessions/{first}/unfreeze", {}, key=key).status_code == 200)
    for s in (first, made[1].json()["id"]):
        assert farm.delete(f"/sessions/{s}", key=key).status_code == 200


def test_a_key_may_have_so_many_frozen(farm):
    key = farm.new_key(concurrency=1)
    kept = []
    for _ in range(FROZEN_MAX):
        made = wait_for("room for another", lambda: next((a for a in [farm.post("/sessions", {}, key=key)] if a.status_code == 200), None))
        kept.append(made.json()["id"])
        assert farm.post(f"/sessions/{kept[-1]}/freeze", {}, key=key).status_code == 200
    made = farm.post("/sessions", {}, key=key).json()["id"]
    no = farm.post(f"/sessions/{made}/freeze", {}, key=key)
    assert (no.status_code, no.json()["active"], no.json()["limit"]) == (429, FROZEN_MAX, FROZEN_MAX)
    for s in (*kept, made):
        assert farm.delete(f"/sessions/{s}", key=key).status_code == 200


# ---- an audit ----


def test_a_recording_replays_and_hides_what_is_not_echoed(farm, tmp_path):
    """Acceptance test 14, but for what is in test_session_acceptance.py."""
    session = farm.post("/sessions?audit=1", {"shell": "bash", "persist": True}).json()["id"]
    t = Terminal(farm, session, cols=90, rows=30)
    t.until(b"$ ")
    t.type(b"read -s -p 'word: ' w\r")
    t.until(b"word: ")
    time.sleep(0.2)
    t.type(b"secret-word\r")
    t.until(lambda: t.output.count(b"$ ") >= 2)
    t.type("echo $((1+1)) ä\r".encode())
    t.until(lambda: t.output.count(b"$ ") >= 3)
    t.type(b"exit\r")
    t.end()
    kept = files(end(farm, session, "?audit=1"))
    assert set(kept) == {"session.log.gz", "session.timing", "session.cast", "session.chain", "bash_history"}
    log = gzip.decompress(kept["session.log.gz"])
    assert log.startswith(b"Script started on ") and log.split(b"\n", 1)[1] == t.output
    assert b"read -s" in kept["bash_history"]
    for data in (log, kept["session.cast"], kept["session.timing"]):
        assert b"secret-word" not in data
    head, *events = [json.loads(line) for line in kept["session.cast"].splitlines()]
    assert head["version"] == 2 and events == sorted(events, key=lambda e: e[0])
    assert "".join(d for _, k, d in events if k == "o").encode() == t.output
    assert [d for _, k, d in events if k == "r"] == ["90x30"] and "***********" in "".join(d for _, k, d in events if k == "i")
    (tmp_path / "log").write_bytes(log)
    (tmp_path / "timing").write_bytes(kept["session.timing"])
    played = subprocess.run(["scriptreplay", "-d", "1000", "-t", tmp_path / "timing", tmp_path / "log"], capture_output=True, check=True)
    assert t.output.strip() in played.stdout


# ---- who may attach ----


def test_tickets_open_once_and_for_a_moment():
    """Acceptance test 13."""
    with own_farm({"gateway": {"session_id_auth": "no", "origins": "https://good.example"}}) as f:
        session, other = create(f, shell="dash", persist=True), create(f, shell="dash", persist=True)

        def ticket(**body):
            return f.post(f"/sessions/{session}/tickets", body).json()["ticket"]

        def refused(make, *status):
            with pytest.raises(Refused) as e:
                make()
            assert e.value.status in status, e.value

        refused(lambda: Native(f, session, sign=False), 401)
        refused(lambda: Terminal(f, session), 401)
        refused(lambda: Native(f, session, sign=False, ticket="0" * 48), 401)
        once = ticket()
        t = Native(f, session, sign=False, ticket=once)
        assert t.hello["role"] == "rw"
        t.close()
        refused(lambda: Native(f, session, sign=False, ticket=once), 401)
        one = ticket()
        refused(lambda: Native(f, other, sign=False, ticket=one), 401)
        refused(lambda: Native(f, session, sign=False, ticket=one), 401)  # used up by that
        reader = Native(f, session, sign=False, ticket=ticket(role="ro"), role="rw")
        assert reader.hello["role"] == "ro"
        reader.close()
        short = ticket(ttl=1)
        time.sleep(1.3)
        refused(lambda: Native(f, session, sign=False, ticket=short), 401)
        refused(lambda: Terminal(f, session, headers={"Origin": "https://evil.example"}, sign=True), 403)
        t = Terminal(f, session, headers={"Origin": "https://good.example"}, sign=True)
        t.until(b"# ")
        t.close()
        for bad in ({"role": "root"}, {"ttl": 0}, {"ttl": 301}):
            assert f.post(f"/sessions/{session}/tickets", bad).status_code == 400
        for s in (session, other):
            end(f, s)


def test_the_handshake(farm):
    session = create(farm)
    assert farm.get(f"/sessions/{session}/shell").status_code == 426
    with pytest.raises(Refused) as e:
        Terminal(farm, "unsb-session-00000000000000000000")
    assert e.value.status == 404
    t = Terminal(farm, session)  # the compatible client: the id alone
    assert "Sec-WebSocket-Protocol: unsandbox-shell" in t.ws.head
    t.type(b"exit\r")
    t.end()
    end(farm, session)


# ---- what dies ----


def test_killing_sessiond_loses_nothing():
    """Acceptance test 5: master and server die, the shell goes on, its end is still told."""
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        t = Native(f, session, client="k")
        t.until(b"# ")
        t.type(b"echo before; x=kept; (sleep 3; echo tick) &\r")
        t.until(b"before")
        os.kill(servers(f)[0], signal.SIGKILL)
        t.type(b"echo with''out a server $x\r")
        t.until(b"without a server kept")
        wait_for("another server", lambda: f.log("sessiond").count('"serving"') == 2)
        wait_for("its record", lambda: state(f, session) == "running")
        f.procs["sessiond"].kill()
        f.procs["sessiond"].wait()
        t.type(b"echo with''out a master $x\r")
        t.until(b"without a master kept")
        t.until(b"tick")
        f.start("sessiond")
        wait_for("another server", lambda: f.log("sessiond").count('"serving"') == 3)
        wait_for("a command", lambda: f.post(f"/sessions/{session}/execute", {"command": "echo a"}).status_code == 200)
        more = Native(f, session, since=0)
        more.until(b"without a master kept")
        more.close()
        t.type(b"exit 9\r")
        t.until(lambda: t.exit() is not None)
        assert t.exit()["code"] == 9
        wait_for("the record", lambda: state(f, session) == "terminated")
        end(f, session)
        new = create(f)
        end(f, new)


def test_a_session_that_a_new_server_has_not_heard_of_is_not_denied():
    """Its shim has no time to speak, as on a busy machine: calls wait for it, or are told to come again."""
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        shim = shims(f)[session]
        os.kill(shim, signal.SIGSTOP)
        try:
            os.kill(servers(f)[0], signal.SIGKILL)
            answers, until = [], time.monotonic() + 7
            while time.monotonic() < until:
                answers.append(f.post(f"/sessions/{session}/freeze", {}).status_code)
                time.sleep(0.1)
            assert set(answers) == {503}
        finally:
            os.kill(shim, signal.SIGCONT)
        wait_for("the session", lambda: f.post(f"/sessions/{session}/execute", {"command": "echo a"}).status_code == 200)
        end(f, session)


def test_stopping_sessiond_keeps_sessions():
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        run(f, session, "echo kept > /root/file")
        assert f.stop_one("sessiond", signal.SIGTERM) == 0
        f.start("sessiond")
        wait_for("the session", lambda: f.post(f"/sessions/{session}/execute", {"command": "cat /root/file"}).text.count("kept"))
        end(f, session)


def test_a_killed_shim_is_a_lost_session():
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        t = Native(f, session)
        t.until(b"# ")
        group = f.get(f"/sessions/{session}").json()["container_name"]
        os.kill(shims(f)[session], signal.SIGKILL)
        with pytest.raises(Gone):
            t.until(lambda: False)
        wait_for("it to be known", lambda: state(f, session) == "lost")
        answer = f.post(f"/sessions/{session}/execute", {"command": "id"})
        assert answer.status_code == 409 and "lost" in answer.text
        assert f.get("/sessions").json()["count"] == 0
        serial = group.removeprefix("unsb-vm-").lstrip("0")
        wait_for("its group to be gone", lambda: not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/{f.cgroup}-sessions/n{serial}")))
        assert end(f, session)["status"] == "lost"


def listener_of(pid):
    """The descriptor number of the socket that it listens on."""
    listening = {row.split()[6] for row in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:] if row.split()[3] == "00010000"}
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(fd).removeprefix("socket:[").rstrip("]") in listening:
            return int(fd.name)
    raise AssertionError(f"{pid} does not listen")


def take_descriptor(pid, fd):
    process = os.pidfd_open(pid)
    taken = ctypes.CDLL(None, use_errno=True).syscall(438, process, fd, 0)  # pidfd_getfd
    os.close(process)
    assert taken >= 0, os.strerror(ctypes.get_errno())
    return taken


def test_a_shim_that_takes_a_while_to_die_is_a_lost_session():
    """Its connection is closed before what it listens on: whoever connects again then knows nothing of it."""
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        shim = shims(f)[session]
        kept = take_descriptor(shim, listener_of(shim))
        os.kill(shim, signal.SIGKILL)
        with socket.socket(fileno=kept) as listener:
            wait_for("the server to connect again", lambda: select.select([listener], [], [], 0)[0])
        wait_for("it to be known", lambda: state(f, session) == "lost")
        end(f, session)


def test_a_session_that_died_while_nobody_looked_is_lost():
    """As with the machine, when it is there again before it was missed."""
    with own_farm() as f:
        lives, dies = (create(f, shell="dash", persist=True) for _ in range(2))
        f.procs["sessiond"].send_signal(signal.SIGSTOP)
        os.kill(servers(f)[0], signal.SIGKILL)
        os.kill(shims(f)[dies], signal.SIGKILL)
        f.procs["sessiond"].send_signal(signal.SIGCONT)
        wait_for("it to be known", lambda: state(f, dies) == "lost", 8)
        assert f.get("/sessions").json()["count"] == 1
        assert run(f, lives, "echo here")["stdout"] == "here\n"
        for session in (lives, dies):
            end(f, session)


def test_a_node_that_was_stopped_keeps_its_sessions():
    """For longer than one that says nothing; they are lost when it does not come again."""
    with own_farm({"sessiond": {"away_seconds": 16}}) as f:
        session = create(f, shell="dash", persist=True)
        for comes_again in (True, False):
            assert f.stop_one("sessiond", signal.SIGTERM) == 0
            until = time.monotonic() + 12
            while time.monotonic() < until:
                answer = f.post(f"/sessions/{session}/execute", {"command": "id"})
                assert (state(f, session), answer.status_code) == ("running", 503), answer.text
                assert f.post("/sessions", {"shell": "dash"}).status_code == 503
                time.sleep(0.5)
            if comes_again:
                f.start("sessiond")
                wait_for("it", lambda: f.post(f"/sessions/{session}/execute", {"command": "echo a"}).status_code == 200)
        wait_for("it to be lost", lambda: state(f, session) == "lost", 12)
        shim = pathlib.Path(f"/proc/{shims(f)[session]}")
        assert shim.exists()
        f.start("sessiond")
        wait_for("its end: its owner was told that it is lost", lambda: not shim.exists())


def test_sessions_of_a_node_that_ended_them_are_lost_at_once():
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        assert f.stop_one("sessiond", signal.SIGQUIT) == 0
        assert state(f, session) == "lost" and f.get("/sessions").json()["count"] == 0


def test_a_sandbox_that_dies_before_anybody_has_it_is_not_handed_out():
    with own_farm({"sessiond": {"warm": 1}}) as f:
        def groups():
            return {g.name: g for g in pathlib.Path("/sys/fs/cgroup").glob(f"*/{f.cgroup}-sessions/n[0-9]*")}

        end(f, create(f))  # one was ready, and another one will be
        time.sleep(0.5)
        first = wait_for("a sandbox", groups)
        for group in first.values():
            for pid in map(int, (group / "cgroup.procs").read_text().split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for("their end", lambda: not groups().keys() & first.keys(), 15)  # it would be kept for 20 s
        made = [create(f, shell="dash", persist=True) for _ in range(2)]
        for session in made:
            end(f, session)


def test_sessions_of_a_dead_node_are_lost_not_hung():
    with own_farm() as f:
        session = create(f, shell="dash", persist=True)
        victims = [f.procs["sessiond"].pid, *shims(f).values()]
        victims += [int(p) for p in pathlib.Path(f"/proc/{victims[0]}/task/{victims[0]}/children").read_text().split()]
        f.procs["sessiond"].send_signal(signal.SIGSTOP)
        for pid in set(victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        wait_for("it to be lost", lambda: state(f, session) == "lost", 40)
        assert time.monotonic() - began < 30
        assert f.post("/sessions", {}).status_code == 503
        for pid in set(victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_the_shell_that_was_asked_for_is_what_there_is(farm):
    session = farm.post("/sessions", {"language": "python"}).json()["id"]
    t = Terminal(farm, session)
    t.until(b">>> ")
    t.type(b"6*7\r")
    t.until(b"42")
    t.close()
    end(farm, session)
