#!/usr/bin/python3
"""refuse.py RULES COMMAND...: runs a command whose kernel refuses what RULES says, at any time.

RULES is a file of lines `CALL REGEX ERRNO`, read anew at each call: `mount
^overlay$ EPERM` refuses mounts of that type, `mkdirat ^s EROFS` folders whose
name begins with s.  What no line fits goes on as if we were not there.  A
seccomp filter with a listener, so everything that the command starts has it too.
"""

import ctypes
import errno
import fcntl
import os
import re
import select
import socket
import struct
import sys

CALLS = {"mkdir": (83, 0), "mount": (165, 2), "mkdirat": (258, 1)}  # number; which argument is the text
NEW_LISTENER, SET_FILTER, SYS_SECCOMP = 1 << 3, 1, 317
RECEIVE, SEND, GO_ON = 0xC0502100, 0xC0182101, 1


def install():
    """The filter; returns its listener."""
    rows = [(0x20, 0, 0, 0)]  # load the number of the call
    for i, (number, _) in enumerate(CALLS.values()):
        rows.append((0x15, len(CALLS) - i, 0, number))  # equal: to the last row
    rows += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FC00000)]  # allow; ask the listener
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
    program = struct.pack("HxxxxxxQ", len(rows), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_SECCOMP, SET_FILTER, NEW_LISTENER, program)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return fd


def text_at(pid, address):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(256).split(b"\0")[0].decode(errors="replace")


def verdict(rules, pid, number, args):
    """0, or the errno of the first rule that fits."""
    for line in open(rules):
        call, pattern, name = line.split()
        if CALLS[call][0] == number and args[CALLS[call][1]] and re.search(
                pattern, text_at(pid, args[CALLS[call][1]])):
            return getattr(errno, name)
    return 0


def supervise(rules, listener):
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        if poll.poll()[0][1] & select.POLLHUP:
            return  # the last process with the filter is gone
        ask = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, ask)
            id_, pid, _, number, _, _, *args = struct.unpack("QIIiIQ6Q", ask)
            try:
                why = verdict(rules, pid, number, args)
            except OSError:
                why = 0
            fcntl.ioctl(listener, SEND, struct.pack("QqiI", id_, 0, -why, 0 if why else GO_ON))
        except FileNotFoundError:
            pass  # it was killed meanwhile


def main(rules, command):
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # nobody's child: the command does not know of it
            os.setsid()
            ours.close()
            _, (listener,), _, _ = socket.recv_fds(theirs, 1, 1)
            theirs.close()
            supervise(rules, listener)
        os._exit(0)
    os.waitpid(child, 0)
    theirs.close()
    listener = install()
    socket.send_fds(ours, [b"x"], [listener])
    os.close(listener)
    ours.close()
    os.execv(command[0], command)


main(sys.argv[1], sys.argv[2:])
