"""Role: the audit log: one JSON object a line on standard output for each request.
Callers: meson test, once a mode of starting the service.
"""
import datetime
import hashlib
import json

from contract import ServiceTest, main
from service import Service, eventually

EVENTS = {"service_started", "service_stopping", "service_stopped", "execution_started", "execution_completed",
          "request_rejected", "execution_error"}
KEY = "key-7c1d55aa"
SCRIPT_SECRET = "in-the-script-41f0"


class Log(ServiceTest):
    """Who ran what, when, for how long and with which end; never what it said."""

    environment = {"CODERUNNER_API_KEY": KEY}

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(env=cls.environment))

    def post(self, fields, **headers):
        return self.service.post(fields, headers={"x-functions-key": KEY, **headers})

    def lines_of(self, answer, count):
        request_id = answer.headers["X-Request-Id"]

        def found():
            lines = [line for line in self.service.lines if line.get("request_id") == request_id]
            return lines if len(lines) >= count else None
        lines = eventually(found, f"{count} lines of request {request_id}")
        self.assertEqual(len(lines), count, lines)
        return lines

    def test_a_run_has_a_start_and_an_end(self):
        text = "import sys; sys.exit(3)"
        answer = self.post({"script": text, "timeout_s": 9, "context": {"a": "1", "b": "2"}})
        started, completed = self.lines_of(answer, 2)
        self.assertEqual((started["event"], completed["event"]), ("execution_started", "execution_completed"))
        want = {"client_ip": "127.0.0.1", "script_sha256": hashlib.sha256(text.encode()).hexdigest()[:16],
                "script_size_bytes": len(text), "timeout_s": 9, "context_files": 2}
        self.assertEqual({key: started.get(key) for key in want}, want)
        self.assertEqual(completed["exit_code"], 3)
        self.assertGreater(completed["duration_ms"], 0)
        for line in (started, completed):
            then = datetime.datetime.fromisoformat(line["time"])
            self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()), 60)

    def test_a_refused_request_has_one_line_with_the_reason(self):
        rows = [lambda: self.post({}), lambda: self.service.post({"script": "pass"}),
                lambda: self.post({"script": "pass"}, Origin="http://evil.example"),
                lambda: self.service.request("POST", "/api/run", b"{", {"x-functions-key": KEY}),
                lambda: self.service.request("GET", "/nowhere"), lambda: self.service.request("PUT", "/api/run", b"")]
        for row in rows:
            answer = row()
            with self.subTest(str(answer)):
                self.assertGreaterEqual(answer.status, 400)
                line, = self.lines_of(answer, 1)
                self.assertEqual((line["event"], line["error"]), ("request_rejected", answer.json["error"]))

    def test_an_answer_that_is_an_error_says_why(self):
        answer = self.post({"script": "open('output/x', 'wb').truncate(20 << 20)"})
        self.assertEqual(answer.status, 500)
        lines = self.lines_of(answer, 2)
        self.assertEqual([line["event"] for line in lines], ["execution_started", "execution_completed"])
        self.assertEqual(lines[1]["exit_code"], 0)
        self.assertIn("artifacts", lines[1].get("error", ""))

    def test_a_timeout_and_a_signal_are_ordinary_ends(self):
        for text, code in (("while True: pass", 124), ("import os; os.kill(os.getpid(), 11)", 139)):
            with self.subTest(code):
                lines = self.lines_of(self.post({"script": text, "timeout_s": 1}), 2)
                self.assertEqual((lines[1]["event"], lines[1]["exit_code"]), ("execution_completed", code))

    def test_a_client_can_not_choose_its_address(self):
        answer = self.post({"script": "pass"}, **{"X-Forwarded-For": "6.6.6.6"})
        self.assertEqual({line["client_ip"] for line in self.lines_of(answer, 2)}, {"127.0.0.1"})

    def test_scripts_outputs_inputs_and_keys_are_never_logged(self):
        words = [SCRIPT_SECRET, "stdin-93b1", "env-55d0", "arg-77aa", "file-02ce", "wrong-key-19"]
        answer = self.post({"script": f"print('{SCRIPT_SECRET}')\nraise ValueError('{SCRIPT_SECRET}')",
                            "args": [words[3]], "stdin": words[1], "env": {"A": words[2]}, "context": {"a": words[4]}})
        self.lines_of(answer, 2)
        wrong = self.service.request("POST", "/api/run?code=" + words[5], b"{}", {"x-functions-key": words[5]})
        self.lines_of(wrong, 1)
        log = b"".join(self.service.raw_lines)
        for word in [*words, KEY]:
            self.assertNotIn(word.encode(), log)
            self.assertNotIn(word.encode(), self.service.errors)

    def test_a_hostile_request_stays_one_line(self):
        answer = self.service.request("POST", "/api/run", json.dumps({"script": 1, "a\nb": "\n{}"}).encode(),
                                      {"x-functions-key": KEY, "Content-Type": "application/json",
                                       "X-Forwarded-For": '"},{"event":"forged"', "User-Agent": '"\\'})
        self.lines_of(answer, 1)
        path = self.service.request("GET", '/%0a%7b"event":"forged"%7d')
        self.lines_of(path, 1)

    def test_every_line_is_an_event_with_its_time(self):
        self.post({"script": "pass"})
        for line in list(self.service.lines):
            self.assertIn(line["event"], EVENTS)
            self.assertIn("time", line)


class TrustedProxy(ServiceTest):
    """Behind a proxy that is trusted the client is the first that it names."""

    arguments = ["--trusted-proxy=127.0.0.1"]

    def test_the_first_address_is_the_client_s(self):
        answer = self.service.post({"script": "pass"}, headers={"X-Forwarded-For": "192.0.2.7, 10.0.0.1"})
        request_id = answer.headers["X-Request-Id"]
        lines = eventually(lambda: [line for line in self.service.lines if line.get("request_id") == request_id],
                           "its line")
        self.assertEqual(lines[0]["client_ip"], "192.0.2.7")


if __name__ == "__main__":
    main()
