#!/usr/bin/env python3
"""Multipart uploads that a killed shuffle worker began are aborted by the sweep of another process.

Called by `./dev compat`: starts moto (S3) and a proxy before it that does not answer when the second
part of an upload comes, so that an upload is open; kills the process that waits for it, starts another
on the same state, and looks until S3 lists no upload of the first any more. The second has an upload
open meanwhile, which nobody may touch. Every process is started here and ended
here.
"""

import argparse
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3

BUCKET, PREFIX = "lake", "some/prefix"
FOLDER = f"{PREFIX}/shuffle/"
# How long servers may take to start, a query until it uploads, and the sweep until all is gone.
START_MAX, UPLOAD_MAX, SWEEP_MAX = 60, 180, 120
# Each line travels once, with all of its columns: more than the worker's memory.
ROWS, WIDTH = 60_000, 1_000
SQL = (
    "SELECT count(*), max(t) FROM (SELECT t, row_number() OVER (PARTITION BY k ORDER BY n) AS r FROM big) "
    "WHERE r > 0"
)
CONFIG = f"""
shuffle-memory = "32MiB"
hold = "1s"
sweep = "1s"
lease-ttl = "2s"
log-level = "warn,dunlin_gateway=info"
[session]
partitions = 2
[shuffle]
tiers = ["objects"]
objects = "s3://{BUCKET}/{PREFIX}"
"""


def until(what, limit, happened):
    """Waits for a condition, and returns it."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = happened()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {limit} s: {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Proxy(ThreadingHTTPServer):
    """Passes everything on to S3, but for later parts of uploads while it holds these."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.to, self.holds, self.held = port, True, 0
        self.changed = threading.Condition()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_if_held(self, target):
        query = parse_qs(urlsplit(target).query)
        if int(query.get("partNumber", ["1"])[0]) < 2:
            return
        with self.changed:
            self.held += 1
            self.changed.wait_for(lambda: not self.holds)

    def release(self):
        with self.changed:
            self.holds = False
            self.changed.notify_all()

    def handle_error(self, request, client_address):
        """A client that was killed."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT":
            self.server.wait_if_held(self.path)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=60)
        connection.request(self.command, self.path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

    def log_message(self, *_):
        pass


class Serving:
    """`dunlin serve` with all roles; it ends when its standard input does."""

    def __init__(self, dunlin, folder, endpoint):
        environment = {
            **os.environ, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        }
        command = [dunlin, "serve", "--config", str(folder / "dunlin.toml"), "--metadata", str(folder / "state")]
        command += ["--blobs", str(folder / "blobs"), "--data", str(folder / "data"), "--with-parent"]
        command += ["--flight-port", "0", "--admin-port", "0"]
        self.said, self.flight = [], None
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        until("the server is ready", START_MAX, lambda: self.flight or self.process.poll() is not None)
        if self.flight is None:
            sys.exit("the server did not start:\n" + "".join(self.said))

    def listen(self):
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("dunlin: ready "):
                self.flight = dict(word.split("=", 1) for word in line.split() if "=" in word)["flight"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self.listener.join(5)


def make_table(folder):
    folder.mkdir()
    letters, chance = "abcdefghijklmnopqrstuvwxyz", random.Random(1)
    with open(folder / "big.csv", "w") as file:
        file.write("n,k,t\n")
        for n in range(ROWS):
            file.write(f"{n},{n % 5000},{''.join(chance.choices(letters, k=WIDTH))}\n")


class Bucket:
    def __init__(self, port):
        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="eu-west-1",
            aws_access_key_id="key", aws_secret_access_key="secret",
        )
        where = {"LocationConstraint": "eu-west-1"}
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)

    def uploads(self):
        found = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [(upload["Key"], upload["UploadId"]) for upload in found]

    def parts(self, upload):
        key, upload_id = upload
        return self.client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload_id).get("Parts", [])

    def keys(self):
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=FOLDER).get("Contents", [])
        return [one["Key"] for one in found]

    def records(self):
        return [key for key in self.keys() if key.removeprefix(FOLDER).split("/")[1] == "uploads"]


def aborting_what_is_completed(bucket):
    """What we count on: S3 does not know the upload any more, and the object stays."""
    client, key = bucket.client, "completed"
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload=parts)
    try:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchUpload", error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"part"


def worker_of(key):
    return key.removeprefix(FOLDER).split("/")[0]


def ask(dunlin, server):
    command = [dunlin, "sql", "--connect", server.flight, "--format", "csv", "-c", SQL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until_it_uploads(asking, proxy):
    before = proxy.held
    until("an upload waits for its second part", UPLOAD_MAX, lambda: proxy.held > before or asking.poll() is not None)
    assert proxy.held > before, f"the query uploaded nothing: {asking.communicate()[0]}"


def a_killed_worker(dunlin, folder, bucket, proxy):
    """Returns the worker, one of its records, and how many uploads it leaves."""
    first = Serving(dunlin, folder, f"http://127.0.0.1:{proxy.server_address[1]}")
    asking = ask(dunlin, first)
    try:
        until_it_uploads(asking, proxy)
    finally:
        first.kill()
        asking.kill()
        asking.wait()
    left = bucket.uploads()
    assert left and any(bucket.parts(upload) for upload in left), f"no upload is open: {left}"
    records = bucket.records()
    assert records, f"no record: {bucket.keys()}"
    (dead,) = {worker_of(key) for key, _ in left}
    record = bucket.client.get_object(Bucket=BUCKET, Key=records[0])["Body"].read()
    return dead, record, len(left)


def the_sweep(dunlin, folder, bucket, proxy, dead, record):
    """What the dead one began is ended, and what the living one has begun is not."""
    second = Serving(dunlin, folder, f"http://127.0.0.1:{proxy.server_address[1]}")
    asking = ask(dunlin, second)
    try:
        until_it_uploads(asking, proxy)
        until(
            "no upload of the dead worker is left", SWEEP_MAX,
            lambda: all(worker_of(key) != dead for key, _ in bucket.uploads()),
        )
        # Of nobody: once it has gone, whatever was there before it has been due as well.
        ghost = f"{FOLDER}ghost/uploads/0"
        bucket.client.put_object(Bucket=BUCKET, Key=ghost, Body=record)
        until("the later record has gone", SWEEP_MAX, lambda: ghost not in bucket.keys())
        records = {worker_of(key) for key in bucket.records()}
        assert records and dead not in records, f"{dead} is dead, {records} have records"
        ended = [line for line in second.said if "ended uploads of a dead worker" in line]
        assert any(dead in line for line in ended), ended
        assert not [line for line in ended for living in records if living in line], ended
        proxy.release()
        out = asking.communicate(timeout=UPLOAD_MAX)[0]
        assert f"\n{ROWS}," in out, out
        until("no upload is left", SWEEP_MAX, lambda: not bucket.uploads())
    except AssertionError:
        print("".join(second.said[-40:]), file=sys.stderr)
        raise
    finally:
        asking.kill()
        asking.wait()
        second.stop()
    assert not bucket.records(), f"a worker that ended in good order left {bucket.records()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dunlin", required=True)
    parser.add_argument("--moto", required=True)
    arguments = parser.parse_args()
    port = free_port()
    log = tempfile.TemporaryFile()
    moto = subprocess.Popen([arguments.moto, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        until("moto listens", START_MAX, lambda: listens(port))
        bucket, proxy = Bucket(port), Proxy(port)
        aborting_what_is_completed(bucket)
        with tempfile.TemporaryDirectory(prefix="dunlin-compat-") as name:
            folder = Path(name)
            make_table(folder / "data")
            (folder / "dunlin.toml").write_text(CONFIG)
            dead, record, count = a_killed_worker(arguments.dunlin, folder, bucket, proxy)
            the_sweep(arguments.dunlin, folder, bucket, proxy, dead, record)
        print(f"S3: {count} uploads of a killed worker were aborted")
    finally:
        moto.kill()
        moto.wait()


if __name__ == "__main__":
    main()
