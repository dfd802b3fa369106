"""What can happen to Dunlin's servers while Spark works: each fault by its name, and faults at random.

Used by run.py, for servers.Dunlin. A fault returns once the servers are whole again, unless its name says
`kill`: what that takes stays away.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

# How long a worker may take to hand over or drain, and how long nothing is done between two faults, seconds.
END_MAX, PAUSE = 180, (2.0, 5.0)
# What is turned upside down in a file, bytes, and the smallest file that is.
STRIDE, FILE_MIN = 4096, 64 << 10


class NotDone(Exception):
    """A fault that could not be brought about; the text says why."""


def workers(on):
    return sorted(name for name in on.processes if name.startswith("worker"))


def masters(on):
    return sorted(name for name in on.processes if name.startswith("master"))


def kill_worker(on, chance):
    on.kill(workers(on)[-1])
    on.workers -= 1


def kill_master(on, chance):
    """The first one of the list that clients have."""
    on.kill(masters(on)[0])


def crash_worker(on, chance):
    name = chance.choice(workers(on))
    on.kill(name)
    time.sleep(chance.uniform(0.0, 3.0))
    on.begin(name)


def crash_master(on, chance):
    name = chance.choice(masters(on))
    on.kill(name)
    time.sleep(chance.uniform(0.0, 3.0))
    on.begin(name)


def crash_etcd_leader(on, chance):
    leader = on.etcd.leader()
    on.etcd.kill(leader)
    time.sleep(chance.uniform(0.5, 3.0))
    on.etcd.begin(leader)
    on.etcd.wait()


def stall_worker(on, chance):
    """It does nothing for longer than its lease lasts, and goes on as if nothing had been."""
    process = on.processes[chance.choice(workers(on))]
    process.send_signal(signal.SIGSTOP)
    time.sleep(chance.choice((1.0, 8.0)))
    process.send_signal(signal.SIGCONT)


def restart_worker(on, chance):
    upgrade(on, chance.choice(workers(on)))


def restart_workers(on, chance):
    """Each in turn, as an upgrade does it."""
    for name in workers(on):
        upgrade(on, name)


def upgrade(on, name):
    """Told to end, waited for, started again on its ports and folder."""
    process = on.processes[name]
    process.terminate()
    ended_well(name, process)
    on.begin(name)


def decommission(on, chance):
    """A worker is told to let its data be used up and then to end; it stays away."""
    name = workers(on)[-1]
    process = on.processes.pop(name)
    shuffle(on, "drain", on.facts[name]["shuffle"])
    on.leaving[name] = process
    on.workers -= 1


def corrupt_blocks(on, chance):
    """A byte in each page of what one worker has on disk."""
    turned = 0
    name = workers(on)[0]
    for file in (on.folder / name).rglob("dunlin-shuffle/**/*"):
        if file.is_file() and file.stat().st_size >= FILE_MIN:
            with open(file, "r+b") as data:
                for place in range(STRIDE // 2, file.stat().st_size, STRIDE):
                    data.seek(place)
                    byte = data.read(1)
                    data.seek(place)
                    data.write(bytes([byte[0] ^ 0xFF]))
                    turned += 1
    if not turned:
        raise NotDone(f"{name} has nothing on disk")


def shuffle(on, *words):
    done = subprocess.run(
        [on.dunlin, "shuffle", *words, "--metadata", on.metadata], capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise NotDone(f"dunlin shuffle {' '.join(words)}: {done.stderr.strip()[-300:]}")


def ended_well(name, process):
    try:
        code = process.wait(END_MAX)
    except subprocess.TimeoutExpired:
        raise NotDone(f"{name} did not end within {END_MAX} s") from None
    if code != 0:
        raise NotDone(f"{name} ended with {code}")


NAMED = {
    function.__name__.replace("_", "-"): function
    for function in (
        kill_worker, kill_master, crash_worker, crash_master, crash_etcd_leader, stall_worker, restart_worker,
        restart_workers, decommission, corrupt_blocks,
    )
}  # fmt: skip


class During:
    """Faults of some kinds at random, one after the other, from enter to exit. `counts` says how many of each."""

    def __init__(self, on, kinds, seed):
        self.on, self.kinds, self.chance = on, kinds, random.Random(seed)
        self.counts, self.failure, self.over = dict.fromkeys(kinds, 0), None, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def run(self):
        # Each kind once before any twice: a short run has them all.
        order = []
        while not self.over.wait(self.chance.uniform(*PAUSE)):
            order = order or self.chance.sample(self.kinds, len(self.kinds))
            kind = order.pop()
            try:
                NAMED[kind](self.on, self.chance)
            except Exception as reason:  # the case says it, and has failed
                self.failure = f"{kind}: {reason}"
                return
            self.counts[kind] += 1


@contextlib.contextmanager
def little_disk(folder, size):
    """A file system of `size` at `folder`, full before long. Raises NotDone if this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]).returncode:
        raise NotDone("mounting a small disk takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)
