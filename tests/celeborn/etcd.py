"""An etcd of one or three members on the loopback, for the servers of servers.py and the faults of faults.py."""

import json
import subprocess
import time
import urllib.request

HOST = "127.0.0.1"


class Etcd:
    """`members` processes with their state below `folder`. Writes are not synced: a machine is never cut off here."""

    def __init__(self, folder, ports, start_max):
        """`ports` are two for each member: clients', peers'."""
        self.folder, self.start_max, self.processes, self.commands = folder, start_max, {}, {}
        pairs = list(zip(ports[::2], ports[1::2]))
        names = [f"etcd-{number}" for number in range(len(pairs))]
        group = ",".join(f"{name}=http://{HOST}:{peer}" for name, (_, peer) in zip(names, pairs))
        self.clients = {name: f"http://{HOST}:{client}" for name, (client, _) in zip(names, pairs)}
        self.hosts = ",".join(f"{HOST}:{client}" for client, _ in pairs)
        for name, (_, peer) in zip(names, pairs):
            client, peer = self.clients[name], f"http://{HOST}:{peer}"
            command = ["etcd", "--name", name, "--data-dir", str(folder / name), "--log-level", "error"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
            command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", group, "--unsafe-no-fsync"]
            self.commands[name] = command
            self.begin(name)

    def begin(self, name):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait(self):
        """Until every member answers; raises TimeoutError, or RuntimeError if one has ended."""
        end = time.monotonic() + self.start_max
        for name, client in self.clients.items():
            while not self.healthy(client):
                if self.processes[name].poll() is not None:
                    raise RuntimeError(f"{name} has ended")
                if time.monotonic() > end:
                    raise TimeoutError(f"{name} does not answer")
                time.sleep(0.1)

    @staticmethod
    def healthy(client):
        try:
            with urllib.request.urlopen(f"{client}/health", timeout=5) as reply:
                return json.load(reply)["health"] == "true"
        except OSError:
            return False

    def leader(self):
        """The name of the member that leads."""
        for name, client in self.clients.items():
            request = urllib.request.Request(f"{client}/v3/maintenance/status", b"{}", {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    status = json.load(reply)
            except OSError:
                continue
            if status["leader"] == status["header"]["member_id"]:
                return name
        raise RuntimeError("no member of etcd leads")

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self):
        for name in self.processes:
            self.kill(name)
