"""The tables, as text that reads the same in a terminal and in Markdown."""

import re
import shutil

from tools import ROOT

PAGE = ROOT / "docs/performance.md"
PICTURES = ROOT / "docs/performance"


def figure(v):
    if v is None:
        return "–"
    if v == 0 or abs(v) >= 100:
        return f"{v:,.0f}"
    return f"{v:.3g}"


def table(head, rows):
    rows = [[str(c) for c in row] for row in rows]
    wide = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, wide)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in wide) + "|", *map(line, rows)])


def compared(row):
    if row.get("over") is not None and row["limit"] is not None:
        return f"bare {row['over']:+.2g} ms"
    return f"{row['ratio']:.2f} ×" if row.get("ratio") is not None else "–"


def verdict(row):
    if row["pass"] is None:
        return row.get("note", "–") if row["target"] else "–"
    return "pass" if row["pass"] else "miss"


def targets(found):
    rows = []
    for r in found["rows"]:
        value = f"{figure(r['value'])} {r['unit']}" if r["value"] is not None else "–"
        bare = f"{figure(r['bare'])}" if r.get("bare") is not None else "–"
        rows.append((r["what"], value, bare, compared(r), r["target"] or "–", verdict(r)))
    return table(["what", "farm", "beside it", "ratio", "target", ""], rows)


def others(found):
    if not found["peers"]:
        return ""
    rows = []
    for who, by in found["peers"]["measured"].items():
        name = {"bare": "bare (start, read, wait)", "farm": "unfarm, over HTTP"}.get(who, who)
        cells = [f"{by[k]['ms']:.2f} ms, {by[k]['ratio']:.2f} ×" for k in ("python", "bash")]
        rows.append((name, *cells))
    text = table(["p50 of one at a time", "Python `print(1)`", "`bash` `echo 1`"], rows)
    missing = [f"{who} ({why})" for who, why in found["peers"]["missing"].items()]
    return text + ("\n\nNot measured: " + "; ".join(missing) + "." if missing else "")


def growth(curve):
    """One line a series: its ends, and how the last step of x grew y."""
    rows = []
    for name, line in curve["series"].items():
        (x0, y0), (x1, y1) = line[0], line[-1]
        before, yb = line[-2]
        step = f"{x1 / before:.3g} × → {y1 / yb:.2f} ×" if before > 0 and yb > 0 else "–"
        rows.append((curve["title"], name, f"{figure(x0)}: {figure(y0)}", f"{figure(x1)}: {figure(y1)}",
                     f"{y1 / y0:.2f} ×" if y0 > 0 else "–", step, curve["note"]))  # fmt: skip
    return rows


def curves(found):
    rows = [row for c in found["curves"] for row in growth(c)]
    return table(["curve", "", "first", "last", "last over first", "last step: x → y", "should be"], rows) if rows else ""


def profiles(found):
    p = found.get("profile")
    if not p:
        return ""
    total = sum(p["cpu"]["cpu_us"].values())
    parts = [
        f"One `bash` job at a time takes {figure(p['cpu']['p50_us'])} µs (p50) and this much processor time:",
        table(["process", "µs a job", "share"],
              [(k, figure(v), f"{100 * v / total:.0f} %") for k, v in p["cpu"]["cpu_us"].items()]),
    ]  # fmt: skip
    calls, samples = p["calls"], p["samples"]
    if "by_process" in calls:
        rows = [(who, f"{c['calls']:.1f}", figure(c["us"]), ", ".join(f"{k} {n:.1f} ({figure(us)})" for k, n, us in c["most"]))
                for who, c in calls["by_process"].items()]  # fmt: skip
        parts += ["System calls of one job, with the tracer's own cost in the times; without those that wait:",
                  table(["process", "calls a job", "µs a job", "the dearest: calls a job (µs a job)"], rows)]  # fmt: skip
    else:
        parts.append(f"System calls: {calls['unavailable']}.")
    if "functions" in samples:
        parts += [f"Samples ({samples['event']}, {samples['samples']}) by process and by function:",
                  table(["process", "share"], [(k, f"{100 * v:.1f} %") for k, v in samples["share"].items()]),
                  table(["function", "where", "share of the samples"],
                        [(f"`{n}`", "kernel" if k else "user", f"{100 * s:.1f} %") for n, k, s in samples["functions"]])]  # fmt: skip
    else:
        parts.append(f"Samples: {samples['unavailable']}.")
    return "\n\n".join(parts)


def machine(found):
    m, g = found["machine"], found["gate"]
    return (
        f"Measured {found['date']} on {m['cores']} cores ({m['model']}{', virtual' if m['virtual'] else ''}), "
        f"{m['memory_gb']} GB, {m['system']}, Linux {m['kernel']}; load before {m['load_before'][0]}; "
        f"{g['quiet']} of {g['batches']} batches began on a machine at least 88 % idle."
    )


def tables(found):
    parts = [machine(found), targets(found), others(found), curves(found), profiles(found)]
    return "\n\n".join(p for p in parts if p)


def soak_table(found):
    rows = [(name, f"{value:.3f} ×" if value else "–") for name, value in found["drift"].items()]
    whole = found["whole"]
    head = (
        f"{found['seconds']:.0f} s at {figure(found['rate'])} jobs/s (80 % of {figure(found['capacity'])}): "
        f"{whole['operations']} jobs, {whole['errors']} errors, p50 {figure(whole['us']['p50'] / 1000)} ms, "
        f"p99 {figure(whole['us']['p99'] / 1000)} ms"
    )
    return head + "\n\n" + table(["", "last third over middle third"], rows)


def replace(text, name, new):
    marks = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
    text, n = re.subn(marks, lambda m: m[1] + "\n" + new + "\n\n" + m[2], text, flags=re.S)
    assert n == 1, f"{PAGE.name} has no place for {name}"
    return text


def pictures(text):
    return re.findall(r"\(performance/([a-z-]+\.svg)\)", text)


def write(found, folder, *, soak):
    """Fill the marked places of docs/performance.md and copy its pictures."""
    text = PAGE.read_text()
    parts = {"soak": machine(found) + "\n\n" + soak_table(found)} if soak else {
        "machine": machine(found), "targets": targets(found), "others": others(found),
        "curves": curves(found), "profile": profiles(found),
    }  # fmt: skip
    for name, new in parts.items():
        text = replace(text, name, new)
    PAGE.write_text(text)
    PICTURES.mkdir(exist_ok=True)
    for picture in pictures(text):
        if (folder / picture).exists():
            shutil.copy(folder / picture, PICTURES / picture)
