"""What gets past the gateway without a right signature: nothing, however it is written.

Raw sockets, for a client library would put in order what is to be out of order. tests/e2e/test_gateway.py
has the plain cases; here are the crooked ones. After each the gateway is the same process and answers.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import re
import socket
import subprocess
import time

import pytest
from attack import ROOT
from farm import BUILD, PUBLIC, SECRET, Farm, wait_for

TARGET = "/jobs"
LIBRARY = re.compile(rb"<html><head><title>[\w ]+</title></head><body>[\w <>/.,'-]+</body></html>$")


@pytest.fixture(scope="module")
def other(farm):
    """A second key, as an operator makes it."""
    out = subprocess.run([BUILD / "unfarm", "-c", farm.dir / "unfarm.conf", "key", "create", "--json"],
                         capture_output=True, text=True, check=True)
    key = json.loads(out.stdout)
    return key["public_key"], key["secret_key"]


@pytest.fixture(autouse=True)
def still_serving(farm):
    before = farm.procs["gateway"].pid, jobs_ever(farm)
    yield
    assert farm.procs["gateway"].poll() is None and farm.get("/jobs").status_code == 200
    assert (farm.procs["gateway"].pid, jobs_ever(farm)) == before, "it made a job"


def jobs_ever(farm):
    return int(farm.redis("GET", "{unfarm}:seq") or 0)


def exchange(farm, data):
    """All that comes back until the gateway closes: a list of (status, headers, body)."""
    got = b""
    with socket.create_connection(("127.0.0.1", farm.port), 10) as sock:
        sock.settimeout(10)
        with contextlib.suppress(ConnectionError):  # it may close before it has read all
            sock.sendall(data)
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65536):
                got += piece
    answers = []
    while got.startswith(b"HTTP/1.1 "):
        head, _, rest = got.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        n = int(fields.get(b"content-length", 0))
        answers.append((int(head[9:12]), fields, rest[:n]))
        got = rest[n:]
    return answers


def headers(farm, method="GET", target=TARGET, body=b"", **how):
    signed = farm.sign(method, target, body, **how)
    signed.pop("Content-Type")
    return {k.encode(): v.encode() for k, v in signed.items()}


def request(method, target, fields, body=b"", framing=None, close=True):
    """fields: a dict, or a list of pairs when one is there twice."""
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    framing = framing if framing is not None else (b"Content-Length: %d\r\n" % len(body) if body else b"")
    return (f"{method} {target} HTTP/1.1\r\nHost: farm\r\n".encode() + b"".join(k + b": " + v + b"\r\n" for k, v in pairs)
            + (b"Connection: close\r\n" if close else b"") + framing + b"\r\n" + body)


def ask(farm, *args, **how):
    """One request, one answer: its status and what its JSON says."""
    answers = exchange(farm, request(*args, **how))
    assert len(answers) == 1, answers
    status, fields, body = answers[0]
    assert fields[b"content-type"] == b"application/json", answers
    return status, json.loads(body)


def refused(farm, *args, status=401, code="INVALID_KEY", **how):
    got, said = ask(farm, *args, **how)
    assert got == status and said["code"] == code, (got, said)
    assert {"error", "message", "code", "details"} <= set(said)
    assert SECRET not in json.dumps(said)
    return said


def by_library(farm, data, *statuses):
    """What is not HTTP is answered by libmicrohttpd: a fixed page, of nothing that was sent, and the end."""
    answers = exchange(farm, data)
    assert not answers or answers[0][0] in statuses, answers
    for _, _, body in answers:
        assert b"marker" not in body and (LIBRARY.search(body) or body.startswith(b"HTTP/1.1 400")), answers


def mac(secret, message):
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest().encode()


def test_the_same_headers_unchanged_are_accepted(farm, other):
    """Else all that follows would prove nothing."""
    assert ask(farm, "GET", TARGET, headers(farm))[0] == 200
    assert ask(farm, "GET", TARGET, headers(farm, key=other))[0] == 200
    lower = {k.lower(): b"  " + v for k, v in headers(farm).items()}
    lower[b"authorization"] = lower[b"authorization"].replace(b"Bearer", b"bEARER")
    assert ask(farm, "GET", TARGET, lower)[0] == 200, "names of headers and the scheme know no case"


# ---- the signature -----------------------------------------------------------

SIGNATURES = {
    "empty": lambda s: b"",
    "one digit": lambda s: s[:1],
    "truncated by one": lambda s: s[:-1],
    "truncated to half": lambda s: s[:32],
    "one digit more": lambda s: s + b"0",
    "twice": lambda s: s + s,
    "two in one line": lambda s: s + b", " + s,
    "upper case": lambda s: (s[:-1] + b"a").upper() if s.isdigit() else s.upper(),
    "first digit": lambda s: (b"1" if s[:1] == b"0" else b"0") + s[1:],
    "last digit": lambda s: s[:-1] + (b"1" if s[-1:] == b"0" else b"0"),
    "reversed": lambda s: s[::-1] if s != s[::-1] else b"0" * 64,
    "zeros": lambda s: b"0" * 64,
    "base64 of it": lambda s: bytes.fromhex(s.decode()).hex().encode()[:43] + b"=",
    "0x": lambda s: b"0x" + s[:-2],
    "its bytes": lambda s: bytes.fromhex(s.decode()).replace(b"\r", b"r").replace(b"\n", b"n").replace(b"\0", b"0"),
    "a blank inside": lambda s: s[:32] + b" " + s[32:],
    "a tab after it": lambda s: s + b"\t",
    "control": lambda s: s[:-1] + b"\x01",
    "delete": lambda s: s[:-1] + b"\x7f",
    "latin": lambda s: s[:-1] + b"\xe9",
    "no UTF-8": lambda s: s[:-2] + b"\xff\xfe",
    "overlong UTF-8": lambda s: s[:-2] + b"\xc0\xb0",
    "digits of another script": lambda s: s[:-1] + "٣".encode(),
    "full width": lambda s: "".join(chr(0xFEE0 + c) for c in s).encode(),
    "NUL cuts it": lambda s: s[:-1] + b"\0" + s[-1:],
    "only NUL": lambda s: b"\0" * 64,
    "format": lambda s: b"%s%n%x" * 8,
    "8 KiB": lambda s: s * 128,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_that_is_not_the_right_one(farm, name):
    fields = headers(farm)
    wrong = SIGNATURES[name](fields[b"X-Signature"])
    assert wrong != fields[b"X-Signature"]
    refused(farm, "GET", TARGET, fields | {b"X-Signature": wrong})


def test_nobody_can_sign_one_digit_at_a_time(farm):
    """However much of it is right: the answers are the same to the byte."""
    fields = headers(farm)
    right, said = fields[b"X-Signature"], set()
    for keep in range(0, 64, 7):
        flipped = bytes(b ^ 1 if 0x31 < b < 0x38 else 0x31 + (b == 0x31) for b in right[keep:])
        said.add(json.dumps(refused(farm, "GET", TARGET, fields | {b"X-Signature": right[:keep] + flipped})))
    assert len(said) == 1


@pytest.mark.parametrize("name, method, target, body, as_signed", [
    ("another method", "GET", "/jobs", b"", ("POST", "/jobs", b"")),
    ("HEAD for GET", "HEAD", "/jobs", b"", ("GET", "/jobs", b"")),
    ("method in lower case", "POST", "/keys/validate", b"{}", ("post", "/keys/validate", b"{}")),
    ("another path", "GET", "/jobs", b"", ("GET", "/health", b"")),
    ("without the slash at its end", "GET", "/jobs/", b"", ("GET", "/jobs", b"")),
    ("path in capitals", "GET", "/jobs", b"", ("GET", "/JOBS", b"")),
    ("another query", "GET", "/jobs?limit=2", b"", ("GET", "/jobs?limit=1", b"")),
    ("a query that was not sent", "GET", "/jobs", b"", ("GET", "/jobs?limit=1", b"")),
    ("a query cut short", "GET", "/jobs?limit=10", b"", ("GET", "/jobs?limit=1", b"")),
    ("query in another order", "GET", "/jobs?a=1&limit=1", b"", ("GET", "/jobs?limit=1&a=1", b"")),
    ("query decoded", "GET", "/jobs?limit=%31", b"", ("GET", "/jobs?limit=1", b"")),
    ("another body", "POST", "/execute", b'{"language":"bash","code":"a"}', ("POST", "/execute", b'{"language":"bash","code":"b"}')),
    ("a body with a blank more", "POST", "/execute", b'{"language": "bash"}', ("POST", "/execute", b'{"language":"bash"}')),
    ("a body that says the same", "POST", "/execute", b'{"a":1,"b":2}', ("POST", "/execute", b'{"b":2,"a":1}')),
    ("a body that was not signed", "POST", "/execute", b'{"language":"bash","code":"a"}', ("POST", "/execute", b"")),
    ("no body where one was signed", "POST", "/execute", b"", ("POST", "/execute", b'{"language":"bash","code":"a"}')),
    ("empty list for an object", "POST", "/keys/validate", b"[]", ("POST", "/keys/validate", b"{}")),
    ("a body of NULs", "POST", "/execute", b"\0\0", ("POST", "/execute", b"")),
    ("a body after a NUL", "POST", "/execute", b"a\0b", ("POST", "/execute", b"a")),
], ids=lambda v: v if isinstance(v, str) and " " in v else "")  # fmt: skip
def test_a_signature_of_something_else(farm, name, method, target, body, as_signed):
    fields = headers(farm, as_signed[0], as_signed[1], as_signed[2])
    answers = exchange(farm, request(method, target, fields, body, framing=b"Content-Length: %d\r\n" % len(body)))
    assert [a[0] for a in answers] == [401], (name, answers)


def test_the_time_is_signed(farm):
    fields = headers(farm)
    later = str(int(fields[b"X-Timestamp"]) + 1).encode()
    refused(farm, "GET", TARGET, fields | {b"X-Timestamp": later})
    refused(farm, "GET", TARGET, fields | {b"X-Timestamp": b"0" + fields[b"X-Timestamp"]})


def test_a_body_that_grows_after_it_was_signed(farm):
    body = b'{"language":"bash","code":"echo 1"}'
    fields = headers(farm, "POST", "/execute/async", body)
    for wrong in (body + b" ", body + b"\n", body[:-1], b"\xef\xbb\xbf" + body, body.replace(b"1", b"2"), body * 2):
        refused(farm, "POST", "/execute/async", fields, body=wrong)
        chunked = b"".join(b"%x\r\n%s\r\n" % (1, wrong[i:i + 1]) for i in range(len(wrong))) + b"0\r\n\r\n"
        refused(farm, "POST", "/execute/async", fields, body=chunked, framing=b"Transfer-Encoding: chunked\r\n")


def test_chunks_and_100_continue_are_signed_as_the_bytes_they_carry(farm):
    body = b"{ }"
    fields = headers(farm, "POST", "/keys/validate", body)
    pieces = b"1\r\n{\r\n1;x=y\r\n \r\n1\r\n}\r\n0\r\nX-Signature: zz\r\n\r\n"
    status, said = ask(farm, "POST", "/keys/validate", fields, body=pieces, framing=b"Transfer-Encoding: chunked\r\n")
    assert status == 200 and said["valid"] is True
    refused(farm, "POST", "/keys/validate", fields, body=pieces.replace(b" ", b"\t"), framing=b"Transfer-Encoding: chunked\r\n")
    without = {k: v for k, v in fields.items() if k != b"X-Signature"}
    late = b"3\r\n{ }\r\n0\r\nX-Signature: " + fields[b"X-Signature"] + b"\r\n\r\n"
    refused(farm, "POST", "/keys/validate", without, body=late, framing=b"Transfer-Encoding: chunked\r\n")
    expect = b"Expect: 100-continue\r\nContent-Length: 3\r\n"
    for sent, last in ((body, 200), (b"{\t}", 401)):
        answers = exchange(farm, request("POST", "/keys/validate", fields, sent, framing=expect))
        assert [a[0] for a in answers] == [100, last]


# ---- the clock ----------------------------------------------------------------

NOW_IS = {
    "an hour ago": lambda now: now - 3600, "just too late": lambda now: now - 306, "too early": lambda now: now + 306,
    "the epoch": lambda now: 0, "the end of 32 bits": lambda now: 2**31 - 1, "999999999999": lambda now: 10**12 - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", NOW_IS)
def test_a_request_of_another_time_is_refused_though_signed(farm, name):
    fields = headers(farm, now=NOW_IS[name](int(time.time())))
    said = refused(farm, "GET", TARGET, fields, code="TIMESTAMP_EXPIRED")
    assert said["message"] == "Request timestamp expired"


TIMES = {
    "empty": b"", "negative": b"-%d", "plus": b"+%d", "fraction": b"%d.0", "milliseconds": b"%d000", "exponent": b"1e9",
    "hexadecimal": b"0x6a000000", "blank inside": b"1 %d", "two": b"%d, %d", "tab": b"%d\t", "text": b"now", "date": b"2026-01-01T00:00:00Z",
    "2^63": b"9223372036854775808", "2^64": b"18446744073709551616", "4 KiB of digits": b"1" * 4096, "of another script": "١٢٣٤٥٦٧٨٩٠".encode(),
    "no UTF-8": b"\xff%d", "control": b"%d\x01", "format": b"%%s%%n",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_is_no_plain_number_is_refused_though_signed(farm, name):
    pattern, now = TIMES[name], int(time.time())
    text = pattern.replace(b"%d", str(now).encode()).replace(b"%%", b"%")
    fields = headers(farm) | {b"X-Timestamp": text, b"X-Signature": mac(SECRET, text + b":GET:/jobs:")}
    said = refused(farm, "GET", TARGET, fields)
    assert "timestamp" not in json.dumps(said), "clients take that word for a clock that is off"


def test_a_replay_is_accepted_in_the_window_and_refused_after_it(farm):
    """docs/api.md: five minutes. What must not happen twice has an Idempotency-Key, or the window over it."""
    fields = headers(farm, now=time.time() - 295)
    assert [ask(farm, "GET", TARGET, fields)[0] for _ in range(2)] == [200, 200]
    refused(farm, "GET", TARGET, headers(farm, now=time.time() - 301), code="TIMESTAMP_EXPIRED")


def test_a_replay_from_within_the_window_is_refused_once_it_is_over():
    """The same bytes, with a window of four seconds: good, and good, and then no more."""
    with Farm(daemons=("gateway",), conf={"gateway": {"clock_skew_seconds": 4}}) as farm:
        wait_for("it to answer", lambda: serves(farm))
        data = request("GET", TARGET, headers(farm))
        begun = time.time()
        assert exchange(farm, data)[0][0] == 200
        wait_for("the replay to be refused", lambda: exchange(farm, data)[0][0] == 401, 15, 0.1)
        assert time.time() - begun > 3 and b"TIMESTAMP_EXPIRED" in exchange(farm, data)[0][2]


def serves(farm):
    with contextlib.suppress(OSError, IndexError):
        return exchange(farm, request("GET", TARGET, headers(farm)))[0][0] == 200


# ---- the key ------------------------------------------------------------------

BEARERS = {
    "nothing": b"", "the word": b"Bearer", "an empty one": b"Bearer ", "blanks": b"Bearer     ", "no word": PUBLIC.encode(),
    "another word": b"Basic " + PUBLIC.encode(), "glued": b"Bearer" + PUBLIC.encode(), "a tab": b"Bearer\t" + PUBLIC.encode(),
    "two keys": b"Bearer " + PUBLIC.encode() * 2, "two words": b"Bearer %s %s" % (PUBLIC.encode(), PUBLIC.encode()),
    "a comma": b"Bearer " + PUBLIC.encode() + b", Bearer x", "quotes": b'Bearer "' + PUBLIC.encode() + b'"',
    "capitals": b"Bearer " + PUBLIC.upper().encode(), "one letter less": b"Bearer " + PUBLIC.encode()[:-1],
    "a pattern": b"Bearer unsb-pk-*", "a colon": b"Bearer unsb-pk-a:jobs", "a path": b"Bearer unsb-pk-../../etc", "a percent": b"Bearer unsb-pk-%2e",
    "braces": b"Bearer unsb-pk-{unfarm}", "a quote and Lua": b"Bearer unsb-pk-'..redis.call('FLUSHALL')..'",
    "CRLF in it": b"Bearer unsb-pk-a%0d%0aDEL", "control": b"Bearer unsb-pk-\x01\x02", "no UTF-8": b"Bearer unsb-pk-\xff\xfe",
    "accent": "Bearer unsb-pk-é".encode(), "look-alike": PUBLIC.replace("p", "р").join(("Bearer ", "")).encode(),
    "NUL cuts it": b"Bearer " + PUBLIC.encode()[:-1] + b"\0" + PUBLIC.encode()[-1:], "4 KiB": b"Bearer unsb-pk-" + b"a" * 4096, "the secret": b"Bearer " + SECRET.encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", BEARERS)
def test_a_key_that_is_none(farm, name):
    said = refused(farm, "GET", TARGET, headers(farm) | {b"Authorization": BEARERS[name]})
    if name == "the secret":
        assert "never send the secret" in said["details"]


def test_an_unknown_key_and_a_wrong_signature_get_the_same_answer(farm, other):
    """Nobody learns which keys there are."""
    unknown = ("unsb-pk-ffff-ffff-ffff-ffff", SECRET)
    wrong = (other[0], SECRET)
    for method, target in (("GET", "/jobs"), ("GET", "/jobs/job_1"), ("POST", "/keys/validate"), ("POST", "/execute")):
        one = exchange(farm, request(method, target, headers(farm, method, target, key=unknown)))
        two = exchange(farm, request(method, target, headers(farm, method, target, key=wrong)))
        for answer in (one, two):
            assert len(answer) == 1 and answer[0][0] == 401 and answer[0][1].pop(b"date")
        assert one == two


def test_keys_that_are_swapped(farm, other):
    mine = (PUBLIC, SECRET)
    for key in ((mine[0], other[1]), (other[0], mine[1]), (other[0], other[0]), (mine[0], ""), (mine[0], mine[1][:-1]), (mine[0], mine[1] + " ")):
        refused(farm, "GET", TARGET, headers(farm, key=key))
    refused(farm, "GET", TARGET, headers(farm) | {b"Authorization": b"Bearer " + other[0].encode()})


@pytest.mark.parametrize("missing", [c for n in (1, 2, 3) for c in itertools.combinations(
    (b"Authorization", b"X-Timestamp", b"X-Signature"), n)], ids=lambda c: b" ".join(c).decode())
def test_parts_that_are_missing(farm, missing):
    fields = {k: v for k, v in headers(farm).items() if k not in missing}
    assert "must be signed" in refused(farm, "GET", TARGET, fields)["details"]


@pytest.mark.parametrize("name", [b"Authorization", b"X-Timestamp", b"X-Signature"])
def test_a_header_that_is_there_twice(farm, other, name):
    """The right one first, last, or both times: which is meant is not guessed."""
    mine, theirs = headers(farm), headers(farm, key=other)
    rest = [(k, v) for k, v in mine.items() if k != name]
    for pair in ((mine[name], theirs[name]), (theirs[name], mine[name]), (mine[name], mine[name]), (mine[name], b""), (b"", mine[name])):
        for second in (name, name.lower(), name.upper()):
            said = refused(farm, "GET", TARGET, [(name, pair[0]), *rest, (second, pair[1])])
            assert "sent twice" in said["details"]


@pytest.mark.parametrize("name", [b"Authorization", b"X-Timestamp", b"X-Signature"])
def test_a_header_that_is_nearly_there(farm, name):
    """A blank before the colon, a line that goes on, a name that looks the same."""
    good = headers(farm)
    plain = request("GET", TARGET, good)
    value = good[name]
    for crooked in (name + b" : " + value, name + b":\r\n " + value, b" " + name + b": " + value, name + b"\x01: " + value,
                    name.replace(b"-", b"_").replace(b"t", b"\xd1\x82", 1) + b": " + value, b"X-Other: a\r" + name + b": " + value):
        answers = exchange(farm, plain.replace(name + b": " + value, crooked))
        assert [a[0] for a in answers] in ([401], [400]), (crooked, answers)


# ---- sizes and shapes -----------------------------------------------------------


@pytest.mark.parametrize("size", [16 << 10, 64 << 10, 1 << 20])
@pytest.mark.parametrize("where", ["Authorization", "X-Timestamp", "X-Signature", "a header", "a name", "many", "target"])
def test_what_is_too_large(farm, where, size):
    fields, target = headers(farm), TARGET
    junk = b"marker" * (size // 6)
    if where == "target":
        target = TARGET + "?" + junk.decode()
    elif where == "many":
        fields = list(fields.items()) + [(b"X-%d" % i, b"marker") for i in range(size // 12)]
    elif where == "a name":
        fields[junk] = b"x"
    else:
        fields[b"X-Marker" if where == "a header" else where.encode()] = junk
    by_library(farm, request("GET", target, fields), 431, 414, 400)


NOT_HTTP = {
    "bytes": bytes(range(128, 256)) * 4 + b"\r\n\r\n", "NULs for a method": b"\0" * 64 + b" /marker HTTP/1.1\r\nConnection: close\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"marker" * 30 + b"\r\n\r\n", "no version": b"GET /jobs\r\n\r\n",
    "HTTP/9.9": b"GET /jobs HTTP/9.9\r\nHost: marker\r\n\r\n", "no colon": b"GET /jobs HTTP/1.1\r\nHost: x\r\nmarker\r\n\r\n",
    "a NUL in a name": b"GET /jobs HTTP/1.1\r\nHost: x\r\nX-\0marker: y\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "Redis": b"*1\r\n$8\r\nFLUSHALL\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http(farm, name):
    answers = exchange(farm, NOT_HTTP[name])
    assert all(status in (400, 401, 404, 405, 408, 505) for status, _, _ in answers), answers
    assert not any(b"marker" in body for status, _, body in answers if status != 404)  # which names the path


LENGTHS = {
    "both": (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
    "both, the other way": (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
    "two lengths, short first": (b"Content-Length: 3\r\nContent-Length: 40\r\n", 400),
    "two lengths, long first": (b"Content-Length: 40\r\nContent-Length: 3\r\n", 400),
    "two lengths, equal": (b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
    "identity": (b"Transfer-Encoding: identity\r\n", 400), "gzip": (b"Transfer-Encoding: gzip\r\n", 400),
    "chunked, then more": (b"Transfer-Encoding: chunked, identity\r\n", 400), "nearly chunked": (b"Transfer-Encoding: xchunked\r\n", 400),
    "chunked and a tab": (b"Transfer-Encoding: chunked\x0b\r\n", 400), "a coding and no name": (b"Transfer-Encoding:\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", LENGTHS)
def test_a_body_whose_end_is_said_in_two_ways(farm, name):
    """What follows is never taken for a request: a proxy in front may have seen another end."""
    framing, status = LENGTHS[name]
    fields = headers(farm, "POST", "/keys/validate", b"{ }")
    hidden = request("GET", "/health", {})
    for body in (b"{ }", b"3\r\n{ }\r\n0\r\n\r\n"):
        answers = exchange(farm, request("POST", "/keys/validate", fields, body, framing=framing, close=False) + hidden)
        assert [a[0] for a in answers] == [status], answers
        assert answers[0][1][b"connection"] == b"close" and json.loads(answers[0][2])["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("length", [b"+3", b"-3", b"0x3", b"3 ", b"3, 3", b"3x", b"", b"3.0", b"99999999999999999999", "٣".encode()])
def test_a_length_that_is_none(farm, length):
    fields = headers(farm, "POST", "/keys/validate", b"{ }")
    hidden = request("GET", "/health", {})
    data = request("POST", "/keys/validate", fields, b"{ }", framing=b"Content-Length: " + length + b"\r\n", close=False) + hidden
    answers = exchange(farm, data)
    assert answers and answers[0][0] in (400, 413) and not any(a[0] == 200 or b'"ok"' in a[2] for a in answers), answers


@pytest.mark.parametrize("size", [b"0x3", b"-3", b"+3", b"3 ", b" 3", b"g", b"", b"ffffffffffffffff3", b"3\0"])
def test_a_chunk_whose_size_is_none(farm, size):
    fields = headers(farm, "POST", "/keys/validate", b"{ }")
    data = request("POST", "/keys/validate", fields, size + b"\r\n{ }\r\n0\r\n\r\n", framing=b"Transfer-Encoding: chunked\r\n", close=False)
    answers = exchange(farm, data + request("GET", "/health", {}))
    assert answers and answers[0][0] in (400, 413) and not any(a[0] == 200 for a in answers), answers


def test_a_second_request_in_the_same_breath_is_looked_at_by_itself(farm):
    """Pipelined: the first one's signature is worth nothing for the next."""
    good, bare = request("GET", TARGET, headers(farm), close=False), request("GET", TARGET, {})
    assert [a[0] for a in exchange(farm, good + bare)] == [200, 401]
    body = b'{"language":"bash","code":"echo 1"}'
    signed = request("POST", "/keys/validate", headers(farm, "POST", "/keys/validate", b"{}"), b"{}", close=False)
    unsigned = request("POST", "/execute/async", {}, body)
    assert [a[0] for a in exchange(farm, signed + unsigned)] == [200, 401]
    assert [a[0] for a in exchange(farm, request("GET", TARGET, {}, close=False) + good + bare)] == [401, 200, 401]
    inside = request("POST", "/execute", headers(farm, "POST", "/execute", b"x"), bare)
    assert [a[0] for a in exchange(farm, inside)] == [401], "a body is not a request"


def test_where_a_proxy_would_have_taken_the_key_does_not_count(farm):
    """Keys in the query, in cookies or in headers of proxies."""
    fields = headers(farm)
    query = "&".join(f"{k.decode()}={v.decode().replace(' ', '+')}" for k, v in fields.items())
    refused(farm, "GET", TARGET + "?" + query, {})
    refused(farm, "GET", TARGET, {b"Cookie": query.replace("&", "; ").encode()})
    refused(farm, "GET", TARGET, {b"X-Forwarded-" + k: v for k, v in fields.items()} | {b"X-Forwarded-For": b"127.0.0.1"})
    basic = b"Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode())
    refused(farm, "GET", TARGET, fields | {b"Authorization": basic})


# ---- how it is compared ---------------------------------------------------------

SECRETS = re.compile(r"\b(secret|sig|signature|expected|mac|tag|key\[|master)\b")
COMPARES = re.compile(r"\b(?:mem|bcmp|str|strn|strcase|strncase|strcoll|wmem)(?:cmp)?(?<=cmp)\s*\(((?:[^()]|\([^()]*\))*)\)")


def test_secrets_are_compared_in_constant_time():
    """In the source: one function compares signatures, whole, and nothing else compares a secret."""
    seen = 0
    for path in (*sorted((ROOT / "gateway").glob("*.[ch]")), *sorted((ROOT / "common").glob("*.[ch]"))):
        text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", "", path.read_text(), flags=re.S)
        for match in COMPARES.finditer(text):
            if match.start() >= 7 and text[match.start() - 7:match.start()] == "CRYPTO_":
                continue
            seen += 1
            assert not SECRETS.search(match.group(1)), f"{path.name}: {match.group(0)}"
    assert seen > 20, "the pattern finds none of the other comparisons"
    text = (ROOT / "common/secret.c").read_text()
    body = re.search(r"^secret_sig_equal\(.*?\n\{\n(.*?)^\}", text, re.M | re.S).group(1)
    assert re.sub(r"\s+", " ", body).strip() == (
        "size_t n = strlen(expected); return strlen(sig) == n && CRYPTO_memcmp(sig, expected, n) == 0;")
    calls = [p.name for p in (ROOT / "gateway").glob("*.c") if "secret_sig_equal(" in p.read_text()]
    fits = re.search(r"^signature_fits\(.*?\n\{\n(.*?)^\}", (ROOT / "gateway/signature.c").read_text(), re.M | re.S).group(1)
    assert calls == ["signature.c"] and "fits |= " in fits and fits.count("return") == 1, "all candidates, always"
