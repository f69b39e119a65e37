"""What scripts/languages makes ahead for compilers and JVMs: it is used where it gives the same, and nothing needs it."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import uuid

import pytest
from farm import ROOT, Farm, wait_for

JAVA = pytest.mark.skipif(not shutil.which("javac"), reason="no Java here")


class Warm(Farm):
    """Its warm files are its own."""

    def _share(self):
        super()._share()
        for old in pathlib.Path("/opt").glob("unfarm-test-*.warm"):  # of killed tests
            if not self.dir.with_name(old.stem).exists():
                shutil.rmtree(old)
        self.warm = pathlib.Path(f"/opt/{self.dir.name}.warm")
        self.warm.mkdir()
        for record in (self.dir / "share/languages.d").iterdir():
            record.write_text(record.read_text().replace("/opt/langs/warm/", f"{self.warm}/"))
        with open(self.dir / "share/sandbox.paths", "a") as f:
            f.write(f"tree {self.warm}\n")

    def stop(self):
        super().stop()
        shutil.rmtree(self.warm, ignore_errors=True)

    def make(self, *words):
        """The installer; what it said."""
        argv = ["/usr/bin/python3", ROOT / "scripts/languages", "warm", "--to", self.warm, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def reload(self):
        """Returns when all sandboxes are new ones."""
        before = self.log("worker").count('msg="reloaded"')
        self.procs["worker"].send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: self.log("worker").count('msg="reloaded"') == before + 1 + len(self.workers()))


def shown(r):
    """What a client sees of a job but for times and memory."""
    steps = {k: r[k].get("output") for k in ("compile",) if k in r and r["success"]}
    r["stderr"] = re.sub(r"/tmp/cc\w+\.o", "OBJECT", r["stderr"])  # the linker's words
    return {k: r[k] for k in ("status", "success", "stdout", "stderr", "exit_code", "end_reason", "artifacts") if k in r} | steps


BODY = """
#include <map>
#include <vector>
struct Base { virtual ~Base() {} };
static Base base;
int main() {
    std::map<int, std::vector<int>> m;
    int n = 0, line = __LINE__, counted = __COUNTER__;
    while (std::cin >> n)
        m[n % 3].push_back(n);
    for (auto &[k, v] : m)
        std::cout << k << ' ' << v.size() << ' ' << line << __FILE__ << counted << std::endl;
    if (m.empty())
        throw std::out_of_range("none");
}
"""
CPP = {
    "iostream": "#include <iostream>\n" + BODY,
    "everything": "#include <bits/stdc++.h>\n#include <iostream>\nusing namespace std;\n" + BODY,
    "no header": 'int main() { std::cout << "x"; printf("%d", 3); }\n',
    "a warning": "#include <iostream>\nint main() { char *p = \"x\"; std::cout << p; return 1 << 40; }\n",
    "an error": "#include <iostream>\nint main() { std::string s; std::cout << std::cout << s + 3; no_such_thing; }\n",
    "an error of the linker": "#include <iostream>\nint other(); int main() { return other(); }\n",
}
JAVA_PROGRAMS = {
    "a program": (ROOT / "tests/langs/java/fib.java").read_text(),
    "an error": (ROOT / "tests/langs/java/broken.java").read_text(),
    "a trace": "public class Main { public static void main(String[] a) { Runnable r = () -> { throw new IllegalStateException(a[0]); }; r.run(); } }",
}
MAPPED = """
public class Main { public static void main(String[] a) throws Exception {
    System.out.println(java.nio.file.Files.readString(java.nio.file.Path.of("/proc/self/maps")).contains("java.jsa")); } }
"""


def cpp(farm, source, **options):
    """Never from the kept programs: the one before it was of another toolchain, or it is new."""
    r = farm.run("cpp", source, stdin="1 2 3 4", return_artifacts=True, **options)
    assert "cached" not in r["compile"], r
    return shown(r)


def java(farm, source):
    return shown(farm.run("java", source, args=["word"]))


@pytest.fixture(scope="module")
def farm():
    names = ["cpp"] + (["java"] if shutil.which("javac") else [])
    with Warm(languages=names, conf={"key": {"rate_per_minute": 100000, "burst": 10000}}) as started:
        started.wait_languages(*names)
        # The slow way first, while nothing is there.
        started.cold = {what: cpp(started, source) for what, source in CPP.items()}
        wait_for("a program that is kept", lambda: "cached" in started.run("cpp", CPP["iostream"])["compile"])
        if "java" in names:
            started.cold_java = {what: java(started, source) for what, source in JAVA_PROGRAMS.items()}
            assert java(started, MAPPED)["stdout"] == "false\n"
        # Those of this machine are as good, if they are as new.
        subprocess.run("cp -a /opt/langs/warm/cpp* . || :", shell=True, cwd=started.warm, stderr=subprocess.DEVNULL, check=True)
        started.make(*names)
        started.reload()
        yield started


def test_made_once_and_for_everybody(farm):
    assert farm.make("cpp") == ""
    if "java" in farm.languages:
        (farm.warm / "java.jsa.key").write_text("of other packages")
        assert farm.make("java") == f"making {farm.warm}/java.jsa\n"
        assert farm.make("java") == ""
    files = [p for p in farm.warm.rglob("*") if p.suffix != ".key"]
    assert {str(p.relative_to(farm.warm)) for p in files} >= {"cpp.sh", "cpp/iostream.gch", "cpp/bits/stdc++.h.gch"}
    for path in files:
        st = path.stat()
        assert st.st_uid == 0 and st.st_mode & 0o777 == (0o755 if path.is_dir() else 0o444), path


def test_no_job_can_change_them(farm):
    """It has a layer of its own above them."""
    def state():
        return {p: (p.stat().st_ino, p.stat().st_size, p.stat().st_ctime_ns) for p in farm.warm.rglob("*")}

    before = state()
    r = farm.run("cpp", f'#include <cstdlib>\nint main() {{ return system("rm -rf {farm.warm}/*; echo > {farm.warm}/cpp.sh"); }}')
    assert r["exit_code"] == 0 and state() == before


# ---- C++ ----


@pytest.mark.parametrize("what", CPP)
def test_a_cpp_program_is_the_same(farm, what):
    """To the byte, and so is what the compiler says.  That it is not from the kept programs shows that a warm file is a part of the toolchain."""
    warm = cpp(farm, CPP[what])
    assert warm == farm.cold[what]
    assert what.startswith("an error") or warm["artifacts"]


@pytest.mark.parametrize("header", ["iostream", "bits/stdc++.h"])
def test_the_compiler_takes_them(farm, header):
    """With the words of the record."""
    record = json.loads((farm.dir / "share/languages.d/cpp.json").read_text())["compile"]
    argv = record[record.index("g++"):] + ["-I", farm.warm / "cpp", "-H", "-fsyntax-only"]
    source = farm.dir / "main.cpp"
    source.write_text(f"#include <{header}>\n")
    done = subprocess.run(argv, cwd=farm.dir, capture_output=True, text=True, check=True)
    assert done.stderr.startswith(f"! {farm.warm}/cpp/{header}.gch\n")


MARKED = "int main() { return marked(); }"
FITS = {
    "first": "#include <iostream>\n",
    "after comments": "// one\n\n/* two */\n/* three\n * four\n */\n  #  include <iostream> // five\n",
}
FITS_NOT = {
    "a header before": "#include <vector>\n#include <iostream>\n",
    "a pragma before": '#pragma GCC optimize("O3")\n#include <iostream>\n',
    "a pragma behind a comment": "/* one */ #pragma GCC optimize(\"O3\") /* two */\n#include <iostream>\n",
    "a pragma behind a long comment": "/* one\n*/ #pragma GCC optimize(\"O3\") // */\n#include <iostream>\n",
    "a comment that goes on": "// one \\\n#include <iostream>\n#pragma GCC optimize(\"O3\")\n#include <iostream>\n",
    "a macro before": "#define VERSION 3\n#include <iostream>\n",
}


@pytest.fixture
def marked(farm):
    """A precompiled header that tells: only with it there is a function marked()."""
    gch = farm.warm / "cpp/iostream.gch"
    kept = gch.with_suffix(".kept")
    os.replace(gch, kept)
    (farm.dir / "marked.h").write_text("#include <iostream>\ninline int marked() { return 7; }\n")

    def make(*flags):
        subprocess.run(["g++", *flags, "-x", "c++-header", "marked.h", "-o", gch], cwd=farm.dir, check=True)

    make("-std=gnu++17", "-O2")
    yield make
    os.replace(kept, gch)


def used(farm, begin="#include <iostream>\n", **options):
    r = farm.run("cpp", f"{begin}{MARKED} // {uuid.uuid4()}", **options)
    assert r["exit_code"] == 7 or r["compile"]["exit_code"] == 1 and "marked" in r["stderr"], r
    return r["exit_code"] == 7


def test_where_a_precompiled_header_is_used(farm, marked):
    assert {what: used(farm, begin) for what, begin in (FITS | FITS_NOT).items()} == dict.fromkeys(FITS, True) | dict.fromkeys(FITS_NOT, False)
    assert not used(farm, env={"CPLUS_INCLUDE_PATH": "/tmp"}), "headers of the job's own may come first"
    own = {"filename": "iostream", "content_base64": base64.b64encode(b"inline int marked() { return 7; }").decode()}
    assert used(farm, env={"CPATH": "/tmp"}, input_files=[own]), "and they do"


def test_a_stale_precompiled_header(farm, marked):
    script = farm.warm / "cpp.sh"
    times = script.stat()
    os.utime(script, ns=(0, pathlib.Path("/usr/include").stat().st_mtime_ns - 1))
    assert not used(farm), "a package of headers came later"
    os.utime(script, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert used(farm)
    gch = farm.warm / "cpp/iostream.gch"
    data = bytearray(gch.read_bytes())
    assert data[:4] == b"gpch"
    data[12] ^= 1  # the sum of the compiler that made it follows the eight letters
    gch.write_bytes(data)
    assert not used(farm), "of another compiler"
    marked("-std=gnu++20", "-O2")
    assert not used(farm), "with other words"
    script.rename(farm.dir / "cpp.sh")
    assert not used(farm), "nothing there"
    shutil.move(farm.dir / "cpp.sh", script)


# ---- Java ----


@JAVA
@pytest.mark.parametrize("what", JAVA_PROGRAMS)
def test_a_java_program_is_the_same(farm, what):
    assert java(farm, JAVA_PROGRAMS[what]) == farm.cold_java[what]


@JAVA
def test_a_stale_archive(farm):
    archive = farm.warm / "java.jsa"
    assert java(farm, MAPPED)["stdout"] == "true\n"
    good = archive.read_bytes()
    version = good.find(b"OpenJDK")
    others = {"of another version": good.replace(good[version:version + 60], b"OpenJDK 64-Bit Server VM (17.0.0+1-Debian-1)".ljust(60, b" ")),
              "not an archive": b"text", "of another machine": b"\0" * 4096 + good[4096:]}
    for what, data in others.items():
        fresh = farm.warm / "fresh"
        fresh.write_bytes(data)
        os.replace(fresh, archive)
        r = java(farm, MAPPED)
        assert (r["stdout"], r["stderr"], r["exit_code"]) == ("false\n", "", 0), what
    fresh.write_bytes(good)
    os.replace(fresh, archive)
    assert java(farm, MAPPED)["stdout"] == "true\n"


@JAVA
def test_an_archive_of_another_jar(tmp_path):
    """Kotlin's compiler is one, and the words are those of its record, which others have too: it is noticed, and nothing is said."""
    scripts = {}
    for name in ("kotlin", "java", "clojure", "groovy", "scala"):
        record = json.loads((ROOT / f"conf/languages.d/{name}.json").read_text())
        scripts[name] = (record["compile"] or record["run"])[2]
    assert len({script.rsplit("\n", 1)[0].split("\nexport")[0] for script in scripts.values()}) == 1
    (tmp_path / "Main.java").write_text(MAPPED)
    subprocess.run(["sh", "-c", "javac Main.java && jar cf main.jar Main.class && java -XX:ArchiveClassesAtExit=java.jsa -cp main.jar Main"],
                   cwd=tmp_path, check=True, capture_output=True)
    for expected in ("true\n", "false\n"):
        argv = ["sh", "-c", scripts["kotlin"], "./java.jsa", "-cp", "main.jar", "Main"]
        done = subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (expected, "")
        os.utime(tmp_path / "main.jar", (1, 1))
