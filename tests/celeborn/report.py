"""The report of bench.py: its figures beside their targets, with the conditions under which they were found."""

import datetime
import os
import subprocess
from pathlib import Path

MIB = 1 << 20
# Part, what of it, how it is shown, against whom, at most this ratio. No ratio: shown only.
LINES = [
    ("repartition", "stages", "{:.2f} s", "java", 0.8),
    ("repartition", "stages", "{:.2f} s", "spark", 0.85),
    ("repartition", "job", "{:.2f} s", "java", None),
    ("tpch", "stages", "{:.2f} s", "java", 0.8),
    ("tpch", "stages", "{:.2f} s", "spark", 0.85),
    ("tpch", "job", "{:.2f} s", "java", None),
    ("repartition-two-copies", "stages", "{:.2f} s", "java", 0.87),
    ("tpch-two-copies", "stages", "{:.2f} s", "java", 0.87),
    ("many-partitions", "job", "{:.2f} s", "java", None),
    ("many-partitions", "job", "{:.2f} s", "spark", None),
    ("repartition", "peak", "{:.0f} MiB", "java", 1 / 3),
    ("repartition", "mean", "{:.0f} MiB", "java", None),
    ("tpch", "peak", "{:.0f} MiB", "java", 1 / 3),
    ("push", "peak", "{:.0f} MiB", "java", None),
    ("repartition", "cpu_gb", "{:.2f} s", "java", 0.5),
    ("tpch", "cpu_gb", "{:.2f} s", "java", 0.5),
    ("repartition-two-copies", "cpu_gb", "{:.2f} s", "java", 0.5),
    ("push", "p99", "{:.1f} ms", "java", 0.5),
    ("push", "p50", "{:.1f} ms", "java", None),
    ("push", "mb_s", "{:.0f} MB/s", "java", None),
    ("push", "cpu_gb", "{:.2f} s", "java", None),
    ("push-two-copies", "p99", "{:.1f} ms", "java", 0.5),
    ("push-two-copies", "mb_s", "{:.0f} MB/s", "java", None),
]
PARTS = {
    "repartition": "repartition of {gigabytes:g} GB, 200 partitions",
    "repartition-two-copies": "the same, two copies",
    "tpch": "TPC-H, scale 1, 200 partitions",
    "tpch-two-copies": "the same, two copies",
    "many-partitions": "2,000 partitions of 40,000 rows",
    "push": "pushes of 64 KiB, 64 in flight",
    "push-two-copies": "the same, two copies",
}
FIGURES = {
    "stages": "shuffle stages", "job": "whole job", "peak": "resident, most", "mean": "resident, mean",
    "cpu_gb": "worker's CPU for a GB", "p99": "p99", "p50": "p50", "mb_s": "throughput",
}  # fmt: skip
SYSTEMS = {"java": "Celeborn 0.7.0", "spark": "Spark's own"}


def markdown(medians, results, arguments):
    """The text, and a name for its file."""
    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    dirty = "+" if git("status", "--porcelain") else ""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = ["# Spark through the Celeborn door", "", "| | |", "|---|---|", f"| date | {today} |"]
    lines += [f"| commit | {commit}{dirty} (release build) |", f"| machine | {machine()} |"]
    lines += [f"| servers | one master and {arguments.workers} workers of each system, with their defaults; Java with the memory of its template |"]
    lines += [f"| runs | {arguments.rounds} that count, systems in turn, {arguments.warm} before |", ""]
    lines += ["| what | figure | Dunlin | against | theirs | ratio | target | |", "|---|---|---:|---|---:|---:|---:|---|"]
    for part, figure, form, against, most in LINES:
        ours, other = (medians.get(part, {}).get(system) for system in ("dunlin", against))
        if ours and other:
            shown = [form.format(one[figure] / (MIB if "MiB" in form else 1)) for one in (ours, other)]
            ratio = ours[figure] / other[figure] if other[figure] else 0.0
            target = f"{most:.2f}" if most else ""
            verdict = "" if most is None else "met" if ratio <= most else "missed"
            what = PARTS[part].format(gigabytes=arguments.gigabytes)
            cells = [what, FIGURES[figure], shown[0], SYSTEMS[against], shown[1], f"{ratio:.2f}", target, verdict]
            lines.append(f"| {' | '.join(cells)} |")
    start = medians.get("start", {}).get("dunlin")
    if start:
        verdict = "met" if start["seconds"] < 1 else "missed"
        lines.append(f"| start of both roles to the first push | time | {start['seconds']:.2f} s | | | | 1 s | {verdict} |")
    return "\n".join([*lines, *spread(results), ""]), f"{today}-celeborn-{commit}"


def spread(results):
    """Least and most of what is timed, so that a reader sees the noise."""
    lines = ["", "| what | system | figure | least | median | most |", "|---|---|---|---:|---:|---:|"]
    for part, of_systems in results.items():
        for system, found in of_systems.items():
            figure = next(name for name in ("stages", "p99", "seconds") if name in found[0])
            values = sorted(one[figure] for one in found)
            middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
            shown = " | ".join(f"{value:.2f}" for value in (values[0], middle, values[-1]))
            lines.append(f"| {part} | {system} | {figure} | {shown} |")
    return lines


def machine():
    """Processor, cores and memory; no names."""
    model = next((line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / MIB
    return f"{model.strip()}, {len(os.sched_getaffinity(0))} cores, {memory:.1f} GiB"


def git(*arguments):
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()
