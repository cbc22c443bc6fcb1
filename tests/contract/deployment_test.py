"""Role: what deploys the service names what the service has: variables, flags, ports, paths, metrics, functions.
Law: every file of scripts/azure, scripts/container and scripts/kubernetes is read here; the product itself is asked
what it knows. What only Azure, Docker or Kubernetes can tell is not tested."""
import json
import pathlib
import re
import subprocess
import unittest

import yaml
from contract import ServiceTest, main

TREE = pathlib.Path(__file__).resolve().parents[2]
AZURE, CONTAINER, KUBERNETES = (TREE / "scripts" / name for name in ("azure", "container", "kubernetes"))


def known_flags(service):
    """Every setting's flag, of the program's own --help."""
    return set(re.findall(r"^  (--[a-z-]+) ", subprocess.run(
        [service.binary, "--help"], capture_output=True, text=True, check=True).stdout, re.M))


def as_flag(variable):
    return "--" + variable.removeprefix("CODERUNNER_").lower().replace("_", "-")


def manifests():
    return [document for file in sorted(KUBERNETES.glob("*.yaml"))
            for document in yaml.safe_load_all(file.read_text())]


def manifest(kind):
    found = [document for document in manifests() if document["kind"] == kind]
    assert len(found) == 1, (kind, found)
    return found[0]


def instructions(file):
    """[(stage, instruction, rest)] of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.M).replace("\\\n", " ")
    stage, found = None, []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, word, rest.strip()))
    return found


class Deployment(ServiceTest):
    workers = 1

    def assert_settings(self, text, where):
        variables = set(re.findall(r"\bCODERUNNER_[A-Z_]+\b", text))
        flags = known_flags(self.service)
        self.assertIn("--workers", flags)
        for variable in variables:
            self.assertIn(as_flag(variable), flags, where)

    def test_every_file_names_only_settings_that_exist(self):
        files = [file for place in (AZURE, CONTAINER, KUBERNETES) for file in place.iterdir()]
        self.assertEqual(sorted(file.name for file in files),
                         ["Dockerfile", "coderunner.yaml", "consumption.bicep", "deploy", "flex.bicep"])
        for file in files:
            self.assert_settings(file.read_text(), file.name)

    # -- Kubernetes

    def test_the_pod_is_started_and_asked_as_the_service_understands_it(self):
        container = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]
        flags = known_flags(self.service)
        for argument in container["args"]:
            self.assertIn(argument.partition("=")[0], flags)
        port = container["ports"][0]["containerPort"]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        self.assertEqual(variables["CODERUNNER_LISTEN"], f"0.0.0.0:{port}")
        self.assertIn("CODERUNNER_API_KEY", variables)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            self.assertEqual(self.service.request("GET", asked["path"]).status, 200, probe)
            self.assertEqual(asked["port"], container["ports"][0]["name"])
        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/api/health")

    def test_the_pod_has_time_to_drain(self):
        pod = manifest("Deployment")["spec"]["template"]["spec"]
        grace = int(next(a for a in pod["containers"][0]["args"] if a.startswith("--grace=")).partition("=")[2])
        pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreaterEqual(grace, 300, "the longest run ends by itself")
        self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], pause + grace + 25)

    def test_the_pod_keeps_to_the_restricted_standard(self):
        namespace, pod = manifest("Namespace"), manifest("Deployment")["spec"]["template"]["spec"]
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
        self.assertIs(pod["automountServiceAccountToken"], False)
        for container in pod["containers"]:
            context = container["securityContext"]
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertIs(context["readOnlyRootFilesystem"], True)
        self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(pod))
        self.assertLessEqual({next(iter(set(volume) - {"name"})) for volume in pod["volumes"]}, {"emptyDir"})

    def test_everything_selects_the_pods_of_the_deployment(self):
        deployment = manifest("Deployment")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        selectors = [deployment["spec"]["selector"]["matchLabels"], manifest("Service")["spec"]["selector"],
                     manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                     manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
        for selector in selectors:
            self.assertEqual(selector, labels)
        target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        self.assertEqual((target["kind"], target["name"]), ("Deployment", deployment["metadata"]["name"]))
        places = {document["metadata"].get("namespace") for document in manifests() if document["kind"] != "Namespace"}
        self.assertEqual(places, {manifest("Namespace")["metadata"]["name"]})
        ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
        self.assertIn(manifest("Service")["spec"]["ports"][0]["targetPort"], ports)
        self.assertIn(manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"], ports)

    def test_the_metric_that_scales_is_measured(self):
        annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
        metrics = self.service.request("GET", annotations["prometheus.io/path"]).body.decode()
        for metric in manifest("HorizontalPodAutoscaler")["spec"]["metrics"]:
            self.assertRegex(metrics, rf"(?m)^{metric['pods']['metric']['name']} 0")

    # -- containers

    def test_the_image_is_nobodys_root_and_holds_the_package_alone(self):
        lines = instructions(CONTAINER / "Dockerfile")
        of = {stage: [(word, rest) for where, word, rest in lines if where == stage]
              for stage in ("build", "functions", "service")}
        self.assertEqual({where for where, *_ in lines}, set(of))
        self.assertEqual(lines[-1][0], "service", "the default target")
        self.assertRegex(dict(of["service"])["USER"], r"^[1-9][0-9]*:[1-9][0-9]*$")
        for stage in ("functions", "service"):
            copied = [rest for word, rest in of[stage] if word in ("COPY", "ADD")]
            self.assertEqual([rest.split()[:2] for rest in copied], [["--from=build", "/app"]])
        output = re.search(r"scripts/package .*--output (\S+)", dict(of["build"])["RUN"]).group(1)
        self.assertEqual(output, "/app")
        home = next(rest for word, rest in of["service"] if word == "COPY").split()[2]
        entry = json.loads(dict(of["service"])["ENTRYPOINT"])
        self.assertEqual(entry, [f"{home}/coderunner", "serve"])
        check = json.loads(re.search(r"CMD (\[.*\])", dict(of["service"])["HEALTHCHECK"]).group(1))
        self.assertEqual(check[0], f"{home}/python/bin/python3")
        self.assertIn(f":{dict(of['service'])['EXPOSE']}/api/health", check[2])

    def test_the_healthcheck_tells_a_service_from_none(self):
        lines = [rest for _, word, rest in instructions(CONTAINER / "Dockerfile") if word == "HEALTHCHECK"]
        command = json.loads(re.search(r"CMD (\[.*\])", lines[0]).group(1))
        for port, works in ((self.service.port, True), (1, False)):
            done = subprocess.run(["/usr/bin/python3", "-c", command[2].replace(":7071/", f":{port}/")],
                                  capture_output=True)
            self.assertEqual(done.returncode == 0, works, done)

    def test_what_was_built_stays_out_of_the_build_context(self):
        ignored = set((TREE / ".dockerignore").read_text().split())
        for line in (TREE / ".gitignore").read_text().split():
            self.assertTrue({line.strip("/"), line.lstrip("/"), "**/" + line} & ignored, line)

    # -- Azure

    def test_scripts_are_shell(self):
        for script in (AZURE / "deploy", TREE / "scripts/package"):
            done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_templates_are_whole_and_give_what_deploy_asks_for(self):
        deploy = (AZURE / "deploy").read_text()
        asked = set(re.findall(r"\$\(output (\w+)\)", deploy))
        self.assertTrue(asked)
        given = {}
        for name in ("flex", "consumption"):
            text = (AZURE / f"{name}.bicep").read_text()
            bare = re.sub(r"//.*", "", re.sub(r"'(?:[^'\\]|\\.)*'", "''", text))
            for left, right in ("{}", "[]", "()"):
                self.assertEqual(bare.count(left), bare.count(right), name)
            defined = re.findall(r"^(?:param|var|resource) (\w+)", text, re.M)
            self.assertEqual(len(defined), len(set(defined)))
            ends = {"storageRight", "insightsRight", "container"}  # made for their own sake
            for symbol in set(defined) - ends:
                self.assertGreater(len(re.findall(rf"\b{symbol}\b", text)), 1, f"{name}: {symbol} is never used")
            self.assertEqual(re.findall(r"^@description\(.*\n(?:@.*\n|  .*\n|\]\)\n)*param (\w+)", text, re.M),
                             re.findall(r"^param (\w+)", text, re.M), "each parameter says what it is for")
            self.assertIn("allowSharedKeyAccess: false", text)
            self.assertNotRegex(text, r"listKeys\(|accountKey", "no key, but the identity's rights")
            given[name] = set(re.findall(r"^output (\w+)", text, re.M))
        self.assertIn("address", given["flex"])
        self.assertLessEqual(asked, given["consumption"])

    def test_the_functions_are_those_that_the_service_answers_for(self):
        for name, method in (("run", "POST"), ("health", "GET")):
            bindings = json.loads((TREE / name / "function.json").read_text())["bindings"]
            self.assertEqual([(b["name"], b["direction"]) for b in bindings], [("req", "in"), ("res", "out")])
            self.assertIn(method.lower(), bindings[0]["methods"])
            self.assertNotEqual(self.service.request(method, f"/api/{bindings[0]['route']}", b"").status, 404)


if __name__ == "__main__":
    main()
