"""Sessions while lines are cut, sessions are frozen, and sessiond and gateways are killed: none is lost, no byte is lost or doubled."""
import os
import random
import re
import signal
import threading
import time

import requests

from farm import Farm, wait_for
from session_calls import servers
from terminal import Gone, Native, Refused

LONG = bool(os.environ.get("SOAK"))
SESSIONS, SECONDS = (200, 300) if LONG else (16, 12)
THREADS = 16
# It answers each line with its number and the sum of its characters: what is lost, doubled or out of order shows.
PROGRAM = "n=0; stty -echo; echo READY; while read -r x; do n=$((n+1)); echo \"$n:$x\"; done\r"


class Player:
    """One session and its line, which is cut now and then."""

    def __init__(self, farm, number, dice):
        self.farm, self.number, self.dice = farm, number, dice
        answer = farm.post("/sessions", {"shell": "dash", "persist": True, "ttl": 3600}, session=requests.Session())
        assert answer.status_code == 200, answer.text
        self.id = answer.json()["id"]
        self.output, self.offset, self.lines, self.cuts, self.line = b"", None, [], 0, None
        self.whole = b""  # all that is to be typed, in its order
        self.connect()
        self.type(PROGRAM.encode())
        self.read(lambda: b"READY" in self.output)

    def connect(self):
        """Until it works: gateways and sessiond may be dead for a moment."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.line = Native(self.farm, self.id, client=f"p{self.number}", since=self.offset)
            except (Gone, Refused, OSError, AssertionError) as e:
                assert time.monotonic() < deadline, e
                time.sleep(0.1)
                continue
            break
        if self.offset is not None:
            assert self.line.hello["since"] == self.offset and not self.line.lost
        self.offset = self.line.offset
        done = self.line.hello["input"]
        if done < len(self.whole):
            self.line.type(self.whole[done:])

    def take(self):
        self.output += self.line.output
        self.line.output = b""
        self.offset = self.line.offset

    def again(self):
        self.take()
        self.cuts += 1
        self.line.ws.sock.close()
        self.connect()

    def cut(self):
        self.take()
        self.line.drop()
        self.again()

    def type(self, data):
        self.whole += data
        try:
            self.line.type(data)
        except (Gone, OSError):
            self.again()

    def read(self, test, seconds=120):
        deadline = time.monotonic() + seconds
        while not test():
            assert time.monotonic() < deadline, f"{self.id}: {self.output[-200:]!r}"
            try:
                self.line.ws.sock.settimeout(1)
                self.line.step()
            except TimeoutError:
                continue
            except (Gone, OSError):
                self.again()
            self.take()

    def play(self):
        word = f"{self.number}-{len(self.lines)}-{self.dice.randrange(10**9)}"
        self.lines.append(word)
        self.type(word.encode() + b"\r")
        if self.dice.random() < 0.3:
            self.cut()
        if self.dice.random() < 0.2:
            self.call("freeze")
            time.sleep(self.dice.random() * 0.05)
            self.call("unfreeze")
        if self.dice.random() < 0.7:
            last = f"{len(self.lines)}:{word}\r\n".encode()
            self.read(lambda: last in self.output)

    def call(self, what):
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.farm.post(f"/sessions/{self.id}/{what}", {}, session=requests.Session())
                if answer.status_code == 200:
                    return
                assert answer.status_code == 503, answer.text
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline, what
            time.sleep(0.1)

    def check(self):
        last = f"{len(self.lines)}:{self.lines[-1]}\r\n".encode()
        self.read(lambda: last in self.output)
        said = re.findall(rb"(\d+):(\S+)\r\n", self.output)
        assert said == [(b"%d" % (i + 1), w.encode()) for i, w in enumerate(self.lines)]


def kill_something(farm, dice):
    what = dice.choice(["server", "master", "gateway", "gateway"])
    if what == "gateway":
        os.kill(dice.choice(farm.gateways()), signal.SIGKILL)
        return
    if what == "server":
        for pid in servers(farm):
            os.kill(pid, signal.SIGKILL)
        return
    master = farm.procs["sessiond"]
    master.kill()
    master.wait()
    farm.start("sessiond")


def test_nothing_is_lost_while_all_of_it_dies():
    dice = random.Random(7)
    conf = {"sessiond": {"sessions": SESSIONS + 20, "warm": 4, "keep_seconds": 1}, "gateway": {"processes": 2, "frozen_sessions": SESSIONS}, "farm": {"log_level": "warning"}}
    with Farm(conf=conf, daemons=("scheduler", "sessiond", "gateway")) as farm:
        wait_for("a node for sessions", lambda: farm.redis("HLEN", "{unfarm}:room") == "1")
        players, errors, over = [], [], threading.Event()

        def drive(first):
            own = random.Random(first)
            mine = []
            try:
                mine.extend(Player(farm, i, own) for i in range(first, SESSIONS, THREADS))
                players.extend(mine)
                while not over.is_set():
                    for p in mine:
                        p.play()
                for p in mine:
                    p.check()
            except BaseException as e:  # noqa: BLE001 - told below
                errors.append(e)
                over.set()

        threads = [threading.Thread(target=drive, args=(i,)) for i in range(min(THREADS, SESSIONS))]
        for t in threads:
            t.start()
        wait_for("all to have begun", lambda: len(players) == SESSIONS or errors, 120)
        until = time.monotonic() + SECONDS
        killed = 0
        while time.monotonic() < until and not over.is_set():
            time.sleep(dice.uniform(0.5, 2))
            kill_something(farm, dice)
            killed += 1
        over.set()
        for t in threads:
            t.join()
        if errors:
            raise errors[0]
        assert len(players) == SESSIONS and killed >= 3 and sum(p.cuts for p in players) > SESSIONS
        print(f"{SESSIONS} sessions, {killed} kills, {sum(p.cuts for p in players)} lines cut, {sum(len(p.lines) for p in players)} lines typed")
        wait_for("all in the list", lambda: farm.get("/sessions").json()["count"] == SESSIONS)
        for p in players:
            assert farm.delete(f"/sessions/{p.id}").status_code == 200
        wait_for("no session", lambda: farm.get("/sessions").json()["count"] == 0)
