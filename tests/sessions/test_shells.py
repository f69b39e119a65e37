"""Every shell and REPL of conf/shells.json in a session: it takes a line, answers, and leaves."""

import concurrent.futures
import json
import re
import shutil

import pytest
import requests

from farm import ROOT, Farm, wait_for
from screen import SessionScreen
from terminal import Gone

RECORDS = {record["name"]: record for record in json.loads((ROOT / "conf/shells.json").read_text())}
ANSWER = "7006652"  # 1234 * 5678: the program must have computed it, no echo shows it
CTRL_D = "\x04"
PATH = re.search(r'#define LANG_PATH\s+((?:\\?\s*"[^"]*")+)', (ROOT / "common/lang.h").read_text())[1].replace('"', "").strip()
ONE_GATEWAY = {"gateway": {"processes": 1}}
SECONDS = 90  # only a test that fails waits so long, or one on a very busy machine

# name: the end of what stands before the cursor when a line is wanted (a pattern),
# what is typed, what leaves, exit code
TALK = {
    "bash": (r"# ?$|\$ $", "echo $((1234 * 5678))", "exit 3", 3),
    "dash": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "sh": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "zsh": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "fish": (r"# $", "math 1234 '*' 5678", "exit 3", 3),
    "ksh": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "mksh": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "tcsh": (r"[>#] $", "@ x = 1234 * 5678; echo $x", "exit 3", 3),
    "csh": (r"[%#] $", "@ x = 1234 * 5678; echo $x", "exit 3", 3),
    "elvish": (r"[>#] $", "* 1234 5678", "exit 3", 3),
    "xonsh": (r"[@$#] $", "1234 * 5678", "exit", 0),
    "ash": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "yash": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "posh": (r"# $", "echo $((1234 * 5678))", "exit 3", 3),
    "rc": (r"; $", "echo `{expr 1234 '*' 5678}", "exit 3", 3),
    "sash": (r"[>#] $", "expr 1234 '*' 5678", "quit", 0),
    "nu": (r"> $", "1234 * 5678", "exit 3", 3),
    "python3": (r">>> $", "1234 * 5678", "exit(3)", 3),
    "ipython": (r"In \[1\]: $", "1234 * 5678", "exit", 0),
    "bpython": (r">>> $", "1234 * 5678", "exit(3)", 3),
    "pypy3": (r">>>> $", "1234 * 5678", "exit(3)", 3),
    "node": (r"> $", "1234 * 5678", "process.exit(3)", 3),
    "deno": (r"> $", "1234 * 5678", "Deno.exit(3)", 3),
    "bun": (r"> $", "1234 * 5678", "process.exit(3)", 3),
    "coffee": (r"coffee> $", "1234 * 5678", "process.exit 3", 3),
    "irb": (r"\d> $", "1234 * 5678", "exit", 0),
    "lua": (r"> $", "1234 * 5678", "os.exit(3)", 3),
    "luajit": (r"> $", "print(1234 * 5678)", "os.exit(3)", 3),
    "php": (r"php > $", "echo 1234 * 5678;", CTRL_D, 0),
    "perl": (r"DB<1> $", "print 1234 * 5678", "q", 0),
    "raku": (r"> $", "1234 * 5678", "exit 3", 3),
    "scheme": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "guile": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "mit-scheme": (r"1 \]=> $", "(* 1234 5678)", "(exit 3)", 3),
    "csi": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "gsi": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "racket": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "sbcl": (r"\* $", "(* 1234 5678)", "(sb-ext:exit :code 3)", 3),
    "clisp": (r"\[1\]> $", "(* 1234 5678)", "(ext:exit 3)", 3),
    "ecl": (r"> $", "(* 1234 5678)", "(ext:quit 3)", 3),
    "clojure": (r"user=> $", "(* 1234 5678)", "(System/exit 3)", 3),
    "newlisp": (r"> $", "(* 1234 5678)", "(exit 3)", 3),
    "picolisp": (r": $", "(* 1234 5678)", "(bye 3)", 3),
    "ghci": (r"> $", "1234 * 5678", ":quit", 0),
    "hugs": (r"> $", "1234 * 5678", ":quit", 0),
    "erl": (r"1> $", "1234 * 5678.", "halt(3).", 3),
    "iex": (r"iex\(1\)> $", "1234 * 5678", "System.halt(3)", 3),
    "jshell": (r"jshell> $", "1234 * 5678", "/exit 3", 3),
    "scala": (r"scala> $", "1234 * 5678", "sys.exit(3)", 3),
    "csharp": (r"csharp> $", "1234 * 5678", "quit;", 0),
    "fsharpi": (r"> $", "1234 * 5678;;", "exit 3;;", 3),
    "ocaml": (r"# $", "1234 * 5678;;", "exit 3;;", 3),
    "sml": (r"- $", "1234 * 5678;", CTRL_D, 0),
    "poly": (r"> $", "1234 * 5678;", CTRL_D, 0),
    "swipl": (r"\?- $", "X is 1234 * 5678.", "halt(3).", 3),
    "gprolog": (r"\?- $", "X is 1234 * 5678.", "halt(3).", 3),
    "r": (r"> $", "1234 * 5678", "q(status = 3)", 3),
    "julia": (r"julia> $", "1234 * 5678", "exit(3)", 3),
    "sqlite3": (r"sqlite> $", "select 1234 * 5678;", ".exit 3", 3),
    "octave": (r"> $", "1234 * 5678", "exit(3)", 3),
    "gp": (r"\? $", "1234 * 5678", "quit(3)", 3),
    "maxima": (r"\(%i1\) $", "1234 * 5678;", "quit();", 0),
    "bc": (r"(^|\n)$", "1234 * 5678", "quit", 0),
    "tclsh": (r"% $", "expr {1234 * 5678}", "exit 3", 3),
    "gforth": (r"(exit|ok)\n$", "1234 5678 * .", "bye", 0),
}


@pytest.fixture(scope="module")
def farm():
    with Farm(daemons=("scheduler", "sessiond", "gateway"), conf=ONE_GATEWAY) as started:
        wait_for("a node", lambda: started.redis("ZCARD", "{unfarm}:nodes") == "1")
        wait_for("the gateway", lambda: "redis connected" in started.log("gateway"))
        yield started


def installed():
    """Names of the shells that this machine has."""
    return [name for name, record in RECORDS.items() if shutil.which(record["argv"][0], path=PATH)]


def talk(farm, name):
    """A whole session: what the terminal shows when the answer is there, and the exit."""
    prompt, line, leave, _ = TALK[name]
    made = farm.post("/sessions", {"shell": name}, session=requests)
    assert made.status_code == 200, made.text
    shown = SessionScreen(farm, made.json()["id"])

    def wait(what, test):
        try:
            shown.until(test, SECONDS)
        except Gone:
            raise AssertionError(f"{name} ended before its {what}: {shown.said}\n{shown.text}") from None
        except AssertionError:
            raise AssertionError(f"{name} waited for its {what}:\n{shown.text}\n{shown.output[-500:]!r}") from None

    wait("prompt", lambda: re.search(prompt, shown.before_cursor))
    shown.type(line.encode() + b"\r")
    wait("answer", lambda: ANSWER in shown.text)
    wait("prompt again", lambda: re.search(prompt.replace("1", r"\d"), shown.before_cursor))
    shown.type(leave.encode() + (b"" if leave == CTRL_D else b"\r"))
    return shown.end(SECONDS), shown.text


@pytest.fixture(scope="module")
def talks(farm):
    """All of them, some at a time: most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield {name: pool.submit(talk, farm, name) for name in installed()}


@pytest.mark.parametrize("name", RECORDS)
def test_takes_a_line_and_answers(farm, talks, name):
    if name not in talks:
        pytest.skip(f"{RECORDS[name]['argv'][0]} is not installed")
    last, shown = talks[name].result()
    assert last == {"type": "exit", "code": TALK[name][3]}, shown


def test_every_record_is_in_the_table():
    assert TALK.keys() == RECORDS.keys()


@pytest.mark.parametrize("wish, shell", [
    ({}, "bash"),
    ({"shell": "busybox"}, "ash"),
    ({"shell": "Python"}, "python3"),
    ({"language": "python"}, "python3"),
    ({"language": "javascript"}, "node"),
    ({"language": "ruby"}, "irb"),
    ({"shell": "zsh", "language": "python"}, "zsh"),
], ids=str)
def test_a_shell_has_many_names(farm, wish, shell):
    made = farm.post("/sessions", wish)
    assert made.status_code == 200 and made.json()["shell"] == shell, made.text
    assert farm.delete(f"/sessions/{made.json()['id']}").status_code == 200


@pytest.mark.parametrize("wish", [{"shell": "no-such-shell"}, {"language": "no-such-language"}, {"shell": 1}], ids=str)
def test_a_shell_that_nobody_knows_is_refused(farm, wish):
    refused = farm.post("/sessions", wish)
    assert refused.status_code == 400 and "shell" in refused.json()["message"] + "".join(wish), refused.text


def by_category(names):
    categories = {}
    for name in names:
        categories.setdefault(RECORDS[name]["category"], []).append(name)
    return {"shells": names, "categories": categories, "count": len(names)}


def test_the_list_has_what_nodes_have(farm):
    def same():
        return farm.get("/shells", sign=False).json() == by_category(installed())

    wait_for("the node's shells in the list", same)


def test_the_list_is_of_live_nodes_not_of_the_gateways_machine():
    """Two nodes that other machines might be, and none."""
    with Farm(daemons=("gateway",), conf=ONE_GATEWAY) as farm:
        def listed():
            return farm.get("/shells", sign=False).json()

        def node(name, shells, until):
            farm.redis("ZADD", "{unfarm}:nodes", until, name)
            farm.redis("SET", "{unfarm}:node:" + name, json.dumps({"node": name, "shells": shells}))

        wait_for("the gateway", lambda: "redis connected" in farm.log("gateway"))
        assert listed() == by_category(installed()), "without nodes: what this machine has"
        node("one", ["dash", "nu", "of-a-later-version", 7], "+inf")
        node("two", ["nu", "julia"], "+inf")
        node("dead", ["sbcl"], 1)
        wait_for("both nodes", lambda: listed() == by_category(["dash", "nu", "julia"]))
        farm.redis("SET", "{unfarm}:node:one", "not JSON")
        wait_for("the other node", lambda: listed() == by_category(["nu", "julia"]))
        farm.redis("DEL", "{unfarm}:nodes")
        wait_for("no node", lambda: listed() == by_category(installed()))


def test_a_session_goes_where_its_shell_is():
    """And not to a node with more room; where it is nowhere, nothing begins."""
    with Farm(daemons=("gateway",), conf=ONE_GATEWAY) as farm:
        for name, room, has in (("one", 5, ["dash"]), ("two", 1, ["dash", "nu"])):
            farm.redis("ZADD", "{unfarm}:nodes", "+inf", name)
            farm.redis("HSET", "{unfarm}:room", name, room)
            farm.redis("SET", "{unfarm}:node:" + name, json.dumps({"node": name, "address": "127.0.0.1", "port": 1, "secret": "x", "shells": has}))
        wait_for("the gateway", lambda: "redis connected" in farm.log("gateway"))

        def begin(shell):
            """The status, for want of a real node 503; then how much room there is."""
            answer = farm.post("/sessions", {"shell": shell})
            return answer.status_code, *(int(farm.redis("HGET", "{unfarm}:room", name)) for name in ("one", "two")), answer.json()["message"]

        assert begin("dash")[:3] == (503, 4, 1)
        assert begin("nu")[:3] == (503, 4, 0)
        assert begin("nu") == (503, 4, 0, "no node of this farm has room for a session right now")
        assert begin("julia") == (400, 4, 0, "`shell` julia is not installed on this farm: GET /shells lists what there is")
