"""A process of driver.py, seen from the runner: what every context is configured with, and how a job is given to it.

Used by run.py and record.py. The process is a group of its own, so that Python, its JVM and executors end together.
"""

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
MANAGER = "org.apache.spark.shuffle.celeborn.SparkShuffleManager"
# What every context has; the JVM's own memory is set where it is started.
BASE = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.default.parallelism": "4",
    "spark.sql.adaptive.enabled": "false",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.shuffle.service.enabled": "false",
    "spark.port.maxRetries": "50",
    "spark.task.maxFailures": "4",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
}
CELEBORN = {
    "spark.shuffle.manager": MANAGER,
    "spark.celeborn.client.spark.shuffle.fallback.policy": "NEVER",
    "spark.sql.adaptive.localShuffleReader.enabled": "false",
    # Else a driver on a machine with another address is told to listen on that.
    "spark.celeborn.network.bind.preferIpAddress": "true",
}


class Failed(Exception):
    """A case that did not do what it must; the text is one line."""


class Spark:
    """A process of driver.py, started when it is needed and again after it was stopped."""

    def __init__(self, place, line, client, folder, memory="1g"):
        self.python, self.jar = place.python(line), place.client(line, client)
        self.folder, self.process, self.answers = folder, None, None
        self.log, self.memory = folder / "spark.log", memory

    def start(self):
        read, write = os.pipe()
        home = self.folder / "spark"
        home.mkdir(exist_ok=True)
        submit = f"--driver-memory {self.memory} --driver-class-path {self.jar} --conf spark.executor.extraClassPath={self.jar}"
        submit += f" --driver-java-options '-Duser.name=spark -Djava.io.tmpdir={home} -XX:+UseSerialGC'"
        environment = {
            **os.environ,
            "PYSPARK_SUBMIT_ARGS": f"{submit} pyspark-shell",
            "PYSPARK_PYTHON": str(self.python),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
            "CELEBORN_LOCAL_IP": "127.0.0.1",
            "CELEBORN_LOCAL_HOSTNAME": "127.0.0.1",
            "SPARK_USER": "spark",
            "TMPDIR": str(home),
            "PYTHONPATH": str(HERE),
        }
        environment.pop("SPARK_HOME", None)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.python, str(HERE / "driver.py"), str(write)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[write], cwd=home, env=environment, text=True,
                start_new_session=True,
            )  # fmt: skip
        os.close(write)
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, args=(read, self.answers), daemon=True).start()

    @staticmethod
    def listen(read, answers):
        with os.fdopen(read) as lines:
            for line in lines:
                answers.put(json.loads(line))
        answers.put({"error": "Spark's process has ended"})

    def run(self, request, bound, act):
        """One job; `act` is called with what the job asks to be done in its middle."""
        if self.process is None:
            self.start()
        self.send(request)
        end = time.monotonic() + bound
        while True:
            try:
                answer = self.answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise Failed(f"no end within {bound} s") from None
            if "error" in answer:
                said = answer["error"].strip().splitlines()
                if "ended" in said[-1]:
                    self.stop()
                raise Failed(next((line for line in said if "Exception" in line or "Error" in line), said[-1])[:400])
            if "do" not in answer:
                return answer
            if answer["do"] == "die":
                self.stop()
                return {"rows": []}
            act(answer["do"])
            self.send({})

    def send(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Python, its JVM and its executors are one group of processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None
