"""Programs that paint screens look in a session as they do in a terminal of this machine.

Each runs twice, in a session and in a local pty, behind the same emulator; both
get the same keys, and their screens must become the same, cursor included.
"""

import base64
import contextlib
import re

import pytest

from farm import Farm, wait_for
from screen import LocalScreen, SessionScreen, see_the_same

SIZES = [(80, 24), (120, 40)]
TEXT = "".join(f"{n}: {'the quick brown fox jumps over the lazy dog; ' * (n % 5)}\n" for n in range(1, 61))
FILES = {
    "notes.txt": TEXT,
    # sh has the same prompt in every folder; no clock; nothing is left when its terminal goes.
    "tmux.conf": 'set -g default-command sh\nset -g status-right "on #H"\nset -g destroy-unattached on\n',
}
ESC, CTRL_B, CTRL_W, CTRL_X = b"\x1b", b"\x02", b"\x17", b"\x18"


@pytest.fixture(scope="module")
def farm():
    with Farm(daemons=("scheduler", "sessiond", "gateway"), conf={"gateway": {"processes": 1}}) as started:
        wait_for("a node", lambda: started.redis("ZCARD", "{unfarm}:nodes") == "1")
        wait_for("the gateway", lambda: "redis connected" in started.log("gateway"))
        yield started


@contextlib.contextmanager
def both(farm, folder, command, size):
    """The command in a session and here, in a folder with FILES, on machines of one name."""
    files = [{"filename": name, "content": base64.b64encode(text.encode()).decode()} for name, text in FILES.items()]
    made = farm.post("/sessions", {"shell": "sh", "input_files": files})
    assert made.status_code == 200, made.text
    shown = SessionScreen(farm, made.json()["id"], cols=size[0], rows=size[1])
    shown.until(lambda: shown.before_cursor.endswith("# "))
    shown.type(b"env; hostname; echo all of it\r")
    shown.until(b"\nall of it")
    printed = shown.output.decode().replace("\r", "").split("\n")
    env = dict(line.split("=", 1) for line in printed if re.match("[A-Z_]+=", line))
    name = printed[printed.index("all of it") - 1]

    home = folder / "home"
    home.mkdir()
    for file, text in FILES.items():
        (folder / file).write_text(text)
    env |= {"HOME": str(home), "TMPDIR": str(folder), "TMUX_TMPDIR": str(folder)}
    env.pop("PWD", None)
    local = LocalScreen(["unshare", "--uts", "sh", "-c", f"hostname {name}; exec {command}"],
                        env=env, cwd=folder, cols=size[0], rows=size[1])
    shown.type(f"cd /tmp/input; clear; exec {command}\r".encode())
    try:
        yield shown, local
    finally:
        local.close()
        shown.close()


def press(screens, keys):
    for screen in screens:
        screen.type(keys)


def resize(screens, size):
    for screen in screens:
        screen.resize(*size)


def end(screens, keys):
    """The session's program is told to leave."""
    press(screens, keys)
    assert screens[0].end() == {"type": "exit", "code": 0}


two_sizes = pytest.mark.parametrize("size, other", [SIZES, SIZES[::-1]], ids=lambda size: "x".join(map(str, size)))


@two_sizes
def test_vim(farm, tmp_path, size, other):
    with both(farm, tmp_path, "vim notes.txt", size) as screens:
        see_the_same(screens, lambda s: "60L" in s.lines[-1] and s.lines[0].startswith("1: the"))
        press(screens, b":set number\r")
        see_the_same(screens, lambda s: s.lines[0].startswith("  1 1: the"))
        press(screens, b"22Gwwi seen " + ESC)
        see_the_same(screens, lambda s: "22:  seen the" in s.text and " 22," in s.lines[-1])
        resize(screens, other)
        see_the_same(screens, lambda s: len(s.lines) == other[1] and " 22," in s.lines[-1])
        press(screens, b":vsplit\r")
        see_the_same(screens, lambda s: s.text.count(" seen ") == 2)
        assert screens[0].cursor != (0, 0)
        end(screens, b":qa!\r")


@two_sizes
def test_nano(farm, tmp_path, size, other):
    def shows(cols, rows):
        return lambda s: ("GNU nano" in s.lines[0] and s.lines[0].split()[3] == "notes.txt"
                          and s.lines[rows - 2].startswith("^G Help") and s.lines[rows - 1].startswith("^X Exit"))

    with both(farm, tmp_path, "nano notes.txt", size) as screens:
        see_the_same(screens, shows(*size))
        press(screens, CTRL_W + b"55:\r")
        see_the_same(screens, lambda s: "\n55:" in s.text and s.cursor[0] == 0 and s.cursor[1] > 1)
        resize(screens, other)
        see_the_same(screens, shows(*other))
        press(screens, b"new text ")
        see_the_same(screens, lambda s: "\nnew text 55:" in s.text and "*" in s.lines[0].split())
        end(screens, CTRL_X + b"n")


@two_sizes
def test_htop(farm, tmp_path, size, other):
    """Its processes and meters are those of another world; what is around them is the same."""
    def part(s):
        header = [line.split() for line in s.lines if line.split()[:2] == ["PID", "USER"]]
        return header, s.lines[-1], s.cursor

    with both(farm, tmp_path, "htop", size) as screens:
        shown = screens[0]
        for now in (size, other):
            see_the_same(screens, lambda s: part(s)[0] and "F10Quit" in s.lines[-1], part)
            assert part(shown)[0][0][-1] == "Command" and len(shown.lines) == now[1]
            processes = [line.split() for line in shown.lines if re.search(r"(sandbox-init|htop)$", line)]
            assert [p[0] for p in processes] == ["1", "2", "3"], shown.text
            if now == size:
                resize(screens, other)
        press(screens, b"/sandbox")
        see_the_same(screens, lambda s: "Search: sandbox" in s.lines[-1], lambda s: (s.lines[-1], s.cursor))
        press(screens, ESC)
        see_the_same(screens, lambda s: "Search:" not in s.lines[-1], part)
        end(screens, b"q")


@two_sizes
def test_tmux(farm, tmp_path, size, other):
    with both(farm, tmp_path, "tmux -f tmux.conf", size) as screens:
        see_the_same(screens, lambda s: s.lines[-1].startswith("[0] 0:sh*") and s.lines[0] == "#")
        press(screens, CTRL_B + b"%")
        see_the_same(screens, lambda s: s.lines[5].strip() == "\u2502")
        press(screens, b"stty size; echo one\r")
        see_the_same(screens, lambda s: re.search(r"\u2502one$", s.text, re.M) and s.lines[s.cursor[1]].endswith("\u2502#"))
        resize(screens, other)
        see_the_same(screens, lambda s: s.lines[other[1] - 1].startswith("[0] 0:sh*") and s.lines[20].strip() == "\u2502")
        press(screens, CTRL_B + b'"' + b"stty size; seq 100; echo two\r")
        see_the_same(screens, lambda s: "\u251c" in s.text and re.search(r"\u2502two$", s.text, re.M))
        assert screens[0].cursor[0] > other[0] / 2
        press(screens, CTRL_B + b"&")
        see_the_same(screens, lambda s: s.lines[-1].startswith("kill-window"))
        end(screens, b"y")
