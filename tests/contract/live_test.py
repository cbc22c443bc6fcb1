"""Role: live output: the same run, told while it goes on, in both forms.
Callers: meson test, once a mode of starting the service.
"""
import json
import os
import pathlib
import re
import unittest

from bare_python import without_places
from contract import ServiceTest, main, script
from live_stream import EVENTS, FORMS, LINES, Stream, joined
from service import Service, eventually, sanitizer_keeps

# Scripts whose live answer, joined, is the plain answer. name, script, further fields.
SAME = [
    ("nothing", "pass", {}),
    ("both streams", "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('out again')\nsys.exit(3)", {}),
    ("an exception", "print('before')\n1/0", {}),
    ("a signal", "import os; print('x'); os.kill(os.getpid(), 9)", {}),
    ("bytes that are no text", r"import os; os.write(1, b'a\xff\xe2\x82'); os.write(2, b'\xf0\x9f')", {}),
    ("a character in pieces", r"""
        import os, time
        for byte in 'grün €😀'.encode():
            os.write(1, bytes([byte])); time.sleep(0.01)
        """, {}),
    ("artifacts", r"""
        for name, content in (('a.txt', b'text'), ('b.bin', b'\0\xff'), ('empty', b''), ('ä', 'ü\n'.encode())):
            open('output/' + name, 'wb').write(content)
        """, {}),
    ("time out", "print('before', flush=True)\nwhile True: pass", {"timeout_s": 3}),
    ("truncated output", "import sys; sys.stdout.write('ü' * (6 << 20)); sys.stderr.write('x' * (11 << 20))", {}),
]


def measured_away(run):
    """The `run` member without what differs from one run to the next."""
    return {key: value for key, value in run.items() if key not in ("usage", "runner")}


def peak_memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


class Live(ServiceTest):
    def live(self, fields, accept, **how):
        stream = Stream(self.service, fields, accept, **how)
        self.addCleanup(stream.close)
        return stream

    def test_joined_the_events_are_the_plain_answer(self):
        for name, text, fields in SAME:
            fields = {"script": script(text), **fields}
            plain = self.service.post({**fields, "detail": True}).json
            # Where a script is when its time is over differs from run to run, and so may its worker's folder.
            no_stack = lambda text: re.sub(r"(?s)(Current thread|Thread) 0x.*(?=\n\[Error)", "", text)
            line = lambda answer: without_places({**answer, "stderr": no_stack(answer["stderr"])})["stderr"]
            for accept in FORMS:
                with self.subTest(name, accept=accept):
                    stream = self.live(fields, accept).read_head()
                    self.assertEqual(stream.status, 200)
                    answer, names = joined(stream.events())
                    self.assertEqual(names[-1], "exit")
                    self.assertEqual(names.count("exit"), 1)
                    self.assertEqual(line(answer), line(plain))
                    self.assertEqual({**answer, "stderr": "", "run": measured_away(answer["run"])},
                                     {**plain, "stderr": "", "run": measured_away(plain["run"])})
                    self.assertEqual(list(answer["run"]), list(plain["run"]))

    def test_the_head_says_what_it_is_and_that_nobody_is_to_hold_it_back(self):
        for accept in FORMS:
            stream = self.live({"script": "pass"}, accept, head="X-Request-Id: mine\r\n").read_head()
            joined(stream.events())
            self.assertEqual(stream.headers["Content-Type"], accept)
            self.assertEqual(stream.headers["Transfer-Encoding"], "chunked")
            self.assertEqual(stream.headers["Cache-Control"], "no-store")
            self.assertEqual(stream.headers["X-Accel-Buffering"], "no")
            self.assertEqual(stream.headers["X-Request-Id"], "mine")
            self.assertRegex(stream.headers["Server-Timing"], r"^queue;dur=\d+\.\d$")
            self.assertNotIn("Content-Length", stream.headers)

    def test_output_comes_while_the_script_runs_and_in_order(self):
        # Each step waits for an answer that the test gives only when it has seen the step before.
        for accept in FORMS:
            stream = self.live({"script": script("""
                import sys, time
                for i in range(4):
                    print(i, file=(sys.stdout, sys.stderr)[i % 2])
                time.sleep(3600)
                """)}, accept).read_head()
            seen = ""
            for name, fields in stream.events():
                seen += fields["data"]
                if "3" in seen:
                    break
            self.assertEqual(sorted(seen.split()), ["0", "1", "2", "3"])
            stream.close()
            eventually(self.service.idle, "a free worker")

    def test_a_connection_goes_on_after_a_live_answer(self):
        stream = self.live({"script": "print(1)"}, LINES).read_head()
        self.assertEqual(joined(stream.events())[0]["stdout"], "1\n")
        stream.send({"script": "print(2)"})
        self.assertEqual(joined(stream.read_head().events())[0]["stdout"], "2\n")

    def test_http_1_0_is_told_by_the_end_of_the_connection(self):
        for accept in FORMS:
            stream = self.live({"script": "print(1)"}, accept, version="1.0",
                               head="Connection: keep-alive\r\n").read_head()
            self.assertNotIn("Transfer-Encoding", stream.headers)
            self.assertEqual(stream.headers["Connection"], "close")
            self.assertEqual(joined(stream.events())[0]["stdout"], "1\n")

    def test_the_highest_weight_decides(self):
        for accept, kind in ((f"{LINES};q=0.5, {EVENTS};q=0.9", EVENTS), ("*/*", "application/json"),
                             (f"{EVENTS};q=0", "application/json"),
                             (f"application/json, {EVENTS}", "application/json")):
            answer = self.service.post({"script": "pass"}, headers={"Accept": accept})
            self.assertEqual(answer.headers["Content-Type"], kind)

    def test_files_mode_and_raw_mode_are_live_too(self):
        stream = self.live({"files": {"m.py": "import os; os.mkdir('output/d'); open('output/d/a', 'w').write('x')"},
                            "entry_point": "m.py"}, LINES).read_head()
        self.assertEqual(joined(stream.events())[0]["artifacts"], {"d/a": "x"})
        answer = self.service.post_raw("print('raw')", headers={"Accept": LINES})
        events = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual("".join(event.get("data", "") for event in events), "raw\n")

    def test_what_is_wrong_before_the_start_is_an_ordinary_error(self):
        for fields, status in (({"script": 5}, 400), ({"script": "x" * 300000}, 413)):
            for accept in FORMS:
                self.assert_refused(self.service.post(fields, headers={"Accept": accept}), status)

    def test_artifacts_above_their_limit_end_in_an_exit_event_with_the_reason(self):
        text = "print('kept'); open('output/a', 'wb').write(b'x' * (11 << 20))"
        for accept in FORMS:
            answer, names = joined(self.live({"script": text}, accept).read_head().events())
            self.assertEqual(names, ["stdout", "exit"])
            self.assertEqual((answer["exit_code"], answer["stdout"], answer["error"]),
                             (0, "kept\n", "Total artifacts too large: exceeds 10485760 bytes."))


class Stalled(ServiceTest):
    """A client that does not read costs its own script its pace, and nobody else anything."""

    LOUD = {"script": "import sys\nwhile True: sys.stdout.write('\\1' * 65536)"}

    def stall(self, **fields):
        """A stream that nobody reads, once the service has stopped sending."""
        stream = Stream(self.service, {**self.LOUD, **fields}, LINES, receive_bytes=65536)
        self.addCleanup(stream.close)
        self.service.wait_busy()
        return stream

    def test_memory_is_bounded_and_others_are_served(self):
        self.assert_still_serves()
        before = peak_memory(self.service.process.pid)
        stream = self.stall()
        for _ in range(5):
            self.assert_still_serves()
        # All that the script may write, escaped, would be 60 MiB; what is held is an event of 64 KiB, escaped.
        self.assertLess(peak_memory(self.service.process.pid) - before, sanitizer_keeps() + (8 << 20))
        stream.close()
        eventually(self.service.idle, "a free worker")

    def test_past_the_deadline_it_is_cut_off(self):
        before = len(self.service.lines)
        stream = self.stall(timeout_s=3)
        eventually(self.service.idle, "a free worker", 30)
        end = eventually(lambda: [line for line in self.service.lines[before:] if line["event"] == "execution_error"],
                         "the end in the audit log")
        self.assertEqual([line["error"] for line in end], ["cancelled: the client does not read"])
        rest = b""
        try:
            rest = stream.read_head().file.read()
        except ConnectionError:  # a reset, with what was on its way
            pass
        self.assertFalse(rest.endswith(b"\r\n0\r\n\r\n"), "the answer's last chunk: a client would take it for whole")

    def test_one_that_reads_in_time_gets_all_of_it(self):
        stream = Stream(self.service, {"script": "import sys; sys.stdout.write('x' * (9 << 20))"}, LINES,
                        receive_bytes=65536)
        self.addCleanup(stream.close)
        self.service.wait_busy()
        answer, _ = joined(stream.read_head().events())
        self.assertEqual((answer["exit_code"], len(answer["stdout"])), (0, 9 << 20))


class Lost(unittest.TestCase):
    """A worker that dies in the middle ends the answer with an exit event."""

    def test_its_exit_event_says_that_it_was_our_fault(self):
        with Service(workers=1, env={"CODERUNNER_API_KEY": "k"}) as service:
            for accept in FORMS:
                refused = service.post({"script": "pass"}, headers={"Accept": accept})
                self.assertEqual((refused.status, list(refused.json)), (401, ["error"]))
                eventually(service.idle, "a worker", 60)
                stream = Stream(service, {"script": "import sys\nsys.stdout.write('up\\n')\nwhile True: pass"}, accept,
                                head="x-functions-key: k\r\n")
                events = stream.read_head().events()
                self.assertEqual(next(events), ("stdout", {"data": "up\n"}))
                os.kill(service.worker_pids()[0], 9)
                answer, names = joined(events)
                self.assertEqual((names, answer["exit_code"], answer["run"]["verdict"]),
                                 (["stderr", "exit"], -1, "internal_error"))
                self.assertTrue(answer["stderr"].startswith("[Internal execution error] "), answer)
                stream.close()


if __name__ == "__main__":
    main()
