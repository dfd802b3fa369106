"""What a job costs: the stages of its shuffles by Spark's event log, and memory and CPU time of servers by /proc.

Used by bench.py.
"""

import json
import os
import threading
from pathlib import Path

EVERY = 0.05  # Between two looks at resident memory, seconds.
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
# What Spark calls the bytes of shuffles, by side.
WRITTEN = {"internal.metrics.shuffle.write.bytesWritten"}
READ = {f"internal.metrics.shuffle.read.{where}BytesRead" for where in ("remote", "local")}


def cpu_seconds(pid):
    """Of the process since its start, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


class Meter:
    """Looks at processes while a block runs: `cpu` of all in seconds, `peak` and `mean` of the largest in bytes."""

    def __init__(self, pids):
        self.pids, self.seen, self.end = pids, [], threading.Event()

    def __enter__(self):
        self.cpu = -sum(cpu_seconds(pid) for pid in self.pids)
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def look(self):
        while not self.end.wait(EVERY) and self.pids:
            self.seen.append(max(resident(pid) for pid in self.pids))

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        self.cpu += sum(cpu_seconds(pid) for pid in self.pids)
        self.peak = max(self.seen, default=0)
        self.mean = sum(self.seen) / len(self.seen) if self.seen else 0


def stages(folder):
    """Of the only application in the folder of an event log: seconds in which a stage ran that writes or reads
    a shuffle (two at the same time count once), bytes written, bytes read. Removes the log."""
    log = next(Path(folder).iterdir())
    spans, written, read = [], 0, 0
    with open(log) as lines:
        for line in lines:
            if '"SparkListenerStageCompleted"' not in line:
                continue
            stage = json.loads(line)["Stage Info"]
            counts = {one.get("Name"): one.get("Value", 0) for one in stage["Accumulables"]}
            wrote = sum(int(counts.get(name, 0)) for name in WRITTEN)
            got = sum(int(counts.get(name, 0)) for name in READ)
            written, read = written + wrote, read + got
            if wrote or got:
                spans.append((stage["Submission Time"], stage["Completion Time"]))
    log.unlink()
    return union(spans) / 1000, written, read


def union(spans):
    """The length of what some spans cover together."""
    length, reached = 0, None
    for start, end in sorted(spans):
        start = start if reached is None else max(start, reached)
        length, reached = length + max(0, end - start), max(end, reached or end)
    return length
