"""A Spark cluster of two hosts on one machine: Spark's own standalone master, and a worker on each of two loopback addresses.

Used by run.py for cases with the master `standalone`. Spark starts the second copy of a task only on another host.
"""

import os
import subprocess
import time
from pathlib import Path

HOSTS = ("127.0.0.1", "127.0.0.2")
START_MAX = 60


class Standalone:
    def __init__(self, python, jar, folder, ports):
        """`ports` are three: the master's, and the workers'."""
        self.processes, self.folder = [], folder
        folder.mkdir()
        jars = next(Path(python).parent.parent.glob("lib/python*/site-packages/pyspark/jars"))
        self.classes = f"{jars}/*"
        # Spark's scripts, which are not used here, would find it out.
        self.scala = next(jars.glob("spark-core_*.jar")).name.removeprefix("spark-core_").split("-")[0]
        self.url = f"spark://{HOSTS[0]}:{ports[0]}"
        try:
            self.start("master", "master.Master", ["--host", HOSTS[0], "--port", str(ports[0]), "--webui-port", "0"], python)
            self.wait("master", "I have been elected leader")
            for number, host in enumerate(HOSTS):
                options = ["--host", host, "--port", str(ports[1 + number]), "--webui-port", "0", "--cores", "2"]
                options += ["--memory", "1g", "--work-dir", str(folder / f"work-{number}"), self.url]
                self.start(f"worker-{number}", "worker.Worker", options, python, host)
                self.wait(f"worker-{number}", "Successfully registered with master")
        except BaseException:
            self.stop()
            raise

    def start(self, name, kind, options, python, host=HOSTS[0]):
        java = ["java", "-Xmx256m", "-Duser.name=spark", f"-Djava.io.tmpdir={self.folder}", "-cp", self.classes]
        environment = {
            **os.environ,
            "SPARK_HOME": str(Path(self.classes).parent.parent),
            "SPARK_SCALA_VERSION": self.scala,
            "SPARK_LOCAL_IP": host,
            "SPARK_LOCAL_HOSTNAME": host,
            "CELEBORN_LOCAL_IP": host,
            "CELEBORN_LOCAL_HOSTNAME": host,
            "PYSPARK_PYTHON": str(python),
            "SPARK_USER": "spark",
        }
        with open(self.folder / f"{name}.log", "ab") as log:
            command = [*java, f"org.apache.spark.deploy.{kind}", *options]
            self.processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment)
            )

    def wait(self, name, words):
        log, end = self.folder / f"{name}.log", time.monotonic() + START_MAX
        while words not in (said := log.read_text(errors="replace")):
            if self.processes[-1].poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"Spark's {name} did not start: {said[-500:]}")
            time.sleep(0.1)

    def stop(self):
        # A worker ends its executors when it is asked to, and not when it is killed.
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
