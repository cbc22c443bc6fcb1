"""Role: measures what the service promises in times: live output, cancelling, deadlines, answers among many
connections.
Callers: scripts/bench --strain; bench_test.py.
Law: what is measured is seen from outside, by a client on the same machine.
"""
import contextlib
import socket
import time

from live_stream import EVENTS, LINES, Stream
from report import aligned
from rounds import Loader, percentile
from scenarios import SCENARIOS
from service import eventually
from variants import MAIN, MeasuredService

TICKING = "import os, time\nfor _ in range({}):\n    os.write(1, b'%f' % time.time())\n    time.sleep(0.02)\n"
ENDLESS = {"script": "while True: pass"}
# Beyond the deadline: what a script may be at when it comes.
BUSY_WITH = {
    "computes": "while True: pass",
    "sleeps": "import time; time.sleep(60)",
    "blocks signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "is in C code": "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
    "waits for a child": "import subprocess; subprocess.run(['sleep', '60'])",
}
IDLE, SLOW = 1000, 200
SLOW_HEAD = b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Padding: "


def milliseconds(seconds):
    return 1000 * seconds


def live_delays(service, accept, count):
    """From the script's write to the client that reads it."""
    with contextlib.closing(Stream(service, {"script": TICKING.format(count)}, accept).read_head()) as stream:
        return [milliseconds(time.time() - float(fields["data"])) for name, fields in stream.events()
                if name == "stdout"]


def cancel_delay(service, accept, queued):
    """From a client's going away to the end of its job, or its place in the queue."""
    streams = [Stream(service, ENDLESS, accept) for _ in range(service.workers)]
    service.wait_busy(service.workers)
    if queued:
        last = Stream(service, ENDLESS, accept)
        eventually(lambda: service.health()["queue"] == 1, "a request in the queue")
        began = time.monotonic()
        last.close()
        while service.health()["queue"]:
            pass
        took = time.monotonic() - began
    else:
        began = time.monotonic()
        streams.pop().close()
        while service.health()["workers"]["ready"] == 0:
            pass
        took = time.monotonic() - began
    for stream in streams:
        stream.close()
    eventually(service.idle, "an idle service", 30)
    return milliseconds(took)


def overrun(service, script):
    """How much later than its deadline a script's answer comes."""
    began = time.monotonic()
    answer = service.post({"script": script, "timeout_s": 1})
    took = time.monotonic() - began
    if answer.json["exit_code"] != 124:
        raise SystemExit(f"not a time-out: {answer}")
    return milliseconds(took - 1)


class Crowd:
    """Connections that are idle after one request each, and some that send a byte of their head a second."""

    def __init__(self, service, idle, slow):
        self.peers = []
        for number in range(idle + slow):
            peer = socket.create_connection(("127.0.0.1", service.port), timeout=60)
            self.peers.append(peer)
            if number < idle:
                peer.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                peer.recv(1000)
            else:
                peer.sendall(SLOW_HEAD)
        self.slow = self.peers[idle:]

    def drip(self):
        for peer in self.slow:
            peer.sendall(b"x")

    def close(self):
        for peer in self.peers:
            peer.close()


def answers_in_a_crowd(service, build, idle, slow, rounds):
    """Times of hello with one client, alone and among the others, in turn."""
    alone, among = [], []
    with Loader(build, SCENARIOS["hello"]) as load:
        for _ in range(rounds):
            alone += load.http(service.port, 1, 1)["latencies_us"]
            with contextlib.closing(Crowd(service, idle, slow)) as crowd:
                crowd.drip()
                among += load.http(service.port, 1, 1)["latencies_us"]
            eventually(service.idle, "an idle service", 30)
    return [one / 1000 for one in alone], [one / 1000 for one in among]


def measure(build, workers, count, rounds, idle=IDLE, slow=SLOW):
    """(what, times in milliseconds) of each."""
    with MeasuredService(MAIN[0], build, workers, None) as service:
        for name, accept in (("events", EVENTS), ("lines", LINES)):
            yield f"live output, {name}: from write to client", live_delays(service, accept, count)
        for name, accept in (("plain", "application/json"), ("live", LINES)):
            for queued in (False, True):
                yield (f"cancelled while {'queued' if queued else 'running'}, {name}: until it has ended",
                       [cancel_delay(service, accept, queued) for _ in range(rounds)])
        for name, script in BUSY_WITH.items():
            yield f"deadline of 1 s, the script {name}: answered later by", [
                overrun(service, script) for _ in range(rounds)]
        alone, among = answers_in_a_crowd(service, build, idle, slow, rounds)
        yield "hello, 1 client", alone
        yield f"hello, 1 client, among {idle} idle and {slow} slow connections", among


def main(chosen):
    rows = [(what, sorted(times)) for what, times in measure(chosen.build, chosen.workers, 200, 5)]
    lines = [["what", "times", "p50 ms", "p99 ms", "most ms"]]
    for what, times in rows:
        lines.append([what, str(len(times)), *(f"{percentile(times, share):.1f}" for share in (0.5, 0.99)),
                      f"{times[-1]:.1f}"])
    print(aligned(lines))
