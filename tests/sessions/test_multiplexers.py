"""Sessions that outlive their connection: by tmux, by screen, by neither; and those that do not."""

import time

import pytest

from farm import Farm, wait_for
from screen import SessionScreen

GRACE = 4  # seconds: a test comes back within it, also on a busy machine
COMMAND = {"tmux": b"\x02", "screen": b"\x01"}


@pytest.fixture(scope="module")
def farm():
    conf = {"gateway": {"processes": 1}, "sessiond": {"grace_seconds": GRACE}}
    with Farm(daemons=("scheduler", "sessiond", "gateway"), conf=conf) as started:
        wait_for("a node", lambda: started.redis("ZCARD", "{unfarm}:nodes") == "1")
        wait_for("the gateway", lambda: "redis connected" in started.log("gateway"))
        yield started


def begin(farm, **wish):
    made = farm.post("/sessions", {"shell": "sh", **wish})
    assert made.status_code == 200, made.text
    return made.json()["id"]


def state(farm, session):
    return farm.get(f"/sessions/{session}").json().get("status")


def prompt(shown):
    shown.until(lambda: shown.before_cursor.endswith("# "))


WISHES = [
    ("tmux", {"multiplexer": "tmux"}),
    ("tmux", {"persistence": "tmux"}),
    ("tmux", {"tmux": True}),
    ("screen", {"multiplexer": "screen"}),
    ("screen", {"persistence": "screen"}),
    ("screen", {"screen": True}),
]


@pytest.mark.parametrize("name, wish", WISHES, ids=str)
def test_detach_attach_exit(farm, name, wish):
    session = begin(farm, **wish)
    shown = SessionScreen(farm, session)
    prompt(shown)
    shown.type(b"X=kept; echo a$((40 + 2))b; echo notes > /tmp/artifacts/notes.txt\r")
    shown.until_seen("\na42b\n#")
    shown.press(COMMAND[name] + b"d")
    assert shown.end() == {"type": "detached"} and shown.ws.close_code == 1000
    assert not [said for said in shown.said if said["type"] == "exit"]

    record = farm.get(f"/sessions/{session}").json()
    assert record["status"] == "running" and record["multiplexer"] == name

    again = SessionScreen(farm, session)
    again.type(b"\n")  # what the compatible client sends to have it painted
    again.until_seen("\na42b\n#")
    assert "$((40" in again.text, "the screen as it was"
    again.type(b"echo $X$((6 * 7)); exit 3\r")
    assert again.end()["type"] == "exit"
    assert "kept42" in again.output.decode()
    wait_for("its end", lambda: state(farm, session) == "terminated")

    ended = farm.delete(f"/sessions/{session}").json()
    assert [(a["filename"], a["content_base64"]) for a in ended["artifacts"]] == [("notes.txt", "bm90ZXMK")]


def say_something(shown):
    """Leaves a variable in the shell and a line on the screen."""
    prompt(shown)
    shown.type(b"X=kept; echo a$((40 + 2))b\r")
    shown.until_seen("\na42b\n#")


def is_the_same(shown):
    """The shell of say_something(), which is then told to leave."""
    shown.until_seen("a42b\n#")
    shown.type(b"echo $X$((6 * 7)); exit 3\r")
    last = shown.end()
    assert last["type"] == "exit" and b"kept42" in shown.output, shown.text
    return last


def test_what_outlives_a_connection(farm):
    """All are left at about the same time; when one ended that was left last, no other will."""
    wishes = [{"multiplexer": "tmux"}, {"multiplexer": "screen"}, {"multiplexer": "none", "persist": True}]
    kept = [(begin(farm, **wish), wish, leave) for wish in wishes for leave in ("close", "drop")]
    printed = {}
    for session, _, leave in kept:
        shown = SessionScreen(farm, session)
        say_something(shown)
        printed[session] = shown.output
        getattr(shown, leave)()

    back = begin(farm)
    shown = SessionScreen(farm, back)
    say_something(shown)
    shown.drop()
    wait_for("nobody to look", lambda: farm.get(f"/sessions/{back}").json()["viewers"] == 0)
    returned = SessionScreen(farm, back)

    gone = begin(farm)
    shown = SessionScreen(farm, gone)
    prompt(shown)
    left = time.monotonic()
    shown.drop()
    wait_for("its end", lambda: state(farm, gone) == "terminated")
    assert time.monotonic() - left > GRACE - 0.1, "it waits for its line to come back"
    assert farm.delete(f"/sessions/{gone}").json()["reason"] == "disconnected"

    assert is_the_same(returned) == {"type": "exit", "code": 3}
    for session, wish, leave in kept:
        assert state(farm, session) == "running", (wish, leave)
        again = SessionScreen(farm, session)
        if wish["multiplexer"] == "none":
            again.until_seen("a42b\n#")
            assert again.output == printed[session]
            assert is_the_same(again) == {"type": "exit", "code": 3}
        else:
            is_the_same(again)


def test_by_default_it_ends_when_its_connection_is_closed(farm):
    session = begin(farm)
    shown = SessionScreen(farm, session)
    prompt(shown)
    shown.type(b"echo notes > /tmp/artifacts/notes.txt; echo made$((1 + 1))\r")
    shown.until_seen("made2")
    began = time.monotonic()
    shown.close()
    wait_for("its end", lambda: state(farm, session) == "terminated")
    assert time.monotonic() - began < GRACE, "not only after the grace for a dropped line"
    ended = farm.delete(f"/sessions/{session}").json()
    assert ended["reason"] == "disconnected"
    assert [a["filename"] for a in ended["artifacts"]] == ["notes.txt"]


@pytest.mark.parametrize("wish", [{"multiplexer": "zellij"}, {"multiplexer": 1}, {"tmux": "yes"}], ids=str)
def test_other_multiplexers_are_refused(farm, wish):
    assert farm.post("/sessions", {"shell": "sh", **wish}).status_code == 400
