"""Compiled programs that are kept: whose they are, what gets into them, and compilers that work for the attacker."""

import os
import platform
import uuid

import pytest
from attack import input_file, run_all
from farm import PUBLIC, SECRET, wait_for

# The first step of the language "twostep" is the source; this one makes a program that shows what it finds, and a file
# that no other run of this step makes.
SHOWS = r"""printf '#!/bin/sh
find . -type d -printf "%%M %%U %%G %%p\n" -o -printf "%%M %%U %%G %%n %%s %%p %%l\n" | sort
find . -type f -exec md5sum {} + | sort -k 2
' > main; chmod 755 main; cat /proc/sys/kernel/random/uuid > id
"""
INPUTS = {"input_files": [input_file("x", b"x"), input_file("d/y", b"y" * 100000)]}


def fresh(code):
    """Never sent before."""
    return f"{code}\n# {uuid.uuid4()}"


def kept(r):
    assert r["end_reason"] == "exited" and r["compile"]["exit_code"] == 0, r
    return r["compile"].get("cached", False)


def until_kept(farm, language, code, key=(PUBLIC, SECRET), **options):
    """A job that compiles, and the same when that was kept: both results."""
    before = farm.compiled()
    first = farm.post("/execute", {"language": language, "code": code, **options}, key=key).json()
    wait_for("a program that is kept", lambda: farm.compiled() - before)
    again = farm.post("/execute", {"language": language, "code": code, **options}, key=key).json()
    assert (kept(first), kept(again)) == (False, True)
    return first, again


def test_what_one_key_compiled_is_never_anothers(farm):
    code = fresh("printf '#!/bin/sh\ncat id' > main; chmod 755 main; cat /proc/sys/kernel/random/uuid > id")
    keys = [farm.new_key() for _ in range(3)]
    both = [until_kept(farm, "twostep", code, key=key) for key in keys]
    found = [first["stdout"] for first, _ in both]
    assert [again["stdout"] for _, again in both] == found and len(set(found)) == 3
    for key, out in zip(keys, found, strict=True):
        r = farm.post("/execute", {"language": "twostep", "code": code}, key=key).json()
        assert kept(r) and r["stdout"] == out


def test_what_a_program_does_is_not_kept(farm):
    """From its first instruction on, in the first job and in later ones; and what it started in the compiler's step."""
    code = fresh(r"""printf '#!/bin/sh
cat id; ls; cp /usr/bin/env id; echo evil > more; printf "#!/bin/sh\necho evil" > new; chmod 755 new; mv new main; rm -rf *
' > main; chmod 755 main; cat /proc/sys/kernel/random/uuid > id
(trap '' HUP TERM; sleep 0.2; while :; do echo evil > id; echo evil > main; done) >/dev/null 2>&1 &
""")
    first, again = until_kept(farm, "twostep", code)
    assert "evil" not in first["stdout"] and first["stdout"].split()[1:] == ["artifacts", "id", "input", "main", "main.sh"]
    for _ in range(3):
        r = farm.run("twostep", code)
        assert kept(r) and r["stdout"] == again["stdout"]


XATTR = tuple(map(int, platform.release().split("-")[0].split(".")[:2])) >= (6, 6)
NESTED = "/".join("abcdefghij")
HOSTILE = {  # name: (what the compiler does besides, whether it can be kept)
    "nothing": ("", True),
    "folders, modes": ("mkdir -p out/deep empty; echo x > out/deep/x; chmod 640 out/deep/x; chmod 711 id; chmod 700 out", True),
    "names": (r"""touch -- '..x' "$(printf 'a\nb')" '-rf' 'a b' "$(printf '%255s' x | tr ' ' n)" "$(printf '\377')"; mkdir '...'""", True),
    "its own source": ("echo '# more' >> main.sh", True),
    "artifacts": ("echo x > artifacts/a", True),
    "what goes on in the background": ("(while :; do echo x >> grows; done) >/dev/null 2>&1 & sleep 0.05", True),
    "a link": ("ln -s /etc/passwd link", False),
    "a link instead of the program": ("mv main real; ln -s real main", False),
    "a second name": ("ln main other", False),
    "a second name of the source": ("ln main.sh other", False),
    "a FIFO": ("mkfifo fifo", False),
    "a socket": ("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"", False),
    "set-uid": ("chmod 4755 main", False),
    "sticky": ("mkdir d2; chmod 1777 d2", False),
    "an owner": ("chown 5 id", False),
    "a group": ("chgrp 5 id", False),
    "the owner of a folder": ("mkdir d2; chown 5 d2", False),
    "10,000 files": ("seq 10000 | xargs touch", False),
    "300 files": ("seq 300 | xargs touch", False),
    "300 folders": ("seq 300 | xargs mkdir", False),
    "a large file": ("head -c 17000000 /dev/zero > large", False),
    "large files": ("for i in 1 2 3 4 5; do head -c 4000000 /dev/zero > large$i; done", False),
    "a file with holes": ("truncate -s 200M holes", False),
    "deep folders": (f"mkdir -p {NESTED}; touch {NESTED}/x", False),
    "a long path": ("n=$(printf '%200s' x | tr ' ' n); mkdir -p $n/$n/$n; touch $n/$n/$n/x", False),
    "a cache that it does not have": ("mkdir .cache; echo x > .cache/x", False),
    "no source": ("rm main.sh", False),
    "a folder instead of the source": ("rm main.sh; mkdir main.sh", False),
    "no input": ("rm input/x", False),
    "no second name of an input": ("rm x", False),
    "another input": ("echo z > x", False),
    "another input of the same size": ("printf z > x", False),
    "another input under one name": ("rm d/y; head -c 100000 /dev/zero > d/y", False),
    "no folder of artifacts": ("rmdir artifacts", False),
    "a closed folder of artifacts": ("chmod 700 artifacts", False),
    "a file instead of artifacts": ("rmdir artifacts; echo x > artifacts", False),
    "a file in /root": ("echo x > /root/x", False),
    "a file in /dev/shm": ("echo x > /dev/shm/x", False),
    "a folder in /srv": ("mkdir /srv/x", False),
    "a changed file of the system": ("echo x >> /etc/profile", False),
    "a removed file of the system": ("rm /usr/bin/which /usr/bin/w", False),
    "an extended attribute": ("python3 -c \"import os; os.setxattr('id', 'user.x', b'1')\"", not XATTR),
}


@pytest.fixture(scope="module")
def twice(farm):
    """Each compiler's job, a few at a time, and the same again when the first ones had time to be stored."""
    found = {}
    for some in (list(HOSTILE.items())[n:n + 6] for n in range(0, len(HOSTILE), 6)):
        jobs = [("twostep", fresh(SHOWS + more + ("" if XATTR or "xattr" not in more else " || :")), INPUTS) for _, (more, _) in some]
        before = farm.compiled()
        first = run_all(farm, jobs)
        wait_for("those that are kept", lambda: len(farm.compiled() - before) >= sum(can_be for _, (_, can_be) in some))
        until_kept(farm, "twostep", fresh(SHOWS))
        found |= dict(zip(dict(some), zip(first, run_all(farm, jobs), strict=True), strict=True))
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_made_again_is_not_kept(twice, name):
    """A program sees the same files with their modes after a hit, or its compiler runs again."""
    first, again = twice[name]
    assert (kept(first), kept(again)) == (False, HOSTILE[name][1])
    assert (first["stdout"] == again["stdout"]) == kept(again), (first["stdout"], again["stdout"])
    assert first["stdout"].count("\n") > 3 or "main.sh" not in first["stdout"]


def test_the_folder_of_a_farm_under_attack(farm, twice):
    """Plain files of ours under names of ours, and few of them."""
    folder = farm.dir / "data/compiled"
    for path in folder.iterdir():
        st = path.lstat()
        assert path.name in (".total", ".new") or len(path.name) == 80 and set(path.name) <= set("0123456789abcdef")
        assert st.st_mode == 0o100600 and st.st_nlink == 1 and st.st_uid == folder.stat().st_uid != os.getuid()
    assert sum(p.stat().st_size for p in folder.iterdir()) < 512 << 20
