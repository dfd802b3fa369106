#!/usr/bin/env python3
"""Tables in S3, Azure and Google object stores, against servers that speak their protocols.

Called by `./dev compat`: starts moto (S3), Azurite (Azure) and fake-gcs-server (Google) on free ports
of the loopback, puts the same files into each, and asks `dunlin sql` about them. Then come the ways
in which a store goes wrong. Every process is started here and ended here.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROWS = {"t/a.csv": "n,word\n1,one\n2,two\n", "t/b.csv": "n,word\n3,three\n"}
BUCKET = "lake"
# The account that Azurite has, as its documentation says.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A store's server, and how a table says where it is."""

    def __init__(self, name, command, port, url, options, put):
        self.name, self.port, self.url, self.options, self.put = name, port, url, options, put
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def wait(self):
        """Until it listens; a server that ends or stays silent is a failure."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        self.log.seek(0)
        sys.exit(f"{self.name} did not start:\n{self.log.read().decode(errors='replace')}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def table(self, name, path="t/", **other):
        options = ", ".join(f"'{key}' '{value}'" for key, value in {**self.options, **other}.items())
        return (
            f"CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{self.url}/{path}' "
            f"OPTIONS ({options})"
        )


def s3(arguments):
    import boto3

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"aws.access_key_id": "key", "aws.secret_access_key": "secret", "aws.region": "eu-west-1"}

    def put():
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="eu-west-1",
            aws_access_key_id="key", aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        for path, text in ROWS.items():
            client.put_object(Bucket=BUCKET, Key=path, Body=text.encode())

    command = [arguments.moto, "-H", "127.0.0.1", "-p", str(port)]
    return Server("S3", command, port, f"s3://{BUCKET}", {"aws.endpoint": endpoint, **keys}, put)


def azure(arguments):
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"

    def put():
        client = BlobServiceClient(endpoint, credential=ACCOUNT_KEY)
        container = client.create_container(BUCKET)
        for path, text in ROWS.items():
            container.upload_blob(path, text.encode())

    command = ["node", arguments.azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
    options = {"azure.endpoint": endpoint, "azure.account_name": ACCOUNT, "azure.account_key": ACCOUNT_KEY}
    return Server("Azure", command, port, f"az://{BUCKET}", options, put)


def google(arguments):
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"

    def post(path, body, kind):
        request = urllib.request.Request(endpoint + path, data=body, headers={"Content-Type": kind})
        urllib.request.urlopen(request, timeout=10).read()

    def put():
        post("/storage/v1/b", json.dumps({"name": BUCKET}).encode(), "application/json")
        for path, text in ROWS.items():
            name = urllib.request.quote(path, safe="")
            post(f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", text.encode(), "text/csv")

    command = [arguments.gcs, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}", "-external-url", endpoint]
    key = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    options = {"google.service_account_key": json.dumps(key), "google.allow_http": "true"}
    return Server("Google", command, port, f"gs://{BUCKET}", options, put)


class Shell:
    """`dunlin sql` on a state folder."""

    def __init__(self, binary, state):
        self.binary, self.state = binary, state

    def run(self, *texts, code=0):
        command = [self.binary, "sql", "--state", self.state, "--format", "csv"]
        for text in texts:
            command += ["-c", text]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        said = f"{texts}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, f"exit code {done.returncode}, not {code}: {said}"
        return done.stdout if code == 0 else done.stderr


def right_answers(shell, server, name):
    shell.run(server.table(name))
    out = shell.run(f"SELECT count(*) AS c, sum(n) AS s, max(word) AS w FROM {name}")
    assert out == "c,s,w\n3,6,two\n", out
    # In another process: the definition, with its keys, is in the catalog.
    out = shell.run(f"SELECT word FROM {name} WHERE n > 1 ORDER BY n")
    assert out == "word\ntwo\nthree\n", out
    shell.run(server.table(f"{name}_one", path="t/b.csv"))
    out = shell.run(f"SELECT n FROM {name}_one")
    assert out == "n\n3\n", out


def clear_errors(shell, server, name):
    error = shell.run(server.table(f"{name}_missing", path="nothing/"), code=1)
    assert "nothing" in error and error.count("error:") == 1, error
    option = next(iter(server.options)).split(".")[0] + ".no_such_option"
    error = shell.run(server.table(f"{name}_wrong", **{option: "x"}), code=1)
    assert option in error, error
    server.stop()
    started = time.monotonic()
    error = shell.run(f"SELECT * FROM {name}", code=4)
    took = time.monotonic() - started
    assert server.url in error and error.count("error:") == 1, error
    assert took < 60, f"{took} s until an unreachable store was named"
    out = shell.run("SELECT 1 AS still")
    assert out == "still\n1\n", out
    return took


def main():
    parser = argparse.ArgumentParser()
    for name in ["dunlin", "moto", "azurite", "gcs"]:
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    servers = []
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(arguments.dunlin, str(Path(folder) / "state"))
        try:
            for start in (s3, azure, google):
                servers.append(start(arguments))
            for server in servers:
                server.wait()
                server.put()
                name = server.name.lower()
                right_answers(shell, server, name)
                took = clear_errors(shell, server, name)
                print(f"{server.name}: right rows, clear errors; unreachable was named after {took:.1f} s")
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
