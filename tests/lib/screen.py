"""Screens: a terminal emulator in front of a session's terminal, or of a local pty.

    shown = SessionScreen(farm, session, cols=80, rows=24)
    shown.type(b"vim notes\\r")
    shown.until(lambda: shown.lines[0] == "a note")
"""
import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

import pyte

from terminal import Gone, Terminal

# What pyte would print although it is not text: strings (DCS, SOS, PM, APC), and
# control sequences with a private mark or an intermediate byte it does not know.
STRANGE = re.compile(rb"""\x1b[PX^_].*?\x1b\\
    | \x1b\[ (?: [<=>][0-9;:]*[@-~] | [?][0-9;:]*[A-IL-Zabd-gi-kmo-z] | [?]?[0-9;:]*[!"$'*+\x20][@-~] )
    | \x1b[\x20(\#][0-9A-Za-z]""", re.S | re.X)
COLOUR = re.compile(rb"\x1b\](1[0-2]);\?(\x07|\x1b\\)")
# The begin of a sequence whose end is still to come.
TAIL = re.compile(rb"\x1b(?:[PX^_\]](?:[^\x1b\x07]|\x1b(?!\\))*|\[[0-?]*[ -/]*|[ (#]?)\Z", re.S)


class Stream(pyte.ByteStream):
    csi = {**pyte.ByteStream.csi, "S": "scroll_up", "T": "scroll_down", "b": "repeat"}
    events = pyte.ByteStream.events | {"scroll_up", "scroll_down", "repeat"}


class Emulator(pyte.Screen):
    """answer(bytes) gets what a terminal says by itself: where its cursor is, what it is."""

    def __init__(self, cols, rows, answer):
        self._answer = answer
        self._last = " "
        self._rest = b""
        self._bytes = Stream()
        super().__init__(cols, rows)
        self._bytes.attach(self)

    def feed(self, data):
        data = self._rest + data
        tail = TAIL.search(data)
        self._rest = tail.group() if tail else b""
        data = data[:len(data) - len(self._rest)]
        at = 0
        for strange in STRANGE.finditer(data):
            self._bytes.feed(data[at:strange.start()])
            at = strange.end()
            if re.fullmatch(rb"\x1b\[>0?c", strange.group()):
                self._answer(b"\x1b[>0;0;0c")
        self._bytes.feed(data[at:])
        for colour, end in COLOUR.findall(data):
            self._answer(b"\x1b]" + colour + b";rgb:0000/0000/0000" + end)

    def write_process_input(self, data):
        self._answer(data.encode())

    def report_device_status(self, mode, **kwargs):
        super().report_device_status(mode)

    def set_margins(self, top=None, bottom=None):
        super().set_margins(top or None, bottom or None)  # "ESC [ r" has no numbers

    def draw(self, data):
        self._last = data[-1]
        super().draw(data)

    def repeat(self, count=1):
        self.draw(self._last * (count or 1))

    def _scroll(self, count, edge, step):
        top, bottom = self.margins or (0, self.lines - 1)
        x, y = self.cursor.x, self.cursor.y
        for _ in range(count or 1):
            self.cursor.y = bottom if edge else top
            step()
        self.cursor.x, self.cursor.y = x, y

    def scroll_up(self, count=1):
        self._scroll(count, True, self.index)

    def scroll_down(self, count=1):
        self._scroll(count, False, self.reverse_index)


class _Shown:
    """What a reader sees: the terminal's lines and cursor."""

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def cursor(self):
        return self.screen.cursor.x, self.screen.cursor.y

    @property
    def before_cursor(self):
        """All text up to the cursor."""
        x, y = self.cursor
        return "\n".join([*self.lines[:y], self.screen.display[y][:x]])

    @property
    def text(self):
        return "\n".join(self.lines)

    def until_seen(self, *texts, seconds=20):
        try:
            self.until(lambda: all(text in self.text for text in texts), seconds)
        except (AssertionError, Gone) as e:
            raise AssertionError(f"{texts} not seen in:\n{self.text}") from e


class SessionScreen(_Shown, Terminal):
    def __init__(self, farm, session, *, cols=80, rows=24, **options):
        self.screen = Emulator(cols, rows, self.type)
        super().__init__(farm, session, cols=cols, rows=rows, **options)

    def step(self):
        known = len(self.output)
        super().step()
        self.screen.feed(self.output[known:])

    def resize(self, cols, rows):
        self.screen.resize(rows, cols)
        super().resize(cols, rows)

    def look(self, seconds=0.02):
        """Reads what comes within that time."""
        self.ws.sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self.step()


class LocalScreen(_Shown):
    """A program in a pty of this machine, for comparison."""

    said = ()

    def __init__(self, argv, *, env, cwd, cols=80, rows=24):
        self.output = b""
        self.screen = Emulator(cols, rows, self.type)
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            self._set_size(0, cols, rows)
            os.chdir(cwd)
            os.execvpe(argv[0], argv, env)
        self._set_size(self.master, cols, rows)

    @staticmethod
    def _set_size(fd, cols, rows):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, data):
        os.write(self.master, data)

    def resize(self, cols, rows):
        self.screen.resize(rows, cols)
        self._set_size(self.master, cols, rows)

    def look(self, seconds=0.02):
        if not select.select([self.master], [], [], seconds)[0]:
            return
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self.output += data
        self.screen.feed(data)

    def until(self, test, seconds=20):
        deadline = time.monotonic() + seconds
        while not test():
            assert time.monotonic() < deadline, self.text
            self.look()

    def close(self):
        os.close(self.master)  # hangs it up
        os.waitpid(self.pid, 0)


def whole(shown):
    return shown.lines, shown.cursor


def see_the_same(screens, test=lambda shown: True, part=whole, seconds=30):
    """Reads them, by turns, until the test is true of each and that part of them is the same."""
    deadline = time.monotonic() + seconds
    while not all(test(shown) for shown in screens) or any(part(shown) != part(screens[0]) for shown in screens):
        if time.monotonic() > deadline:
            texts = [f"---- cursor {shown.cursor}, as wanted: {test(shown)}\n{shown.text}" for shown in screens]
            raise AssertionError("\n".join(texts))
        for shown in screens:
            shown.look()
