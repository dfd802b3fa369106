"""Certificates for runs with TLS: an authority, and a certificate of it for the loopback, as PEM and for Java.

Used by run.py. Every file is new for each run, and good for some days.
"""

import subprocess

PASSWORD = "changeit"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
DAYS = ["-days", "30"]


def make(folder):
    """Writes authority.pem, process.pem and process.key, and process.p12 and authority.p12 for Java."""
    folder.mkdir(parents=True)
    (folder / "process.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")

    def run(*command):
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr or done.stdout}")

    authority = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"]
    run("openssl", "req", "-x509", *CURVE, *DAYS, "-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem")
    run("openssl", "req", *CURVE, "-subj", "/CN=process", "-keyout", "process.key", "-out", "process.csr")
    run("openssl", "x509", "-req", "-in", "process.csr", *authority, *DAYS, "-extfile", "process.ext", "-out", "process.pem")
    both = ["-in", "process.pem", "-inkey", "process.key", "-certfile", "authority.pem"]
    run("openssl", "pkcs12", "-export", *both, "-name", "process", "-out", "process.p12", "-passout", f"pass:{PASSWORD}")
    store = ["-keystore", "authority.p12", "-storetype", "PKCS12", "-storepass", PASSWORD]
    run("keytool", "-importcert", "-noprompt", "-alias", "authority", "-file", "authority.pem", *store)
