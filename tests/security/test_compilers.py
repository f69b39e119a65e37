"""Compilers that are attacked, and programs that are executed while others are written."""

import os

import pytest
from attack import artifacts, build, input_file, run_all

MB = 1 << 20
ROUNDS = 1000 if os.environ.get("SOAK") else 12
TEXT = "int main(void){return 0;}"


def chain(n, base, step):
    """Each line four times the one before."""
    return f"#define X0 {base}\n" + "".join(f"#define X{i} {step.format(f'X{i - 1}')}\n" for i in range(1, n))


COMPILE_SECONDS = 8  # conftest.py
BOMBS = {  # name: (language, code, words that the compiler says, reasons)
    "macros": ("c", chain(24, "1+", "{0} {0} {0} {0}") + "int main(void){return X23 0;}", "", {"memory", "timeout"}),
    "strings of macros": ("c", chain(20, '"aaaaaaaa"', "{0} {0} {0} {0}") + "char *s = X19; int main(void){}", "", {"memory", "timeout"}),
    "brackets": ("c", "int main(void){return " + "(" * 500000 + "1" + ")" * 500000 + ";}", "", {"memory", "timeout", "signaled", "exited"}),
    "a huge array": ("c", "char a[1ull<<46]={1};" + TEXT, "", {"exited", "memory", "signaled"}),
    "a large array": ("c", "int a[1<<28]={1};" + TEXT, "", {"exited", "memory", "signaled"}),
    "an array that is far apart": ("c", "char a[1<<30] __attribute__((aligned(1<<28)))={1};" + TEXT, "", {"exited", "memory", "signaled"}),
    "the assembler repeats": ("c", '__asm__(".rept 2000000000\\n.quad 1\\n.endr");' + TEXT, "", {"memory", "timeout", "exited", "signaled"}),
    "the assembler's macros": ("c", '__asm__(".macro m\\nm\\nm\\n.endm\\nm\\n");' + TEXT, "", {"memory", "exited", "signaled", "timeout"}),
    "the assembler goes far": ("c", '__asm__(".org 0x7fffffffff");' + TEXT, "", {"exited", "memory", "signaled"}),
    "the assembler reads for ever": ("c", '__asm__(".incbin \\"/dev/zero\\"");' + TEXT, "", {"exited", "memory", "timeout", "signaled"}),
    "a terminal that says nothing": ("c", '#include "/dev/ptmx"\n' + TEXT, "", {"timeout"}),
    "itself, twice": ("cpp", '#include __FILE__\n#include __FILE__\nint main(){}', "", {"exited", "memory", "timeout"}),
    "templates that nest": ("cpp", "template<int N> struct F { static const int v = F<N + 1>::v; };\nint main(){return F<0>::v;}", "", {"exited", "memory", "timeout"}),
    "templates that double": ("cpp", "template<int N, int M> struct F { static const int v = F<N - 1, 2 * M>::v + F<N - 1, 2 * M + 1>::v; };\n"
                              "template<int M> struct F<0, M> { static const int v = 1; };\nint main(){return F<40, 0>::v;}", "", {"memory", "timeout"}),
    "types that double": ("cpp", "template<class A, class B> struct P { A a; B b; };\n" + "typedef P<int, int> T0;\n"
                          + "".join(f"typedef P<T{i}, T{i}> T{i + 1};\n" for i in range(60)) + "T60 x;\nint main(){return sizeof x;}", "", {"memory", "timeout"}),
    "constants that are computed": ("cpp", "constexpr int f(int n) { int s = 0; while (true) s ^= n++ & 1; return s; }\nconstexpr int x = f(0);\nint main(){return x;}", "", {"exited", "timeout"}),
}


def test_no_source_is_too_much(farm):
    """Memory of the compiler stays below the job's, its time below the record's, nothing of it is run, and it says nothing without end."""
    options = {"memory_mb": 112, "ttl": 5}
    jobs = [(language, code, options) for language, code, _, _ in BOMBS.values()]
    for (name, (_, code, words, reasons)), r in zip(BOMBS.items(), run_all(farm, jobs), strict=True):
        c = r["compile"]
        assert c["end_reason"] in reasons and c["exit_code"] != 0 and "run" not in r, (name, r)
        assert c["memory_bytes"] <= 112 * MB and c["wall_ms"] < COMPILE_SECONDS * 1000 + 500, (name, r)
        if c["end_reason"] == "timeout":
            assert c["wall_ms"] >= COMPILE_SECONDS * 1000 and c["exit_code"] == 124, (name, r)
        assert len(r["stderr"]) <= 2 * MB and words in r["stderr"], (name, r["stderr"][:3000])


ENDLESS = ("/dev/random", "/dev/urandom", "/dev/zero", "/dev/full")
REFUSED = ("/proc/1/mem", "/proc/1/environ", "/proc/1/maps", "/proc/1/root/etc/shadow", "/proc/1/fd/3", "/proc/self/fd/1",
           "/proc/self/root/root/.ssh/id_rsa", "/proc/self/root/var/lib/unfarm/master.key")
EMPTY = ("/proc/kcore", "/proc/kmsg", "/proc/kallsyms", "/proc/keys", "/proc/sysrq-trigger", "/proc/cmdline")  # masked, or not there
OWN = ("/proc/self/mem", "/proc/self/pagemap", "/proc/self/environ")  # the compiler's own, read from where nothing is


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_what_a_compiler_is_told_to_include(farm, language):
    paths = [*ENDLESS[:4 if language == "c" else 1], *REFUSED, *EMPTY, *OWN]
    jobs = [(language, f'#include "{path}"\nint main(void){{return 7;}}', {"memory_mb": 112, "ttl": 5}) for path in paths]
    for path, r in zip(paths, run_all(farm, jobs), strict=True):
        c = r["compile"]
        assert c["memory_bytes"] <= 112 * MB and c["end_reason"] in ("exited", "memory"), (path, r)
        if path in ENDLESS:
            assert c["exit_code"] != 0 and "run" not in r, (path, r)
        elif path in REFUSED:
            assert c["exit_code"] == 1 and ("No such file" in r["stderr"] or "ermission denied" in r["stderr"]), (path, r)
        else:  # nothing in it, or not there; never the host's
            assert c["exit_code"] == 0 and r["exit_code"] == 7 or "No such file" in r["stderr"] or path in OWN, (path, r)


def test_programs_that_are_too_big_to_be_executed(farm):
    """An array beyond all memory: the kernel refuses it, or it is there until it is used."""
    sizes = {"1<<30": "memory", "1ull<<36": None, "1ull<<46": None}
    jobs = [("c", f"#include <string.h>\nstatic char a[{n}];\nint main(int c, char **v){{memset(a,c,sizeof a);return a[c*4096];}}", {"memory_mb": 64, "ttl": 10}) for n in sizes]
    for (n, reason), r in zip(sizes.items(), run_all(farm, jobs), strict=True):
        assert r["exit_code"] != 0 and reason in (None, r["end_reason"]), (n, r)
        assert r["end_reason"] in ("memory", "signaled") or r["compile"]["exit_code"] != 0, (n, r)
        assert r["wall_ms"] < 10000 and r["memory_bytes"] <= 64 * MB, (n, r)


ALSO = '''
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((constructor)) static void first(void)
{
	char line[200];
	FILE *f = fopen("/proc/self/status", "r"), *out = fopen("/tmp/artifacts/log", "a");
	while (f && out && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp", 7) || !strncmp(line, "CapBnd", 6) || !strncmp(line, "CapEff", 6))
			fputs(line, out);
	if (out) fclose(out);
}
'''


def test_the_first_byte_of_a_user_is_behind_every_guard(farm, tmp_path):
    """A library that is loaded before the compiler and before the program: nothing of ours runs in the same process later."""
    (tmp_path / "also.c").write_text(ALSO)
    library = build(tmp_path, tmp_path / "also.c", "-shared", "-fPIC")
    r = farm.run("c", TEXT, env={"LD_PRELOAD": "/tmp/input/also"}, return_artifacts=True,
                 input_files=[input_file("also", library.read_bytes())])
    assert r["end_reason"] == "exited" and r["exit_code"] == 0, r
    rows = [line.split(":\t") for line in artifacts(r)["log"].decode().splitlines()]
    by_name = {name: {value for n, value in rows if n == name} for name, _ in rows}
    assert by_name == {"CapEff": {"00000000000004fb"}, "CapBnd": {"00000000000004fb"}, "NoNewPrivs": {"1"}, "Seccomp": {"2"}, "Seccomp_filters": {"3"}}
    assert len(rows) >= 5 * 3  # the shell, the compiler, the program


def test_a_fresh_program_is_never_busy(farm):
    """64 at a time are written and executed at once.  SOAK=1: a thousand rounds."""
    jobs = [("c", '#include <stdio.h>\nint main(void){puts("ran");return 0;}', {"ttl": 60})] * 6
    jobs += [("twostep", "cp /usr/bin/printf main", {"ttl": 60, "args": ["ran\\n"]})] * 42
    jobs += [("dash", "for i in 1 2 3; do cp /usr/bin/true a$i; ./a$i || exit; done; echo ran", {"ttl": 60})] * 16
    for i in range(ROUNDS):
        for r in run_all(farm, jobs):
            assert r["end_reason"] == "exited" and (r["exit_code"], r["stdout"], r["stderr"]) == (0, "ran\n", ""), (i, r)
