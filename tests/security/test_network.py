"""A job has a loopback interface of its own and no way to anything else."""

import contextlib
import os
import socket
import threading
import uuid

import pytest
from attack import probe


@pytest.fixture
def listeners(tmp_path):
    """On the host: TCP, TCP6, UDP, a socket by path and an abstract one; counts who comes."""
    name = f"unfarm-{uuid.uuid4().hex}"
    reached = []
    sockets = {
        "tcp": (socket.socket(), ("127.0.0.1", 0)),
        "any": (socket.socket(), ("0.0.0.0", 0)),
        "udp": (socket.socket(type=socket.SOCK_DGRAM), ("127.0.0.1", 0)),
        "abstract": (socket.socket(socket.AF_UNIX), "\0" + name),
        "path": (socket.socket(socket.AF_UNIX), f"/tmp/{name}"),
    }
    with contextlib.suppress(OSError):
        sockets["tcp6"] = (socket.socket(socket.AF_INET6), ("::1", 0))
    for kind, (s, address) in sockets.items():
        s.bind(address)
        if kind != "udp":
            s.listen()
        s.settimeout(0.05)
    stop = threading.Event()

    def watch(kind, s):
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                reached.append((kind, s.recv(10) if kind == "udp" else s.accept()[1]))

    threads = [threading.Thread(target=watch, args=(kind, s)) for kind, (s, _) in sockets.items()]
    for t in threads:
        t.start()
    os.chmod(f"/tmp/{name}", 0o777)
    ports = {k: s.getsockname()[1] for k, (s, a) in sockets.items() if k not in ("abstract", "path")}
    yield {"name": name, "ports": ports, "reached": reached}
    stop.set()
    for t in threads:
        t.join()
    for s, _ in sockets.values():
        s.close()
    os.unlink(f"/tmp/{name}")


def test_there_is_only_a_loopback_interface_and_no_route(farm):
    found = probe(farm, '''
config = fcntl.ioctl(socket.socket(2, 2), 0x8912, struct.pack("iP", 4096, mem := ctypes.addressof(room := ctypes.create_string_buffer(4096))))
used = struct.unpack("i", config[:4])[0]
found["names"] = [room.raw[i : i + 16].rstrip(b"\\0").decode() for i in range(0, used, 40)]
found["dev"] = [line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]]
found["route"] = read("/proc/net/route").splitlines()[1:]
found["route6"] = sorted({line.split()[-1] for line in read("/proc/net/ipv6_route").splitlines()}) if os.path.exists("/proc/net/ipv6_route") else ["lo"]
found["arp"] = read("/proc/net/arp").splitlines()[1:]
found["tcp"] = read("/proc/net/tcp").splitlines()[1:]
found["unix"] = read("/proc/net/unix").splitlines()[1:]
attempt("up", lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"eth0", 1)).hex())
attempt("address", lambda: fcntl.ioctl(socket.socket(), 0x8916, struct.pack("16sHH4s8x", b"lo", 2, 0, bytes([10, 0, 0, 1]))).hex())
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
attempt("vsock", lambda: os.open("/dev/vsock", os.O_RDWR))
''')
    assert found["names"] == found["dev"] == ["lo"]
    assert found["route"] == found["arp"] == found["tcp"] == []
    assert found["route6"] == ["lo"] and len(found["unix"]) <= 1  # the control socket of init
    assert found["up"] in ("EPERM", "ENODEV") and found["address"] == "EPERM"
    assert found["tun"] == found["vsock"] == "ENOENT"


def test_services_of_the_host_cannot_be_reached(farm, listeners):
    """By every address of the host; datagrams and connections of UDP send nothing by themselves."""
    ports = {**listeners["ports"], "gateway": farm.port}
    try:
        mine = sorted({i[4][0] for i in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1"})
    except socket.gaierror:
        mine = []  # a host that does not know its own name
    found = probe(farm, f"ports = {ports!r}\nmine = {mine!r}\nname = {listeners['name']!r}\nredis = {str(farm.dir)!r} + '/run/redis.sock'\n" + '''
def tcp(address, port):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(1); s.connect((address, port))
for kind, port in ports.items():
    for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"):
        attempt(f"{kind} {address}", lambda: tcp(address, port))
for address in ("169.254.169.254", "10.0.0.1", "172.17.0.1", "192.168.0.1", "192.0.2.1", "255.255.255.255", "224.0.0.1",
                "fe80::1", "fd00:ec2::254", "2001:db8::1", "::ffff:169.254.169.254", *mine):
    def look():
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((address, 9))  # asks for a route, sends nothing
        return s.getsockname()[0]
    attempt("route " + address, look)
attempt("udp send", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", ports["udp"])))
attempt("abstract", lambda: socket.socket(1).connect("\\0" + name))
attempt("path", lambda: socket.socket(1).connect("/tmp/" + name))
attempt("redis", lambda: socket.socket(1).connect(redis))
attempt("resolve", lambda: socket.gethostbyname("localhost"))
try: found["dns"] = socket.gethostbyname("example.invalid")
except OSError: found["dns"] = "no"
''')
    for name, value in found.items():
        kind = name.split()[0]
        if kind in ports and name != "udp send":
            assert value in ("ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"), (name, value)
        elif kind == "route":
            assert value in ("ENETUNREACH", "EACCES", "EINVAL", "EADDRNOTAVAIL"), (name, value)
    assert found["abstract"] == "ECONNREFUSED" and found["path"] == found["redis"] == "ENOENT"
    assert found["resolve"] == "127.0.0.1" and found["dns"] == "no"
    assert listeners["reached"] == []


def test_two_jobs_cannot_talk(farm):
    """One listens in every way it can, the other tries each."""
    name = uuid.uuid4().hex
    server = farm.submit("python", f'''
import socket, time
keep = []
for family, kind, address in ((2, 1, ("0.0.0.0", 5555)), (10, 1, ("::", 5556)), (1, 1, "\\0{name}"), (1, 1, "/tmp/{name}"), (2, 2, ("127.0.0.1", 5557))):
    s = socket.socket(family, kind); s.bind(address); keep.append(s)
    if kind == 1: s.listen()
s.settimeout(3)
try: print("GOT", s.recv(10))
except TimeoutError: print("nothing")
''', ttl=10)
    for _ in range(3):
        found = probe(farm, f"name = {name!r}\n" + '''
attempt("tcp", lambda: socket.socket().connect(("127.0.0.1", 5555)))
attempt("tcp6", lambda: socket.socket(10).connect(("::1", 5556)))
attempt("abstract", lambda: socket.socket(1).connect("\\0" + name))
attempt("path", lambda: socket.socket(1).connect("/tmp/" + name))
attempt("multicast", lambda: socket.socket(type=2).sendto(b"x", ("224.0.0.1", 5557)))
attempt("udp", lambda: socket.socket(type=2).sendto(b"x", ("127.0.0.1", 5557)))
''')
        assert found["tcp"] == found["abstract"] == "ECONNREFUSED" and found["path"] == "ENOENT"
        assert found["tcp6"] in ("ECONNREFUSED", "EADDRNOTAVAIL") and found["multicast"] == "ENETUNREACH"
    assert farm.wait_job(server)["stdout"] == "nothing\n"


def test_its_own_loopback_works(farm):
    found = probe(farm, '''
s = socket.socket(); s.bind(("127.0.0.1", 80)); s.listen()
c = socket.create_connection(("localhost", 80)); d, _ = s.accept(); c.send(b"hello"); found["got"] = d.recv(10).decode()
''')
    assert found["got"] == "hello"


# Without the kernel's own addresses and sockets, what it counts of all namespaces and what it has loaded.
# A while after it began: what a program leaves may be a timer.
SEEN = """import os, re, time
time.sleep(0.1)
print(os.readlink("/proc/self/ns/net"))
for name in sorted(os.listdir("/proc/self/net")):
  path = "/proc/self/net/" + name
  if os.path.isfile(path) and "_tables_" not in name and name not in ("netlink", "protocols", "sockstat", "softnet_stat", "ptype", "psched"):
    try: print(name, re.sub(r"\\b[0-9a-f]{16}\\b", "", open(path).read()))
    except OSError: print(name, "")
for line in open("/proc/self/net/sockstat"): print(re.findall("(\\\\w+:|used \\\\d+|inuse \\\\d+|tw \\\\d+)", line))
"""

# What a program might leave to the next one that is given its network namespace.
LEFT = {
    "a closed connection": "s = socket.socket(); s.bind(('127.0.0.1', 5555)); s.listen(); c = socket.create_connection(('127.0.0.1', 5555)); d, _ = s.accept(); c.close(); d.close()",
    "a connection over IPv6": "s = socket.socket(10); s.bind(('::1', 5555)); s.listen(); c = socket.create_connection(('::1', 5555)); d, _ = s.accept(); c.close(); d.close()",
    "a refused connection": "socket.socket().connect_ex(('127.0.0.1', 5555))",
    "a packet": "socket.socket(type=2).sendto(b'x', ('127.0.0.1', 5555))",
    "a packet without a way": "try: socket.socket(type=2).sendto(b'x', ('192.0.2.1', 5555))\nexcept OSError: pass",
    "a membership": "import os; s = socket.socket(type=2); s.setsockopt(0, 35, socket.inet_aton('224.1.2.3') + socket.inet_aton('127.0.0.1')); os._exit(0)",
    "a membership over IPv6": "import os; s = socket.socket(10, 2); s.setsockopt(41, 20, socket.inet_pton(10, 'ff02::1234') + (1).to_bytes(4, 'little')); os._exit(0)",
    "a label of flows": "s = socket.socket(10, 2); import struct\ntry: s.setsockopt(41, 32, socket.inet_pton(10, '::1') + struct.pack('>I', 0x12345) + struct.pack('=BBHHHI', 0, 255, 3, 60, 60, 0))\nexcept OSError: pass",
    "names that are taken": "keep = [socket.socket(1), socket.socket(), socket.socket(type=2)]\nkeep[0].bind('\\0name'); keep[0].listen(); keep[1].bind(('0.0.0.0', 80)); keep[1].listen(); keep[2].bind(('0.0.0.0', 80))",
    "sockets on their way": "import array\na, b = socket.socketpair(); n = socket.socket(1); n.bind('\\0other'); n.listen()\na.sendmsg([b'x'], [(1, 1, array.array('i', [a.fileno(), b.fileno(), n.fileno()]))])",
}


@pytest.fixture(scope="module")
def untouched(few_nests):
    """What the tables say where nothing happened; nests are used again."""
    seen = [few_nests.run("python", SEEN)["stdout"].split("\n", 1) for _ in range(12)]
    assert len({tables for _, tables in seen}) == 1, "every table reads the same"
    assert len({namespace for namespace, _ in seen}) < 6, "a namespace is used again"
    return seen[0][1]


@pytest.mark.parametrize("what", LEFT)
def test_nothing_is_met_in_a_network_that_was_used_before(few_nests, untouched, what):
    """Every nest sees the offender, and then a job that looks around: there are about three, taken by chance."""
    for _ in range(6):
        done = few_nests.run("python", "import socket\n" + LEFT[what])
        assert done["exit_code"] == 0, done["stderr"]
    for _ in range(6):
        tables = few_nests.run("python", SEEN)["stdout"].split("\n", 1)[1]
        assert sorted(set(tables.split("\n")) ^ set(untouched.split("\n"))) == []
