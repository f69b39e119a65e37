"""The `un` command against a small farm made of http.server.

The farm checks every signature, records what it was asked, and answers what a
test laid out.  UN_BIN names the binary (default: un of $BUILD, or of build/debug).
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import pty
import signal
import stat
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UN = os.environ.get("UN_BIN", str(ROOT / os.environ.get("BUILD", "build/debug") / "un"))
PUBLIC = "unsb-pk-test-0000-0000-0001"
SECRET = "unsb-sk-test0-vault-unlck-12345"
DEADLINE = 15  # seconds; only a test that fails ever waits so long


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def signature_good(self, body):
        stamp = self.headers.get("X-Timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
            return False
        message = f"{stamp}:{self.command}:{self.path}:".encode() + body
        want = hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()
        return (
            self.headers.get("Authorization") == f"Bearer {PUBLIC}"
            and self.headers.get("X-Signature") == want
        )

    def serve(self):
        farm = self.server.farm
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = farm.take(
            self.command, self.path, body, dict(self.headers),
            self.signature_good(body),
        )
        data = answer
        if not isinstance(answer, bytes):
            data = json.dumps(
                answer, separators=(",", ":"), ensure_ascii=False
            ).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = serve


class Farm:
    """Answers are laid out by `METHOD /path`; the last of several stays."""

    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self.server.daemon_threads = True
        self.server.farm = self
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()
        self.reset()

    def reset(self):
        self.answers = {}
        self.requests = []
        self.changed = threading.Condition()

    def on(self, what, *answers):
        self.answers[what] = list(answers)

    def take(self, method, path, body, headers, signed):
        what = f"{method} {path.split('?')[0]}"
        with self.changed:
            self.requests.append(
                {"what": what, "path": path, "body": body, "signed": signed,
                 "headers": headers}
            )
            self.changed.notify_all()
            laid = self.answers.get(what)
            if not laid:
                return 404, {"error": "nothing here"}
            answer = laid.pop(0) if len(laid) > 1 else laid[0]
        if callable(answer):
            answer = answer()
        return answer if isinstance(answer, tuple) else (200, answer)

    def wait_for(self, what):
        with self.changed:
            assert self.changed.wait_for(
                lambda: what in self.asked(), DEADLINE
            ), what

    def asked(self):
        return [r["what"] for r in self.requests]

    def body(self, i=0):
        return json.loads(self.requests[i]["body"])


@pytest.fixture(scope="module")
def the_farm():
    farm = Farm()
    yield farm
    farm.server.shutdown()
    farm.server.server_close()


@pytest.fixture
def farm(the_farm):
    the_farm.reset()
    the_farm.on("POST /execute", result())
    yield the_farm
    # However a test ended, nothing unsigned ever left `un`.
    assert all(r["signed"] for r in the_farm.requests)


def result(**more):
    base = {
        "job_id": "job_1_ab", "id": "job_1_ab", "status": "completed",
        "success": True, "stdout": "", "stderr": "", "exit_code": 0,
        "language": "bash", "artifacts": [],
    }
    base.update(more)
    return base


class Un:
    def __init__(self, farm, home):
        self.home = home
        self.env = {
            "HOME": str(home), "PATH": os.environ["PATH"],
            "UNSANDBOX_API_BASE": farm.url,
            "UNSANDBOX_PUBLIC_KEY": PUBLIC, "UNSANDBOX_SECRET_KEY": SECRET,
        }
        # A sanitizer build is told where and how to report.
        for name in os.environ:
            if name.endswith("SAN_OPTIONS"):
                self.env[name] = os.environ[name]

    def __call__(self, *args, stdin=b"", env=None, cwd=None):
        done = subprocess.run(
            [UN, *map(str, args)], input=stdin, capture_output=True,
            env={**self.env, **(env or {})}, cwd=cwd or self.home,
            timeout=DEADLINE,
        )
        # Whatever happens, the secret is never shown.
        assert SECRET.encode() not in done.stdout + done.stderr
        return done

    def start(self, *args, **streams):
        return subprocess.Popen(
            [UN, *map(str, args)], env=self.env, cwd=self.home,
            stdin=subprocess.DEVNULL, **streams,
        )


@pytest.fixture
def un(farm, tmp_path):
    return Un(farm, tmp_path)


# ---- what is run ----


@pytest.mark.parametrize(
    "name, code, language",
    [
        ("hello.py", "print(1)", "python"),
        ("main.rs", "fn main(){}", "rust"),
        ("tool", "#!/usr/bin/env -S python3.11 -u\nprint(1)", "python"),
        ("tool", "#!/usr/bin/env node\n", "javascript"),
        ("both.rb", "#!/usr/bin/env python3\n", "ruby"),
    ],
)
def test_a_file_is_sent_with_its_language(un, farm, name, code, language):
    (un.home / name).write_text(code)
    assert un(name).returncode == 0
    assert farm.body() == {"language": language, "code": code}


def test_a_file_of_unknown_language_is_refused(un, farm):
    (un.home / "notes.unheard").write_text("hello")
    done = un("notes.unheard")
    assert done.returncode == 1
    assert b"notes.unheard" in done.stderr
    assert farm.requests == []


def test_a_file_that_is_not_text_is_refused(un, farm):
    (un.home / "a.py").write_bytes(b"\xff\xfe\x00")
    done = un("a.py")
    assert done.returncode == 1 and b"UTF-8" in done.stderr
    assert farm.requests == []


def test_a_word_that_is_no_file_is_bash(un, farm):
    assert un("echo hi").returncode == 0
    assert farm.body() == {"language": "bash", "code": "echo hi"}


def test_a_directory_is_not_taken_for_a_file(un, farm):
    (un.home / "ls").mkdir()
    assert un("ls").returncode == 0
    assert farm.body()["code"] == "ls"


def test_code_in_a_language_is_never_a_file(un, farm):
    (un.home / "print(1)").write_text("wrong")
    assert un("-s", "python", "print(1)").returncode == 0
    assert farm.body() == {"language": "python", "code": "print(1)"}


@pytest.mark.parametrize(
    "args, language",
    [
        (["-s", "python"], "python"),
        (["--shell=ruby", "-"], "ruby"),
        (["-"], "perl"),
    ],
)
def test_code_comes_from_standard_input(un, farm, args, language):
    code = "#!/usr/bin/perl\nprint 'ä';\n"
    assert un(*args, stdin=code.encode()).returncode == 0
    assert farm.body() == {"language": language, "code": code}
    assert "ä".encode() in farm.requests[0]["body"]


def test_no_code_at_all_is_refused(un, farm):
    done = un("-s", "python", stdin=b"")
    assert done.returncode == 1 and b"no code" in done.stderr
    assert farm.requests == []


# ---- options ----


def test_options_may_stand_anywhere_and_the_order_of_fields_is_fixed(un, farm):
    (un.home / "a.py").write_text("x")
    (un.home / "sub").mkdir()
    (un.home / "sub" / "d.csv").write_bytes(b"1,\xff")
    done = un(
        "-t30", "-e", "A=1", "a.py", "--network=semitrusted", "-F",
        "sub/d.csv", "-v", "2", "-f", "sub/d.csv", "-e", "B=x=y", "-a", "-e",
        "A=2", "--stdin", "--", "-x", "two words", stdin=b"in\n",
    )
    assert done.returncode == 0, done.stderr
    body = farm.body()
    assert list(body) == [
        "language", "code", "input_files", "env", "return_artifact", "vcpu",
        "network_mode", "ttl", "args", "stdin",
    ]
    data = base64.b64encode(b"1,\xff").decode()
    assert body["input_files"] == [
        {"filename": "sub/d.csv", "content": data},
        {"filename": "d.csv", "content": data},
    ]
    assert body["env"] == {"A": "2", "B": "x=y"}
    assert (body["ttl"], body["vcpu"]) == (30, 2)
    assert body["network_mode"] == "semitrusted"
    assert body["return_artifact"] is True
    assert body["args"] == ["-x", "two words"]
    assert body["stdin"] == "in\n"
    assert b": " not in farm.requests[0]["body"]


def test_words_after_a_file_are_the_programs(un, farm):
    (un.home / "a.sh").write_text("x")
    assert un("a.sh", "one", "-t", "5", "two").returncode == 0
    assert farm.body()["args"] == ["one", "two"]
    assert farm.body()["ttl"] == 5


def test_code_may_begin_with_a_dash_after_two(un, farm):
    assert un("-s", "bc", "--", "-1 + 2", "-a").returncode == 0
    assert farm.body() == {"language": "bc", "code": "-1 + 2", "args": ["-a"]}


def test_input_that_is_not_text_travels_as_base64(un, farm):
    assert un("--stdin", "cat", stdin=b"\xff\x00\n").returncode == 0
    assert "stdin" not in farm.body()
    assert base64.b64decode(farm.body()["stdin_base64"]) == b"\xff\x00\n"


def test_a_large_request_arrives_whole(un, farm):
    data = os.urandom(3 << 20)
    (un.home / "big").write_bytes(data)
    assert un("-f", "big", "--stdin", "cat", stdin=data).returncode == 0
    text = base64.b64encode(data).decode()
    assert farm.body()["input_files"][0]["content"] == text
    assert farm.body()["stdin_base64"] == text


def test_empty_input_is_sent_as_such(un, farm):
    assert un("--stdin", "cat").returncode == 0
    assert farm.body()["stdin"] == ""


@pytest.mark.parametrize(
    "args, status, named",
    [
        (["--frob", "x"], 2, "--frob"),
        (["-Z", "x"], 2, "-Z"),
        (["x", "-t"], 2, "-t/--ttl"),
        (["--async=1", "x"], 2, "--async"),
        (["-e", "NOVALUE", "x"], 2, "NOVALUE"),
        (["-e", "=v", "x"], 2, "=v"),
        (["-a"], 2, "FILE"),
        (["echo", "hi"], 2, "hi"),
        (["-s", "python", "--stdin"], 2, "--stdin"),
        (["-p", "unsb-pk-x", "x"], 2, "-k"),
        (["--api-base", "ftp://x", "x"], 2, "ftp://x"),
        (["-v", "9", "x"], 1, "-v/--vcpu: `9`"),
        (["-v", "0", "x"], 1, "-v/--vcpu: `0`"),
        (["--ttl", "901", "x"], 1, "901"),
        (["--ttl", "5s", "x"], 1, "5s"),
        (["-n", "open", "x"], 1, "open"),
        (["--wasm", "x"], 1, "--wasm"),
        (["-f", "missing.csv", "x"], 1, "missing.csv"),
        (["-f", ".", "x"], 1, "directory"),
        (["session", "--tmux", "--screen"], 2, "--screen"),
        (["session", "--restore", "x"], 1, "not available on this farm"),
        (["--account", "0", "service"], 1, "service"),
        (["snapshot"], 1, "not available in this version"),
        (["image", "-l"], 1, "not available in this version"),
        (["paas", "logs"], 1, "not available in this version"),
        (["jobs", "--get", "../keys"], 2, "../keys"),
        (["jobs", "extra"], 2, "extra"),
        (["jobs", "--list", "--cancel", "J"], 2, "--cancel"),
        (["languages", "--xml"], 2, "--xml"),
        ([], 1, "usage"),
    ],
)
def test_a_wrong_command_line_is_named_and_sends_nothing(
    un, farm, args, status, named
):
    done = un(*args)
    assert done.returncode == status
    assert named.encode() in done.stderr
    assert done.stdout == b""
    assert farm.requests == []


@pytest.mark.parametrize("flag", ["-e", "-f"])
def test_there_are_not_endless_variables_and_files(un, farm, flag):
    count = {"-e": 256, "-f": 1000}[flag]
    done = un(*[flag, "A=1"] * (count + 1), "x")
    assert done.returncode == 1 and str(count).encode() in done.stderr


def test_large_input_files_need_a_yes(un, farm):
    with open(un.home / "big", "wb") as f:
        f.truncate((1 << 30) + 1)
    done = un("-f", "big", "cat big")
    assert done.returncode == 1 and b"--yes" in done.stderr
    with open(un.home / "huge", "wb") as f:
        f.truncate((4 << 30) + 1)
    done = un("-y", "-f", "huge", "cat")
    assert done.returncode == 1 and b"4 GB" in done.stderr
    assert farm.requests == []


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["x", "-h"]])
def test_help_lists_options_and_commands(un, farm, args):
    done = un(*args)
    assert done.returncode == 0
    for word in (b"--ttl", b"--api-base", b"languages"):
        assert word in done.stdout
    assert farm.requests == []


def test_every_command_has_its_own_help(un):
    assert b"--cancel" in un("jobs", "--help").stdout
    assert b"--json" in un("-h", "languages").stdout
    assert un("--version").stdout.startswith(b"un ")


# ---- results ----


@pytest.mark.parametrize("code", [0, 1, 42, 124, 137, 255])
def test_the_exit_status_is_the_programs(un, farm, code):
    farm.on("POST /execute", result(exit_code=code, success=code == 0))
    assert un("x").returncode == code


@pytest.mark.parametrize(
    "job, status, said",
    [
        ({"status": "timeout", "exit_code": 124}, 124, "ttl"),
        ({"status": "timeout", "exit_code": -1}, 124, "ttl"),
        ({"status": "cancelled", "exit_code": -1}, 1, "cancelled"),
        ({"status": "failed", "exit_code": 0, "error": "no disk"}, 1,
         "Error: no disk"),
        ({"status": "failed", "exit_code": 7, "error": "no disk"}, 7,
         "Error: no disk"),
        ({"end_reason": "memory", "exit_code": 137}, 137, "memory"),
        ({"stdout_truncated": True}, 0, "output was cut"),
        ({"stderr_truncated": True}, 0, "error was cut"),
    ],
)
def test_an_unusual_end_is_explained(un, farm, job, status, said):
    farm.on("POST /execute", result(**job))
    done = un("x")
    assert done.returncode == status
    assert said.encode() in done.stderr


def test_output_is_exact(un, farm):
    raw = bytes(range(256)) * 3
    farm.on(
        "POST /execute",
        result(stdout="ä\0\x1b[0m\r\n", stderr="\ufffd\ufffd",
               stderr_base64=base64.b64encode(raw).decode()),
    )
    done = un("x")
    assert done.stdout == "ä\0\x1b[0m\r\n".encode()
    assert done.stderr == raw


def test_a_reader_that_goes_away_ends_it_quietly(un, farm):
    farm.on("POST /execute", result(stdout="y\n" * 500000))
    p = un.start("x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.close()
    assert p.stderr.read() == b""
    p.stderr.close()
    assert p.wait(DEADLINE) == 1


def test_a_full_disk_is_reported(un, farm):
    farm.on("POST /execute", result(stdout="y\n"))
    with open("/dev/full", "wb") as full:
        p = un.start("x", stdout=full, stderr=subprocess.PIPE)
        assert b"write standard output" in p.stderr.read()
        p.stderr.close()
        assert p.wait(DEADLINE) == 1


@pytest.mark.parametrize(
    "status, answer, said",
    [
        (400, {"error": "Unsupported language: x"}, b"Unsupported language"),
        (429, {"error": "rate_limit_exceeded", "message": "60 a minute"},
         b"rate_limit_exceeded: 60 a minute"),
        (502, b"<html>bad \x1b]0;gateway</html>", b"<html>bad ?]0;gateway"),
        (401, {"error": "x", "message": "Request timestamp expired"},
         b"clock"),
    ],
)
def test_a_refused_request_shows_status_and_reason(
    un, farm, status, answer, said
):
    farm.on("POST /execute", (status, answer))
    done = un("x")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: HTTP %d\n" % status)
    assert said in done.stderr
    assert done.stdout == b""


def test_an_answer_that_is_no_job_is_an_error(un, farm):
    farm.on("POST /execute", b"hello")
    assert un("x").returncode == 1


def test_a_server_that_is_not_there_is_named(un, farm):
    done = un("x", "--api-base", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert b"http://127.0.0.1:1" in done.stderr


def test_an_endless_answer_is_refused(un, farm):
    farm.on("POST /execute", b" " * ((64 << 20) + 1))
    done = un("x")
    assert done.returncode == 1 and b"64 MB" in done.stderr


def test_a_proxy_is_not_used_for_this_machine(un, farm):
    done = un("x", env={"http_proxy": "http://127.0.0.1:1"})
    assert done.returncode == 0, done.stderr


def test_slashes_behind_the_base_url_do_not_matter(un, farm):
    farm.on("POST /execute", result(stdout="ok"))
    assert un("x", "--api-base", farm.url + "//").stdout == b"ok"


# ---- waiting ----


def test_async_prints_the_job_and_does_not_wait(un, farm):
    farm.on("POST /execute/async", {"job_id": "J1", "status": "pending"})
    done = un("--async", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"J1\n", b"")
    assert farm.asked() == ["POST /execute/async"]


def test_a_job_that_outlasts_the_request_is_polled(un, farm):
    farm.on("POST /execute", {"job_id": "J1", "status": "running"})
    farm.on(
        "GET /jobs/J1", {"job_id": "J1", "status": "pending"},
        {"job_id": "J1", "status": "running"},
        result(stdout="late\n", exit_code=3),
    )
    done = un("x")
    assert (done.returncode, done.stdout) == (3, b"late\n")
    assert done.stderr == b"job J1\n"
    assert farm.requests[1]["path"] == "/jobs/J1?wait=20"
    assert farm.asked().count("GET /jobs/J1") == 3


def test_waiting_survives_a_record_on_its_way_and_a_restart(un, farm):
    farm.on("POST /execute", {"job_id": "J1", "status": "running"})
    farm.on(
        "GET /jobs/J1", (404, {"error": "not yet"}),
        (503, {"error": "restarting"}), result(stdout="here\n"),
    )
    done = un("x")
    assert (done.returncode, done.stdout) == (0, b"here\n")
    # A fresh timestamp each time: the pause is two seconds.
    stamps = [r["headers"]["X-Timestamp"] for r in farm.requests]
    assert stamps[-1] > stamps[0]


@pytest.mark.parametrize(
    "answers, said",
    [
        ([(404, {"error": "gone"})], b"404"),
        ([(503, {}), (404, {"error": "gone"})], b"job result lost"),
        ([(401, {"error": "bad key"})], b"bad key"),
    ],
)
def test_waiting_ends_when_there_is_no_hope(un, farm, answers, said):
    farm.on("POST /execute", {"job_id": "J1", "status": "running"})
    farm.on("GET /jobs/J1", *answers)
    done = un("x")
    assert done.returncode == 1
    assert said in done.stderr


def test_a_job_id_that_is_no_path_is_refused(un, farm):
    farm.on("POST /execute", {"job_id": "../x?y", "status": "running"})
    assert un("x").returncode == 1
    assert farm.asked() == ["POST /execute"]


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_waiting_cancels_the_job(un, farm, sig):
    release = threading.Event()

    def slow():
        release.wait(DEADLINE)
        return {"job_id": "J1", "status": "running"}

    farm.on("POST /execute", {"job_id": "J1", "status": "running"})
    farm.on("GET /jobs/J1", slow)
    farm.on(
        "DELETE /jobs/J1", result(status="cancelled", stdout="so far\n",
                                  exit_code=-1),
    )
    p = un.start("x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    farm.wait_for("GET /jobs/J1")
    p.send_signal(sig)
    out, err = p.communicate(timeout=DEADLINE)
    release.set()
    assert p.returncode == 128 + sig
    assert out == b"so far\n"
    assert b"J1 cancelled" in err
    assert farm.asked()[-1] == "DELETE /jobs/J1"


def test_ctrl_c_before_the_job_is_known_ends_un(un, farm):
    release = threading.Event()

    def slow():
        release.wait(DEADLINE)
        return result()

    farm.on("POST /execute", slow)
    p = un.start("x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    farm.wait_for("POST /execute")
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=DEADLINE)
    release.set()
    assert p.returncode == 130
    assert b"runs on" in err


# ---- terminals ----


def on_terminal(un, *args, stdout=True, env=None):
    """Runs with a terminal as stderr, and as stdout if wanted."""
    master, slave = pty.openpty()
    un.env.update({"TERM": "xterm", **(env or {})})
    p = un.start(
        *args, stdout=slave if stdout else subprocess.PIPE, stderr=slave
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            break
    os.close(master)
    out = b"" if stdout else p.stdout.read()
    if not stdout:
        p.stdout.close()
    return p.wait(DEADLINE), seen.replace(b"\r\n", b"\n"), out


def on_async(farm, **more):
    farm.on("POST /execute/async", {"job_id": "J1", "status": "pending"})
    farm.on("GET /jobs/J1", result(**more))


def test_a_terminal_gets_colours_each_stream_by_itself(un, farm):
    on_async(farm, stdout="out", stderr="err")
    _, seen, _ = on_terminal(un, "x")
    assert seen == b"\x1b[34mout\x1b[0m\x1b[31merr\x1b[0m"
    _, seen, out = on_terminal(un, "x", stdout=False)
    assert (seen, out) == (b"\x1b[31merr\x1b[0m", b"out")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_turned_off(un, farm, env):
    on_async(farm, stdout="out", stderr="err", status="failed", error="bad")
    _, seen, _ = on_terminal(un, "x", env=env)
    assert seen == b"outerrError: bad\n"


def test_on_a_terminal_the_job_is_known_from_the_start(un, farm):
    release = threading.Event()

    def slow():
        release.wait(DEADLINE)
        return {"job_id": "J1", "status": "running"}

    farm.on("POST /execute/async", {"job_id": "J1", "status": "pending"})
    farm.on("GET /jobs/J1", slow)
    farm.on("DELETE /jobs/J1", result(status="cancelled", exit_code=-1))
    master, slave = pty.openpty()
    p = un.start("sleep 60", stdout=slave, stderr=slave)
    os.close(slave)
    farm.wait_for("GET /jobs/J1")
    p.send_signal(signal.SIGINT)
    assert p.wait(DEADLINE) == 130
    release.set()
    os.close(master)
    assert farm.asked()[-1] == "DELETE /jobs/J1"


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"yes?\n"])
def test_on_a_terminal_it_asks_about_large_files(un, farm, answer):
    with open(un.home / "big", "wb") as f:
        f.truncate((1 << 30) + 1)
    master, slave = pty.openpty()
    p = subprocess.Popen(
        [UN, "-f", "big", "cat big"], stdin=slave, stderr=subprocess.PIPE,
        env=un.env, cwd=un.home,
    )
    os.write(master, answer)
    said = p.stderr.read()
    p.stderr.close()
    assert p.wait(DEADLINE) == 1
    os.close(slave)
    os.close(master)
    assert b"Continue? [y/N]" in said and farm.requests == []


# ---- artifacts ----


def artifact(name, data):
    return {
        "filename": name,
        "content_base64": base64.b64encode(data).decode(),
    }


ELF = b"\x7fELF\2\1\1" + b"\0" * 57


def test_artifacts_are_saved_and_programs_can_be_run(un, farm):
    (un.home / "src").mkdir()
    (un.home / "src" / "fib.c").write_text("int main(){}")
    farm.on(
        "POST /execute",
        result(artifacts=[
            artifact("a.out", ELF), artifact("second", ELF),
            artifact("report.csv", b"1,2\n"), artifact("run", b"#!/bin/sh\n"),
            artifact("picture", b"\x89PNG\r\n"), artifact("blob", b"zzz"),
            artifact("deep/er/empty.txt", b""),
        ]),
    )
    done = un("-a", "-o", "new/dir", "src/fib.c")
    assert done.returncode == 0, done.stderr
    here = un.home / "new" / "dir"
    modes = {
        str(p.relative_to(here)): stat.S_IMODE(p.stat().st_mode)
        for p in here.rglob("*") if p.is_file()
    }
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {
        "fib": 0o755 & ~umask, "second": 0o755 & ~umask,
        "report.csv": 0o644 & ~umask, "run": 0o755 & ~umask,
        "picture": 0o644 & ~umask, "blob": 0o755 & ~umask,
        "deep/er/empty.txt": 0o644 & ~umask,
    }
    assert (here / "fib").read_bytes() == ELF
    assert b"Artifact saved: new/dir/fib (64 bytes)\n" in done.stderr
    assert b"Artifact saved: new/dir/deep/er/empty.txt (0 bytes)" in done.stderr


def test_a_directory_alone_asks_for_artifacts(un, farm):
    assert un("-o", "out", "x").returncode == 0
    assert farm.body()["return_artifact"] is True
    assert not (un.home / "out").exists()


def test_a_renamed_program_never_replaces_another_artifact(un, farm):
    (un.home / "fib.c").write_text("x")
    farm.on(
        "POST /execute",
        result(artifacts=[artifact("a.out", ELF), artifact("fib", b"text")]),
    )
    assert un("-o", "out", "fib.c").returncode == 0
    assert (un.home / "out" / "fib").read_bytes() == b"text"
    assert (un.home / "out" / "a.out").read_bytes() == ELF


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/un-evil", "..", "", ".", "a\0b", "a\nb",
     "x" * 300, "link/evil"],
)
def test_no_artifact_leaves_its_directory(un, farm, name):
    out = un.home / "in" / "out"
    out.mkdir(parents=True)
    (un.home / "outside").mkdir()
    (out / "link").symlink_to(un.home / "outside")
    farm.on(
        "POST /execute",
        result(artifacts=[artifact(name, b"evil"), artifact("good", b"ok")]),
    )
    done = un("-o", out, "x")
    assert done.returncode == 1
    assert b"not saved" in done.stderr
    files = [p for p in un.home.rglob("*") if p.is_file()]
    assert files == [out / "good"]
    assert not os.path.exists("/tmp/un-evil")


def test_an_artifact_replaces_a_link_and_not_what_it_points_at(un, farm):
    (un.home / "kept").write_text("kept")
    (un.home / "out").mkdir()
    (un.home / "out" / "a.txt").symlink_to(un.home / "kept")
    farm.on("POST /execute", result(artifacts=[artifact("a.txt", b"new")]))
    assert un("-o", "out", "x").returncode == 0
    assert (un.home / "kept").read_text() == "kept"
    assert (un.home / "out" / "a.txt").read_text() == "new"


def test_a_failed_program_keeps_its_status_over_a_lost_artifact(un, farm):
    farm.on(
        "POST /execute", result(exit_code=9, artifacts=[artifact("..", b"")])
    )
    assert un("-a", "x").returncode == 9


# ---- credentials ----


def test_accounts_come_from_the_file(un, farm):
    home = un.home / ".unsandbox"
    home.mkdir()
    (home / "accounts.csv").write_text(
        f"# mine\nunsb-pk-other,unsb-sk-other\n{PUBLIC},{SECRET},work\n"
    )
    other = {"UNSANDBOX_PUBLIC_KEY": "unsb-pk-no",
             "UNSANDBOX_SECRET_KEY": "unsb-sk-no"}
    assert un("--account", "1", "x", env=other).returncode == 0
    none = {"UNSANDBOX_PUBLIC_KEY": "", "UNSANDBOX_SECRET_KEY": "",
            "UNSANDBOX_ACCOUNT": "1"}
    assert un("x", env=none).returncode == 0
    assert un("-p", PUBLIC, "-k", SECRET, "x", env=other).returncode == 0
    assert len(farm.requests) == 3


def test_without_credentials_it_says_where_they_go(un, farm):
    none = {"UNSANDBOX_PUBLIC_KEY": "", "UNSANDBOX_SECRET_KEY": ""}
    done = un("x", env=none)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: API credentials required.\n")
    assert done.stderr.count(b"\n") == 4
    assert farm.requests == []


def test_a_secret_given_as_an_option_is_wiped_from_the_process_list(un, farm):
    seen = []

    def look():
        seen.append(pathlib.Path(f"/proc/{p.pid}/cmdline").read_bytes())
        return result()

    farm.on("POST /execute", look)
    p = un.start("-p", PUBLIC, "-k", SECRET, "x", stderr=subprocess.DEVNULL)
    assert p.wait(DEADLINE) == 0
    assert PUBLIC.encode() in seen[0] and SECRET.encode() not in seen[0]


# ---- the other commands ----


def test_jobs_are_listed(un, farm):
    farm.on("GET /jobs", {"jobs": [], "count": 0})
    assert un("jobs").stdout == b"No jobs found\n"
    farm.on(
        "GET /jobs",
        {"jobs": [{"job_id": "J1", "status": "running", "language": "go",
                   "created_at": "2026-01-14T12:00:00Z"},
                  {"id": "J2\x1b[2J", "status": "completed"}],
         "count": 2},
    )
    lines = un("--api-base", farm.url, "jobs", "-l").stdout.decode()
    lines = lines.splitlines()
    assert lines[0].split() == ["JOB", "ID", "STATUS", "LANGUAGE", "CREATED"]
    assert lines[1] == "%-38s %-12s %-14s %s" % (
        "J1", "running", "go", "2026-01-14T12:00:00Z")
    assert lines[2].startswith("J2?[2J ")


def test_one_job_is_shown_with_its_output(un, farm):
    farm.on(
        "GET /jobs/J1",
        result(job_id="J1", stdout="out\n", stderr="err\n", exit_code=3,
               artifacts=[artifact("a.txt", b"x")]),
    )
    done = un("jobs", "--get", "J1", "-o", "out")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Job ID:     J1\nStatus:     completed\n")
    assert b"Exit Code:  3\n" in done.stdout
    assert done.stdout.endswith(b"--- stdout ---\nout\n")
    assert b"--- stderr ---\nerr\n" in done.stderr
    assert (un.home / "out" / "a.txt").read_text() == "x"


def test_an_unknown_job_is_an_error(un, farm):
    farm.on("GET /jobs/J9", (404, {"error": "Job not found or expired"}))
    done = un("jobs", "--get", "J9")
    assert done.returncode == 1
    assert done.stderr == b"Error: HTTP 404\nJob not found or expired\n"


def test_a_job_is_cancelled(un, farm):
    farm.on("DELETE /jobs/J1", result(status="cancelled"))
    assert un("jobs", "--cancel", "J1").stdout == b"Job J1 cancelled\n"
    farm.on("DELETE /jobs/J2", result(status="completed"))
    assert b"already ended: completed" in un("jobs", "--cancel=J2").stdout


def test_languages_are_cached_for_an_hour_and_by_server(un, farm):
    farm.on("GET /languages", {"languages": ["python", "c"], "count": 2})
    assert un("languages").stdout == b"python\nc\n"
    assert un("languages", "--json").stdout == b'["python","c"]\n'
    assert len(farm.requests) == 1
    cache = un.home / ".unsandbox" / "languages.json"
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    kept = json.loads(cache.read_text())
    assert kept["languages"] == ["python", "c"]
    assert abs(kept["timestamp"] - time.time()) < 60

    old = time.time() - 3601
    os.utime(cache, (old, old))
    assert un("languages").returncode == 0
    assert len(farm.requests) == 2

    there = farm.url.replace("127.0.0.1", "localhost")
    assert un("languages", "--api-base", there).returncode == 0
    assert len(farm.requests) == 3

    cache.write_text("{broken")
    assert un("languages", "--api-base", there).stdout == b"python\nc\n"
    assert len(farm.requests) == 4


def test_languages_need_no_credentials(un, farm):
    farm.on("GET /languages", {"languages": ["python"]})
    none = {"UNSANDBOX_PUBLIC_KEY": "", "UNSANDBOX_SECRET_KEY": ""}
    assert un("languages", env=none).stdout == b"python\n"
    assert "Authorization" not in farm.requests.pop()["headers"]


def test_a_good_key_is_described(un, farm):
    farm.on(
        "POST /keys/validate",
        {"valid": True, "status": "valid", "public_key": PUBLIC,
         "tier": "Tier 3", "rate_per_minute": 60, "burst": 10,
         "concurrency": 5, "expires_at": "2099-12-31T23:59:59Z",
         "time_remaining": "300 days"},
    )
    done = un("key")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Valid\n")
    for line in ("%-20s %s" % ("Public Key:", PUBLIC),
                 "%-20s %s" % ("Rate Limit:", "60/min"),
                 "%-20s %s" % ("Concurrency:", "5")):
        assert line.encode() in done.stdout
    assert farm.requests[0]["body"] == b""


@pytest.mark.parametrize(
    "status, answer, said",
    [
        (401, {"error": "Invalid API key", "valid": False,
               "reason": "invalid_key"}, b"Invalid: Invalid API key"),
        (200, {"valid": False, "reason": "expired",
               "expired_ago": "3 days"}, b"Expired\nExpired Ago:"),
        (200, {"valid": False, "reason": "suspended"}, b"Suspended: key"),
    ],
)
def test_a_bad_key_is_explained(un, farm, status, answer, said):
    farm.on("POST /keys/validate", (status, answer))
    done = un("key")
    assert done.returncode == 1
    assert said in done.stdout
