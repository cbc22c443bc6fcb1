"""Role: GET /metrics: that the text is what Prometheus reads, and that each figure moves when it should.
Callers: meson test, in the modes that tests/meson.build names.
"""
import concurrent.futures
import os
import re
import signal
import unittest

from contract import ServiceTest, main
from service import RUNNER, eventually

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (\+Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")
KINDS = ("counter", "gauge", "histogram")


def parse(text):
    """The Prometheus text format, version 0.0.4, strictly: {family: (kind, {(sample, labels): value})}."""
    assert text.endswith("\n"), "the last line has an end"
    families, current = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, words = line[7:].partition(" ")
            assert re.fullmatch(NAME, current) and words, line
            assert current not in families, f"{current}: twice"
            families[current] = (None, {})
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and kind in KINDS and families[name] == (None, {}), line
            families[name] = (kind, {})
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            kind, samples = families[current]
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert name in {current + suffix for suffix in suffixes}, line
            key = (name, frozenset(re.findall(r'([a-zA-Z_0-9]+)="((?:[^"\\]|\\.)*)"', labels or "")))
            assert key not in samples, f"{line}: twice"
            samples[key] = float(value)
    return families


def check_family(name, kind, samples):
    """The conventions: units and suffixes in names, and histograms that add up."""
    assert kind in KINDS and samples, f"{name}: no type, or no sample"
    assert (kind == "counter") == name.endswith("_total"), f"{name}: only a counter ends with _total"
    if kind != "histogram":
        return
    assert name.endswith(("_seconds", "_bytes")), f"{name}: base units"
    buckets = [(float(dict(labels)["le"]), value) for (sample, labels), value in samples.items()
               if sample == name + "_bucket"]
    assert buckets == sorted(buckets) and [count for _, count in buckets] == sorted(count for _, count in buckets), name
    assert buckets[-1] == (float("inf"), samples[name + "_count", frozenset()]), name


class Metrics(ServiceTest):
    """What a monitoring system reads."""

    workers = 1

    def page(self):
        answer = self.service.request("GET", "/metrics")
        self.assertEqual((answer.status, answer.headers["Content-Type"]),
                         (200, "text/plain; version=0.0.4; charset=utf-8"))
        return parse(answer.body.decode())

    def value(self, name, **labels):
        family = re.sub("_(bucket|sum|count)$", "", name) if name not in (page := self.page()) else name
        return page[family][1].get((name, frozenset(labels.items())), 0)

    def assert_moves(self, act, rows):
        """`act` adds exactly so much to each of `rows`: (name, labels, amount), or a lower bound as a string."""
        before = [self.value(name, **labels) for name, labels, _ in rows]
        act()
        for (name, labels, amount), old in zip(rows, before):
            with self.subTest(name, **labels):
                moved = self.value(name, **labels) - old
                if isinstance(amount, str):
                    self.assertGreater(moved, float(amount))
                else:
                    self.assertEqual(moved, amount)

    def test_the_text_is_well_formed_and_follows_the_conventions(self):
        self.run_script("pass")
        for name, (kind, samples) in self.page().items():
            check_family(name, kind, samples)

    def test_head_and_keys(self):
        self.assertEqual(self.service.request("HEAD", "/metrics").body, b"")
        self.assertEqual(self.service.request("POST", "/metrics", b"").status, 405)

    def test_a_run_moves_its_mode_its_bytes_and_its_times(self):
        text = "open('output/a', 'w').write('abc')\nprint('four', end='')\nimport sys\nsys.stderr.write('sixsix')"
        sent = len(text) + len("script.py") + len("stdin")

        def labels(mode):
            return {"path": "/api/run", "mode": mode, "status": "200"}
        timed = [(f"coderunner_{step}_seconds_count", {}, 1) for step in ("queue", "setup", "run", "collect")]
        self.assert_moves(lambda: self.run_script(text, stdin="stdin"), [
            ("coderunner_http_requests_total", labels("script"), 1),
            ("coderunner_http_requests_total", labels("raw"), 0),
            ("coderunner_jobs_total", {"verdict": "ok"}, 1),
            ("coderunner_input_bytes_total", {}, sent),
            ("coderunner_output_bytes_total", {"kind": "stdout"}, 4),
            ("coderunner_output_bytes_total", {"kind": "stderr"}, 6),
            ("coderunner_output_bytes_total", {"kind": "artifacts"}, 3),
            ("coderunner_run_seconds_sum", {}, "0"),
            ("coderunner_job_cpu_seconds_total", {}, "0"),
            ("coderunner_job_peak_memory_bytes_count", {}, 1),
            ("coderunner_job_peak_memory_bytes_sum", {}, "1e6"),
            ("coderunner_leaks_total", {}, 0),
            *timed])
        self.assert_moves(lambda: self.service.post_raw("pass"),
                          [("coderunner_http_requests_total", labels("raw"), 1)])
        self.assert_moves(lambda: self.run_files({"m.py": "pass"}, "m.py"),
                          [("coderunner_http_requests_total", labels("files"), 1)])

    def test_warm_and_fresh_runners_are_told_apart(self):
        def counts():
            return {kind: self.value("coderunner_runners_total", runner=kind) for kind in ("warm", "fresh")}
        before = counts()
        ran = self.run_script("pass", detail=True)["run"]["runner"]
        self.assertEqual({kind: counts()[kind] - before[kind] for kind in before},
                         {"warm": 0, "fresh": 0, ran: 1})

    def test_templates_are_counted_when_they_come_fork_and_go(self):
        names = [f"coderunner_template_{what}_total" for what in ("births", "losses", "forks")]
        births, losses, forks = (self.value(name) for name in names)
        if RUNNER == "fresh":
            self.assertEqual((births, losses, forks), (0, 0, 0))
            return
        self.assertGreater(forks, 0)
        templates = self.service.templates()
        self.run_script("pass")
        eventually(lambda: self.value(names[2]) == forks + 1, "the fork after the job")
        for pid in templates:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(self.service.templates() - templates) == len(templates), "others")
        # The worker tells when it has a sandbox of the new ones.
        eventually(lambda: [self.value(name) for name in names[:2]] ==
                           [births + len(templates), losses + len(templates)],
                   "the births and losses in the figures")
        self.service.remember()

    def test_memory_is_told_by_who_holds_it(self):
        def resident(process):
            return self.value("coderunner_resident_memory_bytes", process=process)
        for process, least in (("workers", 1 << 20), ("sandboxes", 4 << 20),
                               ("templates", (4 << 20) * (RUNNER == "warm"))):
            eventually(lambda: resident(process) >= least, f"{process}, with a parked interpreter")
        if RUNNER == "fresh":
            self.assertEqual(resident("templates"), 0)
        held = 128 << 20
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            before = resident("sandboxes")
            answer = threads.submit(self.service.post, {"script": f"x = bytearray(b'x' * {held})\nwhile True: pass",
                                                        "timeout_s": 4})
            eventually(lambda: resident("sandboxes") - before >= held, "the job's memory")
            self.assertLess(resident("workers"), held)
            self.assertEqual(answer.result().json["exit_code"], 124)
        eventually(lambda: resident("sandboxes") < held, "its end")

    def test_refusals_are_counted_by_status_and_never_by_a_path_of_the_client_s(self):
        def requests(path, status):
            return "coderunner_http_requests_total", {"path": path, "mode": "none", "status": str(status)}, 1
        self.assert_moves(lambda: self.service.post({}), [requests("/api/run", 400)])
        self.assert_moves(lambda: self.service.request("GET", "/api/run"), [requests("/api/run", 405)])
        self.assert_moves(lambda: self.service.request("GET", "/nowhere"), [requests("other", 404)])
        self.assert_moves(self.service.health, [requests("/api/health", 200)])
        self.assertNotIn("nowhere", self.service.request("GET", "/metrics").body.decode())

    def test_verdicts_are_told_apart(self):
        scripts = [("error", {"script": "1/0"}), ("timeout", {"script": "while True: pass", "timeout_s": 1}),
                   ("killed", {"script": "import os; os.kill(os.getpid(), 9)"})]
        for verdict, fields in scripts:
            self.assert_moves(lambda: self.service.post(fields), [
                ("coderunner_jobs_total", {"verdict": verdict}, 1), ("coderunner_jobs_total", {"verdict": "ok"}, 0)])

    def test_running_and_waiting_jobs_are_seen_and_cancelled_ones_counted(self):
        for name in ("coderunner_jobs_running", "coderunner_queue_jobs", "coderunner_queue_bytes"):
            self.assertEqual(self.value(name), 0)
        cancelled = self.value("coderunner_jobs_total", verdict="cancelled")
        clients = []
        for waiting in (0, 1):
            client = self.service.connect()
            client.request("POST", "/api/run", b'{"script": "while True: pass"}')
            clients.append(client)
            eventually(lambda: self.value("coderunner_queue_jobs") == waiting and
                       self.value("coderunner_jobs_running") == 1, f"one that runs, {waiting} that wait")
        self.assertGreater(self.value("coderunner_queue_bytes"), 0)
        self.assertEqual(self.value("coderunner_workers", state="busy"), 1)
        for client in reversed(clients):
            client.close()
        eventually(lambda: self.value("coderunner_jobs_total", verdict="cancelled") == cancelled + 2, "two cancelled")
        eventually(lambda: self.value("coderunner_workers", state="ready") == 1, "the worker ready again", 20)
        self.assertEqual(self.value("coderunner_queue_bytes"), 0)

    def test_a_lost_worker_is_an_internal_error_and_a_respawn(self):
        def lose():
            with concurrent.futures.ThreadPoolExecutor(1) as threads:
                answer = threads.submit(self.service.post, {"script": "while True: pass"})
                self.service.spinning()
                os.kill(self.service.worker_pids()[0], signal.SIGKILL)
                self.assertEqual(answer.result().json["exit_code"], -1)
            eventually(self.service.idle, "another worker", 30)
        self.assert_moves(lose, [("coderunner_worker_respawns_total", {}, 1), ("coderunner_worker_births_total", {}, 1),
                                 ("coderunner_jobs_total", {"verdict": "internal_error"}, 1),
                                 ("coderunner_run_seconds_count", {}, 0)])

    def test_the_process_s_own_figures_are_the_kernel_s(self):
        def seen():
            with open(f"/proc/{self.service.process.pid}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        self.assertAlmostEqual(self.value("process_resident_memory_bytes") / seen(), 1, delta=0.5)
        many = 60  # above what an idle service of one worker holds
        connections = [self.service.connect() for _ in range(many)]
        for connection in connections:
            connection.request("GET", "/")
            connection.getresponse().read()
        self.assertGreater(self.value("process_open_fds"), many)
        for connection in connections:
            connection.close()
        eventually(lambda: 3 < self.value("process_open_fds") < many, "the connections gone")


class Parser(unittest.TestCase):
    """The parser of this test refuses what Prometheus would."""

    def test_what_is_not_the_format_is_refused(self):
        head = "# HELP a_total x\n# TYPE a_total counter\n"
        parse(head + "a_total 1\n")
        for wrong in ("a_total 1\n", head + "a_total 1", head + "b_total 1\n", head + "a_total x\n",
                      head + "a_total 1\na_total 1\n", head + head, head + 'a_total{l=x} 1\n', head + "a_total  1\n"):
            with self.subTest(wrong), self.assertRaises((AssertionError, AttributeError, KeyError)):
                parse(wrong)


if __name__ == "__main__":
    main()
