"""A WebSocket client for terminals: the compatible protocol, and unfarm.term.v1."""
import base64
import hashlib
import json
import os
import re
import socket
import struct
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
COMPATIBLE, NATIVE = "unsandbox-shell", "unfarm.term.v1"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HELLO, OUT, SCREEN, LIVE, TRUNC, SIZE, PEERS, STATE, EXIT, INACK = range(1, 11)
IN, RESIZE, ACK, SIGNAL, CLAIM, DETACH = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status, self.body = status, body


class Gone(Exception):
    """The connection ended."""


class WebSocket:
    def __init__(self, port, target, *, protocol=None, headers=None, host="127.0.0.1", timeout=20):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""
        self.close_code = None
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.left:
            self._more()
        head, self.left = self.left.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        status = int(self.head.split()[1])
        if status != 101:
            length = re.search(r"\r\nContent-Length: (\d+)", self.head, re.I)
            self.sock.settimeout(2)
            try:
                while not length or len(self.left) < int(length[1]):
                    self._more()
            except (Gone, OSError):
                pass
            self.sock.close()
            raise Refused(status, self.left)
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        assert f"Sec-WebSocket-Accept: {accept}" in self.head, self.head

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            raise Gone
        self.left += data

    def send(self, opcode, data):
        if isinstance(data, str):
            data = data.encode()
        mask = os.urandom(4)
        n = len(data)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + struct.pack(">H", n) if n < 65536 else bytes([0x80 | 127]) + struct.pack(">Q", n)
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if n < 4096 else _mask(data, mask)
        try:
            self.sock.sendall(head + mask + body)
        except (ConnectionResetError, BrokenPipeError) as e:
            raise Gone from e

    def receive(self):
        """(opcode, bytes) of the next message; pings are answered."""
        while True:
            opcode, data = self._frame()
            if opcode == PING:
                self.send(PONG, data)
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else None
                raise Gone
            elif opcode != PONG:
                return opcode, data

    def _frame(self):
        """One frame, all of it: a time-out in its middle loses nothing."""
        head = 2
        while len(self.left) < head:
            self._more()
        a, b = self.left[:2]
        n = b & 127
        head += {126: 2, 127: 8}.get(n, 0)
        while len(self.left) < head:
            self._more()
        if n >= 126:
            n = int.from_bytes(self.left[2:head], "big")
        while len(self.left) < head + n:
            self._more()
        assert a & 0x80 and not b & 0x80, "fragments or masks from a server"
        data, self.left = self.left[head:head + n], self.left[head + n:]
        return a & 15, data

    def close(self, code=1000):
        try:
            self.send(CLOSE, struct.pack(">H", code))
        except (Gone, OSError):
            pass
        self.sock.close()

    def drop(self):
        """As when the line is cut."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _mask(data, mask):
    n = len(data)
    whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (n // 4 + 1))[:n], "big")
    return whole.to_bytes(n, "big")


class Terminal:
    """The compatible protocol."""

    def __init__(self, farm, session, *, cols=80, rows=24, headers=None, query="", sign=False):
        target = f"/sessions/{session}/shell{query}"
        head = dict(headers or {})
        if sign:
            head |= farm.sign("GET", target, b"")
        self.ws = WebSocket(farm.port, target, protocol=COMPATIBLE, headers=head)
        self.output, self.said = b"", []
        if cols:
            self.resize(cols, rows)

    def resize(self, cols, rows):
        self.ws.send(TEXT, json.dumps({"type": "resize", "cols": cols, "rows": rows}))

    def type(self, data):
        self.ws.send(BINARY, data)

    def press(self, keys):
        """One after the other, as by hand: tmux takes what comes within a millisecond for pasted text."""
        for key in keys:
            time.sleep(0.05)
            self.type(bytes([key]))

    def step(self):
        opcode, data = self.ws.receive()
        if opcode == TEXT:
            self.said.append(json.loads(data))
        else:
            self.output += data

    def until(self, what, seconds=20):
        """Reads until what() is true, or these bytes were printed; all of the output."""
        deadline = time.monotonic() + seconds
        test = what if callable(what) else lambda: what in self.output
        while not test():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{what!r} never came: {self.output[-300:]!r} {str(self.said)[-300:]}")
            self.ws.sock.settimeout(min(left, 1))  # pings of the server may come for ever
            try:
                self.step()
            except TimeoutError:
                continue
        return self.output

    def end(self, seconds=20):
        """Reads to the end; the last word."""
        try:
            self.until(lambda: False, seconds)
        except Gone:
            return self.said[-1] if self.said else None

    def close(self):
        self.ws.close()

    def drop(self):
        self.ws.drop()


class Native:
    """unfarm.term.v1"""

    def __init__(self, farm, session, *, since=None, client="", role="", cols=80, rows=24, sign=True, ticket=None, ack=True, screen=False):
        query = [f"client={client}", f"cols={cols}", f"rows={rows}"]
        query += [f"since={since}"] if since is not None else []
        query += [f"role={role}"] if role else []
        query += [f"ticket={ticket}"] if ticket else []
        query += ["screen=1"] if screen else []
        target = f"/sessions/{session}/shell?" + "&".join(query)
        self.ws = WebSocket(farm.port, target, protocol=NATIVE, headers=farm.sign("GET", target, b"") if sign else None)
        self.ack = ack
        self.output, self.frames, self.lost, self.screens = b"", [], [], []
        self.hello = None
        self.live = False
        self.acked = self.typed = 0
        self.until(lambda: self.hello)
        self.offset = self.hello["since"]
        self.typed = self.acked = self.hello["input"]

    def _frame(self, kind, data=b""):
        self.ws.send(BINARY, bytes([kind, 0, 0, 0]) + data)

    def step(self):
        opcode, data = self.ws.receive()
        assert opcode == BINARY, data
        kind, body = data[0], data[4:]
        if kind == HELLO:
            self.hello = json.loads(body)
        elif kind == OUT:
            at = struct.unpack("<Q", body[:8])[0]
            assert at == self.offset, (at, self.offset)
            self.output += body[8:]
            self.offset += len(body) - 8
            if self.ack:
                self._frame(ACK, struct.pack("<Q", self.offset))
        elif kind == TRUNC:
            lost = struct.unpack("<QQ", body)
            assert lost[0] == self.offset, (lost, self.offset)
            self.lost.append(lost)
            self.offset = lost[1]
        elif kind == SCREEN:  # what came before is not to be seen any more
            at, cols, rows = struct.unpack("<QHH", body[:12])
            assert at == self.offset
            self.screens.append((cols, rows, body[12:]))
            self.output = b""
        elif kind == LIVE:
            self.live = True
        elif kind == INACK:
            self.acked = struct.unpack("<Q", body)[0]
        self.frames.append((kind, body))

    def type(self, data):
        self._frame(IN, struct.pack("<Q", self.typed) + data)
        self.typed += len(data)

    def resize(self, cols, rows):
        self._frame(RESIZE, struct.pack("<HH", cols, rows))

    def signal(self, number):
        self._frame(SIGNAL, bytes([number]))

    def detach(self):
        self._frame(DETACH)

    def exit(self):
        """The exit record, or None."""
        return next((json.loads(b[8:]) for k, b in self.frames if k == EXIT), None)

    until = Terminal.until

    @property
    def said(self):
        return self.frames[-5:]

    close, drop = Terminal.close, Terminal.drop
