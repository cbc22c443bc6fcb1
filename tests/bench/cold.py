"""Role: measures a cold start: from the exec of `coderunner` to the first script's answer, beside `python3 -c pass`.
Callers: scripts/bench --cold; bench_test.py.
Law: both take turns, and a start begins only when all of the one before has gone. The client asks before anybody
listens, as one does that has started the service for its request.
"""
import http.client
import json
import shutil
import socket
import subprocess
import time

from report import aligned
from rounds import percentile
from service import AS_ROOT, PYTHON, SERVICE_UID
from variants import MeasuredService, Variant

ASK_AGAIN = 0.0005  # seconds between attempts to connect
COLD = [Variant("as configured", "the defaults"), Variant("reduced", "--sandbox=reduced", ("--sandbox=reduced",))]
if AS_ROOT:
    COLD.insert(1, Variant("as an ordinary user", "no cgroups", ordinary_user=True))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def first_answer(port):
    """Asks until somebody listens, and then waits for the answer to a hello."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            time.sleep(ASK_AGAIN)
    try:
        connection.request("POST", "/api/run", json.dumps({"script": "print('hello')"}),
                           {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if answer["stdout"] != "hello\n":
        raise SystemExit(f"a first run that failed: {answer}")


def start_once(service):
    port, user = free_port(), SERVICE_UID if service.variant.ordinary_user else None
    words = [service.binary, "serve", f"--listen=127.0.0.1:{port}", f"--workers={service.workers}",
             *service.variant.arguments]
    began = time.monotonic()
    process = subprocess.Popen(words, env=service.environment(), cwd="/", user=user, group=user,
                               extra_groups=None if user is None else [], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first_answer(port)
        return time.monotonic() - began
    finally:
        process.terminate()
        process.wait(timeout=60)


def bare_once():
    began = time.monotonic()
    subprocess.run([PYTHON, "-c", "pass"], stdin=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def measure(build, workers, times):
    """(which, seconds of each cold start, seconds of each bare start), in turn."""
    for variant in COLD:
        service = MeasuredService(variant, build, workers, None)
        service.install()
        try:
            pairs = [(start_once(service), bare_once()) for _ in range(times)]
        finally:
            shutil.rmtree(service.home)
        yield variant.name, sorted(cold for cold, _ in pairs), sorted(bare for _, bare in pairs)


def main(chosen):
    lines = [["cold start", "times", "p50 ms", "p90 ms", "bare p50 ms", "p50 / bare"]]
    for name, cold, bare in measure(chosen.build, chosen.workers, 10 if chosen.quick else 40):
        ratio = percentile(cold, 0.5) / percentile(bare, 0.5)
        times = [percentile(cold, 0.5), percentile(cold, 0.9), percentile(bare, 0.5)]
        lines.append([name, str(len(cold)), *(f"{1000 * seconds:.0f}" for seconds in times), f"{ratio:.2f}"])
    print(aligned(lines))
