"""Role: the ways of running the service that are compared, and one such service while it is measured.
Callers: bench.py.
Law: the product's own binaries, but for the workers that lack a layer (tests/bench/without_*.cc): those exist here
only.
"""
import dataclasses
import json
import os
import pathlib

from service import AS_ROOT, SERVICE_UID, Service, descendants, eventually, stat_fields

TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Variant:
    name: str
    what: str
    arguments: tuple = ()
    worker: str = "worker/coderunner-worker"  # below the build directory
    runner: str = "warm"
    ordinary_user: bool = False


MAIN = [Variant("warm", "the default"), Variant("fresh", "--runner=fresh", ("--runner=fresh",), runner="fresh")]
LAYERS = [
    Variant("no filter", "warm, no system-call filter", worker="tests/bench/worker-without-filter"),
    Variant("no network ns", "warm, the host's network namespace", worker="tests/bench/worker-without-network"),
    Variant("no own /proc", "warm, the host's /proc", worker="tests/bench/worker-without-proc"),
    Variant("reduced", "--sandbox=reduced: no namespaces", ("--sandbox=reduced",), runner=None),
]
if AS_ROOT:
    LAYERS.append(Variant("no cgroup", "warm, as an ordinary user: no cgroups", ordinary_user=True))


class MeasuredService(Service):
    """A service whose log is drained at little cost, and whose processes can be asked what they use."""

    def __init__(self, variant, build, workers, preload):
        more = [f"--preload={preload}"] if preload else []
        super().__init__(*variant.arguments, *more, workers=workers)
        self.variant, self.build = variant, pathlib.Path(build)

    def install(self):
        os.environ["CODERUNNER_BIN"] = str(self.build / "supervisor/coderunner")
        os.environ["CODERUNNER_WORKER_BIN"] = str(self.build / self.variant.worker)
        super().install()

    def command(self, *words):
        if self.variant.ordinary_user:
            return ["/usr/bin/setpriv", f"--reuid={SERVICE_UID}", f"--regid={SERVICE_UID}", "--clear-groups", "--",
                    self.binary, *words]
        return super().command(*words)

    def _read_log(self):
        self.lines.append(json.loads(self.process.stdout.readline()))
        while self.process.stdout.read1(1 << 20):
            pass

    def __enter__(self):
        super().__enter__()
        try:
            if self.variant.runner:
                eventually(self._runs_as_it_will, f"{self.variant.runner} runners", 120)
        except BaseException:
            self._abandon()
            raise
        return self

    def _runs_as_it_will(self):
        runs = [self.post({"script": "pass", "detail": True}).json["run"]["runner"] for _ in range(2 * self.workers)]
        return set(runs) == {self.variant.runner}

    def wait_until_idle(self):
        """What is prepared for the next job is paid for by the last one."""
        eventually(self.idle, "an idle service", 30)

    def cpu_seconds(self):
        """Processor time used so far by what is there and by what it has reaped: supervisor, workers, runners."""
        def seconds(pids, fields):
            return sum(int(stat[n]) for stat in map(stat_fields, pids) if stat for n in fields) / TICK
        own, reaped = (11, 12), (13, 14)  # utime and stime, cutime and cstime (proc(5), counted from the third field)
        workers, templates = self.worker_pids(), self.templates()
        return {"supervisor": seconds([self.process.pid], own), "worker": seconds(workers, own),
                "runner": seconds(workers, reaped) + seconds(templates, own + reaped)}

    def memory(self):
        """KiB of the idle service: per parked runner, and of all its processes; None where /proc does not tell."""
        self.wait_until_idle()
        runners = [rollup(pid) for pid in self.runners()]
        everything = [rollup(pid) for pid in (self.process.pid, *descendants(self.process.pid))]
        if not runners or None in runners or None in everything:
            return None
        return {"runner_pss_kib": mean(r["Pss"] for r in runners),
                "runner_private_kib": mean(r["Private_Clean"] + r["Private_Dirty"] for r in runners),
                "all_pss_kib": sum(r["Pss"] for r in everything)}


def rollup(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)
