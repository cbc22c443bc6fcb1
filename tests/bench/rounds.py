"""Role: measures one scenario with some clients: the variants and bare Python in turn, round after round.
Callers: bench.py.
Law: whatever is compared runs within the same seconds, so that a busy machine slows all of it alike.
"""
import json
import os
import pathlib
import subprocess
import tempfile

from service import PYTHON


class Loader:
    """The load program with its files in place."""

    def __init__(self, build, scenario):
        self.program = os.path.join(build, "tests/bench/load")
        self.scenario = scenario
        self.folder = tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp")
        files = {"script.py": scenario.script, "input": scenario.stdin,
                 "body": json.dumps({"script": scenario.script, "stdin": scenario.stdin})}
        for name, text in files.items():
            pathlib.Path(self.folder.name, name).write_text(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def bare(self, clients, seconds):
        return self._run("bare", PYTHON, self.folder.name, self.path("input"), str(self.scenario.output_bytes),
                         clients, seconds)

    def http(self, port, clients, seconds):
        return self._run("http", str(port), self.path("body"), clients, seconds)

    def _run(self, *words):
        done = subprocess.run([self.program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.scenario.name}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Cell:
    """One variant in one scenario with some clients, its rounds together."""

    def __init__(self, scenario, clients, variant):
        self.scenario, self.clients, self.variant = scenario, clients, variant
        self.latencies, self.seconds, self.cpu = [], 0.0, {}

    def add(self, told, cpu):
        self.latencies += told["latencies_us"]
        self.seconds += told["seconds"]
        for who, seconds in {**cpu, "client": told["cpu_s"]}.items():
            self.cpu[who] = self.cpu.get(who, 0.0) + seconds

    def row(self):
        ordered = sorted(self.latencies)
        return {"scenario": self.scenario, "clients": self.clients, "variant": self.variant, "jobs": len(ordered),
                **{f"p{n}_ms": percentile(ordered, n / 100) / 1000 for n in (50, 90, 99)},
                "jobs_per_s": len(ordered) / self.seconds,
                "cpu_ms_per_job": {who: 1000 * seconds / len(ordered) for who, seconds in self.cpu.items()}}


def measure(build, scenario, clients, services, rounds, seconds):
    """Rows of all services and of bare Python, with their ratios to it."""
    bare = Cell(scenario.name, clients, "bare")
    cells = {service: Cell(scenario.name, clients, service.variant.name) for service in services}
    with Loader(build, scenario) as load:
        for _ in range(rounds):
            told = load.bare(clients, seconds)
            bare.add(told, {"runner": told["children_cpu_s"]})
            for service, cell in cells.items():
                before = service.cpu_seconds()
                told = load.http(service.port, clients, seconds)
                service.wait_until_idle()
                after = service.cpu_seconds()
                cell.add(told, {who: after[who] - before[who] for who in after})
    rows = [cell.row() for cell in (bare, *cells.values())]
    for row in rows:
        row["p50_to_bare"] = row["p50_ms"] / rows[0]["p50_ms"]
        row["jobs_per_s_to_bare"] = row["jobs_per_s"] / rows[0]["jobs_per_s"]
    return rows
