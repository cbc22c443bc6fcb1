"""Role: a wall clock that jumps moves nothing: only what is shown to people is of it.
Callers: meson test, once a mode of starting the service.
"""
import ast
import concurrent.futures
import datetime
import email.utils
import json
import mmap
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from contract import ServiceTest, main
from live_stream import EVENTS, LINES, Stream
from service import Service, eventually

PROGRAMS = pathlib.Path(os.environ["TEST_PROGRAMS"])
TREE = pathlib.Path(__file__).resolve().parents[2]
DAY = 24 * 3600
HANGS = 120  # seconds after which an answer is taken never to come
KEEP_ALIVE = 15  # seconds of silence (SPEC, "Live output")

# Where the wall clock jumps to, seen from the true time. No duration of this test comes near the shortest jump.
JUMPS = [("a day ahead", DAY), ("a year back", -365 * DAY), ("a century ahead", 36525 * DAY), ("back home", 0)]


class Shifted(Service):
    """A service that reads a wall clock of its own (tests/support/shifted_clock.cc), and so do its workers."""

    def install(self):
        super().install()
        library, self.clock = os.path.join(self.home, "shifted_clock.so"), os.path.join(self.home, "clock")
        shutil.copy(PROGRAMS / "libshifted_clock.so", library)
        pathlib.Path(self.clock).write_bytes(bytes(16))
        os.chmod(self.clock, 0o666)
        sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.env |= {"LD_PRELOAD": library, "SHIFTED_CLOCK": self.clock, "ASAN_OPTIONS": sanitizer.lstrip(":")}

    def jump(self, seconds):
        with open(self.clock, "r+b") as file, mmap.mmap(file.fileno(), 16) as shift:
            shift[:8] = struct.pack("=q", seconds)

    def programs(self):
        """How many programs have begun under this clock."""
        return struct.unpack("=qq", pathlib.Path(self.clock).read_bytes())[1]


class Jumps(ServiceTest):
    service_class = Shifted
    workers = 4

    def setUp(self):
        self.threads = self.enterContext(concurrent.futures.ThreadPoolExecutor(16))

    def timed(self, fields):
        """An answer, and how long it took."""
        start = time.monotonic()
        answer = self.service.post({**fields, "detail": True}, timeout=HANGS)
        return answer, time.monotonic() - start

    def start(self, script, **fields):
        return self.threads.submit(self.timed, {"script": script, **fields})

    def result(self, future, seconds_at_least=0):
        """The result of a run whose durations are all true ones."""
        answer, took = future.result()
        self.assertEqual(answer.status, 200, answer)
        self.assertGreaterEqual(took, seconds_at_least)
        usage = {name: value for name, value in answer.json["run"]["usage"].items() if name.endswith("_ms")}
        self.assertEqual(set(usage), {"queue_ms", "setup_ms", "run_ms", "collect_ms", "cpu_ms"})
        usage |= {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([^,]*)", answer.headers["Server-Timing"])}
        for name, ms in usage.items():
            # A second more, as processor time is counted in ticks and by several processors.
            self.assertTrue(0 <= ms <= 1000 * (took + 1) * os.cpu_count(), (name, ms, took))
        return answer.json

    def keep(self):
        """A connection that has been served once, and does not dial again by itself."""
        connection = self.service.connect()
        self.addCleanup(connection.close)
        connection.connect()
        connection.auto_open = 0
        return connection

    def serve_again(self, connection):
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())["leaks"]), (200, 0))

    def begin_body(self):
        """A request whose second half is yet to come."""
        connection, body = self.keep(), json.dumps({"script": "print('in halves')"}).encode()
        connection.putrequest("POST", "/api/run")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:9])
        return connection, body[9:]

    def live(self, form):
        """What a silent script's live answer consists of, and how long it took."""
        start = time.monotonic()
        stream = Stream(self.service, {"script": f"import time; time.sleep({KEEP_ALIVE + 2}); print('end')"}, form)
        try:
            return list(stream.read_head().events()), time.monotonic() - start
        finally:
            stream.close()

    def test_jobs_deadlines_queue_and_connections_do_not_notice(self):
        idle = [self.keep() for _ in range(4)]
        for connection in idle:
            self.serve_again(connection)
        began = time.monotonic()
        live = [self.threads.submit(self.live, form) for form in (EVENTS, LINES)]
        self.service.wait_busy(2)
        for name, offset in JUMPS:
            with self.subTest(name):
                # Long enough for all of them to be seen where they are meant to be before the first one ends.
                sleeper = self.start("import time; time.sleep(5); print('slept')")
                late = self.start("print('kept', flush=True)\nimport time; time.sleep(600)", timeout_s=4)
                self.service.wait_busy(4)
                queued = [self.start(f"print({number})") for number in range(3)]
                eventually(lambda: self.service.health()["queue"] == 3, "three that wait")
                slow, rest = self.begin_body()
                self.service.jump(offset)
                slow.send(rest)
                self.assertEqual(json.loads(slow.getresponse().read())["stdout"], "in halves\n")
                self.assertEqual(self.result(sleeper, 5)["stdout"], "slept\n")
                result = self.result(late, 4)
                self.assertEqual((result["exit_code"], result["stdout"]), (124, "kept\n"))
                self.assertGreaterEqual(result["run"]["usage"]["run_ms"], 4000)
                self.assertEqual([self.result(run)["stdout"] for run in queued], ["0\n", "1\n", "2\n"])
                for connection in idle:
                    self.serve_again(connection)
                self.check_what_is_shown(offset)
        for one in live:
            events, took = one.result()
            silences = events.count(("keepalive", {}))
            self.assertTrue(1 <= silences <= took // KEEP_ALIVE, (silences, took))
            said = "".join(fields["data"] for name, fields in events if name == "stdout")
            self.assertEqual(said, "end\n")
            self.assertEqual(events[-1][1]["exit_code"], 0, events)
        self.check_metrics(time.monotonic() - began)

    def check_what_is_shown(self, offset):
        """The lines of the log and the Date header are of the clock that has jumped; their durations are not."""
        answer, took = self.timed({"script": "pass"})

        def lines():
            mine = [line for line in self.service.lines if line.get("request_id") == answer.headers["X-Request-Id"]]
            return mine if len(mine) == 2 else None
        shown = eventually(lines, "the lines of a run")
        self.assertTrue(0 <= shown[1]["duration_ms"] <= 1000 * (took + 1), shown)
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
        for then in (*(datetime.datetime.fromisoformat(line["time"]) for line in shown),
                     email.utils.parsedate_to_datetime(answer.headers["Date"])):
            self.assertLess(abs((now - then).total_seconds()), HANGS)

    def check_metrics(self, took):
        text = self.service.request("GET", "/metrics").body.decode()
        samples = [(name, float(value)) for name, value in re.findall(r"^([a-z]\S*) (\S+)$", text, re.M)]
        self.assertTrue(samples)
        jobs = sum(value for name, value in samples if name.startswith("coderunner_jobs_total"))
        for name, value in samples:
            self.assertGreaterEqual(value, 0, name)
            if name.endswith("_seconds_sum"):
                self.assertLess(value, min(DAY, jobs * (took + HANGS)), name)

    def test_workers_are_born_and_end_under_it(self):
        for name, offset in JUMPS:
            with self.subTest(name):
                before, worker = self.service.programs(), self.service.worker_pids()[0]
                self.service.jump(offset)
                os.kill(worker, signal.SIGKILL)
                eventually(lambda: worker not in self.service.worker_pids(), "the worker gone", 30)
                eventually(self.service.idle, "another worker", HANGS)
                self.assertEqual(self.service.programs(), before + 1, "the worker has begun under the shifted clock")
                self.assert_still_serves()


class Sources(unittest.TestCase):
    """Who can read the wall clock at all, or wait for a time of it: what the product's objects ask of the C library
    tells, however it is spelled in the sources."""

    WALL = re.compile(r"(std::chrono::(_V2::)?(system|utc|tai|gps)_clock::now|time|gettimeofday|timespec_get|ftime"
                      r"|clock_(gettime|nanosleep)|timer_create|timerfd_create"
                      r"|pthread_\w+_(timed\w+|clock\w+)|(sem|mq|mtx|cnd)_(timed|clock)\w+)(\(.*)?")
    ALLOWED = {
        ("audit.cc", "std::chrono::_V2::system_clock::now()"): "the time of a line of the audit log",
        ("serve_command.cc", "std::chrono::_V2::system_clock::now()"): "the time of the first line of the log",
        ("http_reply_head.cc", "std::chrono::_V2::system_clock::now()"): "the Date header (RFC 9110, section 6.6.1)",
        ("sandbox.cc", "clock_gettime"): "the processor time of a process",
        ("pool.cc", "pthread_cond_clockwait"): "std::condition_variable::wait_for, which waits on CLOCK_MONOTONIC",
    }

    def undefined(self, *objects):
        """(source, symbol) of what is asked of libraries."""
        lines = subprocess.run(["nm", "--undefined-only", "--demangle", "--print-file-name", *objects], check=True,
                               capture_output=True, text=True, timeout=60).stdout
        return re.findall(r"([^/:]+)\.o:\s+U (.*?)(?:@.*)?$", lines, re.M)

    def wall(self, *objects):
        return {(source, symbol) for source, symbol in self.undefined(*objects) if self.WALL.fullmatch(symbol)}

    def test_only_times_that_are_shown_come_from_the_wall_clock(self):
        build = PROGRAMS.parent
        objects = [path for kind in ("common", "supervisor", "worker")
                   for path in (*(build / kind).glob("*.a"), *(build / kind).glob("*.p/main.cc.o"))]
        self.assertEqual(len(objects), 5, "three libraries and two programs")
        self.assertEqual(self.wall(*objects), set(self.ALLOWED))

    def test_the_interpreters_bootstrap_has_no_clock(self):
        nodes = list(ast.walk(ast.parse((TREE / "worker" / "bootstrap.py").read_text())))
        imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
        imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        self.assertTrue(imported)
        self.assertEqual(imported & {"time", "datetime"}, set())

    def test_the_search_finds_every_way_to_ask(self):
        system = "std::chrono::_V2::system_clock::now()"
        calls = {"std::time(nullptr)": {"time"}, "::gettimeofday(&v, nullptr)": {"gettimeofday"},
                 "timespec_get(&s, TIME_UTC)": {"timespec_get"}, "clock_gettime(CLOCK_REALTIME, &s)": {"clock_gettime"},
                 "std::chrono::system_clock::now()": {system},
                 "std::chrono::file_clock::now()": {system},
                 "c.wait_until(l, std::chrono::system_clock::time_point())": {system, "pthread_cond_timedwait"},
                 "std::chrono::steady_clock::now()": set(), "nanosleep(&s, nullptr)": set()}
        source = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "calls.cc")
        source.write_text("#include <chrono>\n#include <condition_variable>\n#include <ctime>\n#include <sys/time.h>\n"
                          "void f(timeval& v, timespec& s, std::condition_variable& c,\n"
                          "       std::unique_lock<std::mutex>& l) {\n"
                          + "".join(f"  (void){call};\n" for call in calls) + "}\n")
        subprocess.run(["g++", "-std=c++20", "-c", source, "-o", f"{source}.o"], check=True, timeout=120)
        self.assertEqual({symbol for _, symbol in self.wall(f"{source}.o")}, set().union(*calls.values()))


if __name__ == "__main__":
    main()
