"""Role: measures the service beside bare Python: one table, the same as JSON, and a picture.
Callers: scripts/bench; bench_test.py.
Law: a ratio to bare Python of the same run is what may be quoted; times alone say more about the machine.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import sys

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "support"))

import cold  # noqa: E402
import report  # noqa: E402
import strain  # noqa: E402
from rounds import measure  # noqa: E402
from scenarios import BYTES_A_CLIENT, SCENARIOS  # noqa: E402
from variants import LAYERS, MAIN, MeasuredService  # noqa: E402


def arguments(words):
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures the service beside bare Python.")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer rounds and clients, no layers")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated")
    parser.add_argument("--strain", action="store_true",
                        help="instead: live output, cancelling, deadlines, and answers among many connections")
    parser.add_argument("--cold", action="store_true", help="instead: from the service's start to the first answer")
    parser.add_argument("--layers", action="store_true",
                        help="with each layer of the sandbox off in turn, also when --quick")
    parser.add_argument("--clients", type=int, action="append", help="only with as many clients; may be repeated")
    parser.add_argument("--rounds", type=int, help="how often the variants take turns (3; quick: 2)")
    parser.add_argument("--seconds", type=float, help="of load a round and variant (2; quick: 0.5)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of each service (one a processor)")
    parser.add_argument("--preload", help="as of coderunner serve")
    parser.add_argument("--build", default=os.environ.get("BENCH_BUILD", TREE / "build"), help="the build directory")
    parser.add_argument("--out", help="where results.json and results.png go (BUILD/bench)")
    chosen = parser.parse_args(words)
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 3)
    chosen.seconds = chosen.seconds or (0.5 if chosen.quick else 2.0)
    chosen.layers |= not chosen.quick
    chosen.out = pathlib.Path(chosen.out or pathlib.Path(chosen.build, "bench"))
    return chosen


def available_bytes():
    fields = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def machine():
    model = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    return {"processors": os.cpu_count(), "model": model[0] if model else "", "kernel": platform.release(),
            "python": platform.python_version(), "load_before": os.getloadavg()[0], "root": os.geteuid() == 0}


def note(text):
    print(text, file=sys.stderr, flush=True)


def cases(chosen):
    for scenario in SCENARIOS.values():
        if chosen.scenario and scenario.name not in chosen.scenario:
            continue
        for clients in chosen.clients or (scenario.quick_clients if chosen.quick else scenario.clients):
            if clients * BYTES_A_CLIENT.get(scenario.name, 0) * 2 > available_bytes():
                note(f"{scenario.name} with {clients} clients: left out, the memory may not suffice")
            else:
                yield scenario, clients


def bench(chosen):
    result = {"machine": machine(), "rounds": chosen.rounds, "seconds": chosen.seconds, "workers": chosen.workers,
              "rows": [], "memory_kib": {}}

    def start(stack, variant):
        return stack.enter_context(MeasuredService(variant, chosen.build, chosen.workers, chosen.preload))

    def run(scenario, clients, services):
        note(f"{scenario.name}, {clients} clients: bare, {', '.join(service.variant.name for service in services)}")
        return measure(chosen.build, scenario, clients, services, chosen.rounds, chosen.seconds)

    with contextlib.ExitStack() as stack:
        services = [start(stack, variant) for variant in MAIN]
        for service in services:
            result["memory_kib"][service.variant.name] = service.memory()
        for scenario, clients in cases(chosen):
            result["rows"] += run(scenario, clients, services)
        if chosen.layers:
            for variant in LAYERS:
                with contextlib.ExitStack() as one:
                    lacking = start(one, variant)
                    result["memory_kib"][variant.name] = lacking.memory()
                    for clients in chosen.clients or (1, 8):
                        rows = run(SCENARIOS["hello"], clients, [services[0], lacking])
                        result["rows"] += [{**row, "scenario": f"hello, {variant.name}"} for row in rows]
    return result


def main(words):
    chosen = arguments(words)
    if chosen.strain:
        return strain.main(chosen)
    if chosen.cold:
        return cold.main(chosen)
    result = bench(chosen)
    chosen.out.mkdir(parents=True, exist_ok=True)
    pathlib.Path(chosen.out, "results.json").write_text(json.dumps(result, indent=1) + "\n")
    report.picture(result["rows"], chosen.out / "results.png")
    print(report.table(result["rows"]))
    print()
    print(report.memory_table(result["memory_kib"]))
    note(f"written: {chosen.out}/results.json, {chosen.out}/results.png")


if __name__ == "__main__":
    main(sys.argv[1:])
