"""Checks the Helm chart: `./dev charts` installs what it needs and runs it.

Each file in charts/dunlin/tests is a set of values that must lint, render, be valid for the oldest and
the newest Kubernetes, and say what `dunlin serve` understands; each in tests/refused must be refused.
Options and configuration keys are read from the program's sources, so nothing has to be built.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/dunlin"
SOURCES = ROOT / "crates/node/src"
ROLES = ("gateway", "executor", "shuffle")

# What one pod of the chart may take to drain, beside twice the limit: notice, last words, closing.
DRAIN_REST = 5


def options() -> set[str]:
    """Options of `dunlin serve`, from the structs that clap reads."""
    text = (SOURCES / "cli.rs").read_text()
    found = set()
    for struct in ("Global", "Serve", "EngineArgs"):
        body = re.search(rf"struct {struct} {{(.*?)\n}}", text, re.S)
        fields = re.findall(r"pub\(crate\) (\w+):", body.group(1))
        found.update("--" + field.replace("_", "-") for field in fields)
    return found - {"--engine"}


def keys() -> set[str]:
    """Keys of dunlin.toml."""
    text = (SOURCES / "config/schema.rs").read_text()
    table = re.search(r"const KEYS:.*?= \[(.*?)\n\];", text, re.S)
    return set(re.findall(r'\("([a-z-]+)", "', table.group(1)))


class Checker:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.tools = arguments
        self.options, self.keys = options(), keys()
        self.problems: list[str] = []
        self.where = ""

    def expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(f"{self.where}: {problem}")

    def helm(self, *arguments: str) -> subprocess.CompletedProcess:
        # A helm that was not built by its makefile takes itself for one of Kubernetes 1.20.
        newest = self.tools.versions[-1]
        command = [self.tools.helm, *arguments, "--kube-version", newest]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def conform(self, text: str) -> None:
        for version in self.tools.versions:
            place = f"{self.tools.schemas}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
            command = [self.tools.kubeconform, "-strict", "-schema-location", place, "-"]
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
            said = (done.stdout + done.stderr).strip()
            self.expect(done.returncode == 0, f"Kubernetes {version}: {said}")

    def values(self, file: Path) -> int:
        self.where = file.name
        lint = self.helm("lint", str(CHART), "--strict", "--values", str(file))
        self.expect(lint.returncode == 0, f"helm lint: {lint.stdout}{lint.stderr}")
        done = self.helm("template", "lake", str(CHART), "--namespace", "sql", "--values", str(file))
        self.expect(done.returncode == 0, f"helm template: {done.stderr}")
        if done.returncode != 0:
            return 0
        self.conform(done.stdout)
        resources = [r for r in yaml.safe_load_all(done.stdout) if r]
        self.resources(resources)
        return len(resources)

    def refused(self, file: Path) -> None:
        self.where = f"refused/{file.name}"
        done = self.helm("template", "lake", str(CHART), "--values", str(file))
        self.expect(done.returncode != 0, "it was rendered")

    def resources(self, resources: list[dict]) -> None:
        of = lambda *kinds: [r for r in resources if r["kind"] in kinds]
        maps = {r["metadata"]["name"]: r["data"] for r in of("ConfigMap")}
        workloads = of("Deployment", "StatefulSet")
        self.expect(bool(workloads), "it runs nothing")
        for workload in workloads:
            self.where_of(workload)
            self.pod(workload, maps)
        pods = [w["spec"]["template"] for w in workloads]
        for resource in of("Service", "PodDisruptionBudget", "NetworkPolicy"):
            self.where_of(resource)
            self.selects(resource, pods)
        for scaler in of("HorizontalPodAutoscaler"):
            self.where_of(scaler)
            target = scaler["spec"]["scaleTargetRef"]
            found = [w for w in workloads if (w["kind"], w["metadata"]["name"]) ==
                     (target["kind"], target["name"])]
            self.expect(len(found) == 1, f"it scales {target}, which is not there")
            self.expect(all("replicas" not in w["spec"] for w in found), "its target counts too")

    def where_of(self, resource: dict) -> None:
        file = self.where.split(" ")[0]
        self.where = f"{file} {resource['kind']} {resource['metadata']['name']}"

    def pod(self, workload: dict, maps: dict) -> None:
        labels = workload["spec"]["template"]["metadata"]["labels"]
        chosen = workload["spec"]["selector"]["matchLabels"]
        self.expect(chosen.items() <= labels.items(), "it does not select its own pods")
        pod = workload["spec"]["template"]["spec"]
        [container] = pod["containers"]
        given = self.command_line(container["args"])
        self.expect(given.get("--roles") == labels["app.kubernetes.io/component"], "another role")
        self.expect(pod["enableServiceLinks"] is False, "services would set options")
        self.expect(pod["securityContext"]["runAsNonRoot"], "it may run as root")
        self.expect(container["securityContext"]["readOnlyRootFilesystem"], "a writable image")
        self.ports(container, given)
        self.volumes(workload, pod, container, given)
        pause = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0])
        least = int(pause[-1]) + 2 * int(given.get("--drain-limit", 60)) + DRAIN_REST
        grace = pod["terminationGracePeriodSeconds"]
        self.expect(grace >= least, f"it is killed after {grace} s and may drain for {least} s")
        config = next(v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "config")
        try:
            toml = tomllib.loads(maps[config]["dunlin.toml"])
        except tomllib.TOMLDecodeError as error:
            self.expect(False, f"dunlin.toml: {error}")
            return
        self.expect(toml.keys() <= self.keys, f"no keys of dunlin.toml: {toml.keys() - self.keys}")
        self.expect(type(toml.get("threads", 1)) is int, "threads is no whole number")

    def command_line(self, arguments: list[str]) -> dict[str, str]:
        self.expect(arguments[0] == "serve", "it does not serve")
        given = dict(a.partition("=")[::2] for a in arguments[1:])
        unknown = given.keys() - self.options
        self.expect(not unknown, f"`dunlin serve` has no {sorted(unknown)}")
        closed = "--tls-cert" in given and ("--users" in given or given["--roles"] != "gateway")
        self.expect(closed or "--insecure" in given, "the program would refuse to listen")
        return given

    def ports(self, container: dict, given: dict[str, str]) -> None:
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for name, port in ports.items():
            said = given.get(f"--{name}-port")
            self.expect(said == str(port), f"port {name} is {port}, but the program listens on {said}")
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"),
                            ("readinessProbe", "/readyz")):
            get = container[probe]["httpGet"]
            self.expect((get["path"], get["port"]) == (path, "admin"), f"{probe} asks {get}")

    def volumes(self, workload: dict, pod: dict, container: dict, given: dict[str, str]) -> None:
        claims = workload["spec"].get("volumeClaimTemplates", [])
        volumes = {v["name"] for v in pod["volumes"]} | {c["metadata"]["name"] for c in claims}
        mounts = {m["name"]: m for m in container["volumeMounts"]}
        self.expect(mounts.keys() == volumes, f"mounts {sorted(mounts)}, volumes {sorted(volumes)}")
        writable = [m["mountPath"] for m in mounts.values() if not m.get("readOnly")]
        self.expect(given.get("--scratch") in writable, "its scratch folder is not writable")
        for name in ("--config", "--tls-cert", "--tls-key", "--tls-ca"):
            if name in given:
                folder = str(Path(given[name]).parent)
                found = any(m["mountPath"] == folder for m in mounts.values())
                self.expect(found, f"nothing is mounted for {name}={given[name]}")

    def selects(self, resource: dict, pods: list[dict]) -> None:
        spec = resource["spec"]
        chosen = spec.get("podSelector", spec.get("selector"))
        chosen = chosen.get("matchLabels", chosen)
        found = [p for p in pods if chosen.items() <= p["metadata"]["labels"].items()]
        self.expect(len(found) == 1, f"it selects {len(found)} kinds of pods")
        ports = [p.get("targetPort", p.get("port")) for p in spec.get("ports", [])]
        ports += [p["port"] for rule in spec.get("ingress", []) for p in rule["ports"]]
        names = {p["name"] for f in found for c in f["spec"]["containers"] for p in c["ports"]}
        self.expect(set(ports) <= names, f"ports {ports}, but the pods have {sorted(names)}")


def main() -> int:
    parser = argparse.ArgumentParser()
    for tool in ("helm", "kubeconform", "schemas"):
        parser.add_argument(f"--{tool}", required=True)
    parser.add_argument("versions", nargs="+", help="of Kubernetes, the newest last")
    checker = Checker(parser.parse_args())
    resources = 0
    sets = sorted((CHART / "tests").glob("*.yaml"))
    refused = sorted((CHART / "tests/refused").glob("*.yaml"))
    for file in sets:
        resources += checker.values(file)
    for file in refused:
        checker.refused(file)
    examples = sorted((ROOT / "charts/examples").glob("*.yaml"))
    for file in examples:
        checker.where = f"examples/{file.name}"
        checker.conform(file.read_text())
    for problem in checker.problems:
        print(problem, file=sys.stderr)
    print(f"{len(sets)} sets of values, {resources} resources, {len(examples)} examples, "
          f"{len(refused)} refusals: {len(checker.problems)} problems")
    return 1 if checker.problems or not sets or not refused or not examples else 0


if __name__ == "__main__":
    sys.exit(main())
