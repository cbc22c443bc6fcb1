"""Role: the service as the custom handler of an Azure Functions app: the host's three shapes, its ids and repetitions,
its secrets, and how a handler starts and ends.
Law: everything goes through a stand-in that keeps the host's contract (tests/support/functions_host.py)."""
import base64
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import threading
import unittest
import uuid

from contract import MEMBERS, ServiceTest, main, script
from functions_host import ERRORS_TOLERATED, PLANTED, HostedService
from service import SECRET, eventually

JSON = {"Content-Type": "application/json"}
NOW = {"script": "import time; print(time.time_ns())"}


class ShapeTests:
    """What holds in every shape; a class each below."""

    shape = None

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(HostedService(workers=1, shape=cls.shape, function_key="host-key"))

    def post(self, body, query="", **headers):
        return self.service.request("POST", "/api/run" + query, body, {"x-functions-key": "host-key", **headers})

    def post_json(self, fields, **headers):
        return self.post(json.dumps(fields).encode(), **{**JSON, **headers})

    def test_a_run_is_answered_as_everywhere(self):
        text = "import sys\nprint(open('input/a').read())\nopen('output/é', 'w').write('ü')\nsys.exit(3)"
        answer = self.post_json({"script": text, "context": {"a": "x" * 1000 + "é\"\\\n"}})
        self.assertEqual((answer.status, set(answer.json)), (200, MEMBERS), answer)
        self.assertEqual(answer.json, {"exit_code": 3, "stdout": "x" * 1000 + "é\"\\\n\n", "stderr": "",
                                       "artifacts": {"é": "ü"}})
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertIn("run;dur=", answer.headers["Server-Timing"])

    def test_raw_mode_and_its_parameter(self):
        answer = self.post("while True: pass", "?timeout_s=1", **{"Content-Type": "text/plain"})
        self.assertEqual((answer.status, answer.json["exit_code"]), (200, 124), answer)

    def test_a_body_of_a_binary_type(self):
        answer = self.post(json.dumps({"script": "print('é')"}).encode(),
                           **{"Content-Type": "application/octet-stream"})
        self.assertEqual((answer.status, answer.json["stdout"]), (200, "é\n"), answer)

    def test_large_inputs_and_outputs(self):
        content = base64.b64encode(os.urandom(3_000_000)).decode()
        answer = self.post_json({"script": "print(len(open('input/a').read())); print('\\n' * 3_000_000)",
                                 "context": {"a": content}})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["stdout"], f"{len(content)}\n" + "\n" * 3_000_001)

    def test_refusals_keep_their_status(self):
        rows = [({"script": 5}, 400, "script"), ({"script": "#" * 300_000}, 413, "script")]
        for fields, status, word in rows:
            with self.subTest(status):
                answer = self.post_json(fields)
                self.assertEqual((answer.status, list(answer.json)), (status, ["error"]), answer)
                self.assertIn(word, answer.json["error"])

    def test_the_keys_are_the_hosts(self):
        self.assertEqual(self.service.request("POST", "/api/run", b"1", JSON).status, 401)
        self.assertEqual(self.service.request("GET", "/api/health").json["status"], "healthy")

    def test_the_invocation_is_the_request_id_and_the_caller_the_client(self):
        invocation = str(uuid.uuid4())
        self.service.front.next_invocation_id = invocation
        self.addCleanup(setattr, self.service.front, "next_invocation_id", None)
        answer = self.post_json({"script": "print(1)"}, **{"X-Request-Id": "of-the-caller"})
        self.assertEqual(answer.headers["X-Request-Id"], invocation)
        mine = eventually(lambda: [line for line in self.service.lines if line.get("event") == "execution_completed"
                                   and line["request_id"] == invocation], "the audit line")
        self.assertEqual(mine[0]["client_ip"], "203.0.113.7")

    def test_the_site_is_served_by_its_name_and_foreign_pages_are_not(self):
        rows = [({"Host": "site.example"}, 200), ({"Host": "other.example"}, 200),
                ({"Host": "site.example", "Origin": "https://site.example"}, 200),
                ({"Host": "site.example", "Origin": "https://evil.example"}, 403)]
        for headers, status in rows:
            with self.subTest(headers):
                self.assertEqual(self.post_json({"script": "1"}, **headers).status, status)

    def test_probes_and_runs_leave_no_word_but_the_audit_log(self):
        self.assertEqual(self.post_json({"script": "import sys; print('out'); print('err', file=sys.stderr)"}).status,
                         200)
        for _ in range(20):
            self.service.await_readiness()
        levels = {level for level, _ in self.service.log()}
        self.assertEqual(levels, {"Information"}, self.service.log())
        paths = [line["error"] for line in self.service.lines if line.get("event") == "request_rejected"]
        self.assertFalse([text for text in paths if "not found" in text], paths)


class DefaultShapeTest(ShapeTests, unittest.TestCase):
    shape = "default"

    def test_live_output_is_not_asked_for_inside_an_envelope(self):
        answer = self.post_json({"script": "print(1)"}, Accept="text/event-stream")
        self.assertEqual((answer.status, set(answer.json)), (200, MEMBERS), answer)

    def test_an_envelope_with_its_body_as_an_object_and_one_that_is_none(self):
        req = {"Url": "http://h/api/run", "Method": "POST", "Headers": {"Content-Type": ["application/json"]},
               "Body": {"script": "print(2)"}}
        status, _, text = self.service.raw_invoke("/run", json.dumps({"Data": {"req": req}}), str(uuid.uuid4()))
        res = json.loads(text)["Outputs"]["res"]
        self.assertEqual((status, res["statusCode"], json.loads(res["body"])["stdout"]), (200, 200, "2\n"))
        status, _, text = self.service.raw_invoke("/run", b'{"Data":{}}', str(uuid.uuid4()))
        self.assertEqual((status, json.loads(text)["error"]), (400, "invocation: req must be an object"))


class ForwardShapeTest(ShapeTests, unittest.TestCase):
    shape = "forward"

    def test_a_chunked_body_arrives_empty_and_the_answer_says_so(self):
        connection = self.service.connect()
        self.addCleanup(connection.close)
        connection.request("POST", "/api/run", iter([b'{"script":"1"}']), {**JSON, "x-functions-key": "host-key"},
                           encode_chunked=True)
        response = connection.getresponse()
        self.assertEqual(response.status, 400)
        self.assertIn("empty", json.loads(response.read())["error"])


class ProxyShapeTest(ShapeTests, unittest.TestCase):
    shape = "proxy"

    def test_a_chunked_body_arrives(self):
        connection = self.service.connect()
        self.addCleanup(connection.close)
        connection.request("POST", "/api/run", iter([b'{"script":', b'"print(3)"}']),
                           {**JSON, "x-functions-key": "host-key"}, encode_chunked=True)
        self.assertEqual(json.loads(connection.getresponse().read())["stdout"], "3\n")


class RepetitionTest(unittest.TestCase):
    """The host repeats a request whose connection broke: an invocation runs once."""

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(HostedService(workers=1))

    def invoke(self, invocation, fields, path="/api/run", headers=None):
        return self.service.raw_invoke(path, json.dumps(fields), invocation, headers)

    def logged(self, event, invocation):
        return [line for line in self.service.lines if line.get("event") == event
                and line["request_id"] == invocation]

    def assert_ran_once(self, invocation):
        eventually(lambda: self.logged("execution_completed", invocation), "the audit line of the end")
        self.assertEqual(len(self.logged("execution_started", invocation)), 1)

    def test_the_same_invocation_runs_once_and_another_one_anew(self):
        envelope = {"Data": {"req": {"Url": "http://h/api/run", "Method": "POST", "Body": NOW}}}
        for path, body in (("/api/run", NOW), ("/run", envelope)):
            with self.subTest(path):
                one, two = str(uuid.uuid4()), str(uuid.uuid4())
                first, again, other = (self.invoke(invocation, body, path)[2] for invocation in (one, one, two))
                self.assertEqual(first, again)
                self.assertNotEqual(first.replace(one.encode(), b""), other.replace(two.encode(), b""))
                self.assert_ran_once(two)
                self.assert_ran_once(one)

    def test_at_the_same_time_too(self):
        one, answers = str(uuid.uuid4()), []
        fields = {"script": "import time; time.sleep(0.5); print(time.time_ns())"}
        callers = [threading.Thread(target=lambda: answers.append(self.invoke(one, fields))) for _ in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual([status for status, *_ in answers], [200] * 5)
        self.assertEqual(len({text for *_, text in answers}), 1)
        self.assert_ran_once(one)

    def test_what_was_refused_or_cancelled_may_run(self):
        one = str(uuid.uuid4())
        self.assertEqual(self.invoke(one, {"script": 1})[0], 400)
        gone = http.client.HTTPConnection("127.0.0.1", self.service.handler_port)
        gone.request("POST", "/api/run", json.dumps({"script": "while True: pass"}),
                     {**JSON, "X-Azure-Functions-InvocationId": one})
        self.service.wait_busy()
        gone.close()
        eventually(self.service.idle, "an idle service", 30)
        status, _, text = self.invoke(one, {"script": "print('ran')"})
        self.assertEqual((status, json.loads(text)["stdout"]), (200, "ran\n"))

    def test_an_id_that_the_caller_has_added_to_is_none(self):
        one = str(uuid.uuid4())
        texts = {self.invoke(f"{one}, {one}", NOW)[2] for _ in range(2)}
        self.assertEqual(len(texts), 2)


class NotHostedTest(ServiceTest):
    workers = 1

    def test_without_the_host_its_ways_mean_nothing(self):
        headers = {"X-Azure-Functions-InvocationId": "one"}
        answers = [self.service.post(NOW, headers=headers) for _ in range(2)]
        self.assertNotEqual(answers[0].json["stdout"], answers[1].json["stdout"])
        self.assertNotIn("one", [answer.headers["X-Request-Id"] for answer in answers])
        self.assertEqual(self.service.request("POST", "/run", b"{}", JSON).status, 404)


class SecretsTest(unittest.TestCase):
    def test_no_secret_of_the_host_reaches_a_job_or_the_log(self):
        with HostedService(workers=1) as service:
            environment = pathlib.Path(f"/proc/{service.process.pid}/environ")
            if os.access(environment, os.R_OK):  # the attempt below fails for a reason
                self.assertIn(SECRET, environment.read_text())
            answer = service.post({"script": script("""
                import os, pathlib
                print(dict(os.environ))
                for name in ("environ", "cmdline", "maps"):
                    for file in pathlib.Path("/proc").glob("*/" + name):
                        try:
                            print(file, file.read_bytes()[:100_000])
                        except OSError as error:
                            print(file, error.errno)
                """)})
            self.assertEqual((answer.status, answer.json["exit_code"]), (200, 0), answer)
            self.assertIn("PYTHONUNBUFFERED", answer.json["stdout"])
            broken = service.request("POST", "/api/run", b"\xff", JSON)
            seen = answer.body.decode() + broken.body.decode() + json.dumps(service.log())
            for text in (*PLANTED, SECRET):
                self.assertNotIn(text, seen)


class LifeTest(unittest.TestCase):
    """How handlers start and end: nothing is left to do at the end, because the host only kills."""

    def hosted(self, **more):
        service = HostedService(workers=1, **more)
        self.addCleanup(service._abandon)
        service.install()
        return service

    def test_killed_in_the_middle_of_a_run_and_started_again(self):
        with HostedService(workers=1) as service:
            def starts():
                return len([line for line in service.lines if line.get("event") == "service_started"])
            for number in (1, 2):
                eventually(lambda: starts() == number, "the line that tells of the start")
                caller = threading.Thread(target=service.post, args=({"script": "while True: pass"},))
                caller.start()
                service.wait_busy()
                service.kill_handler()  # and nothing is left of it
                caller.join()
                service.start_handler()
                eventually(service.idle, "an idle service", 30)
            self.assertEqual(service.post({"script": "print(4)"}).json["stdout"], "4\n")
            eventually(lambda: starts() == 3, "the line that tells of the last start")

    def test_an_end_that_was_asked_for_is_the_end(self):
        service = self.hosted()
        service.start_handler()
        eventually(lambda: service.lines, "the first line of the log", 30)
        service.process.send_signal(signal.SIGTERM)
        service.follow_exit()
        self.assertEqual((service.state, service.ended), ("exited", [0]))

    def test_what_can_not_start_is_an_error_each_time_until_the_host_gives_up(self):
        rows = [({"CODERUNNER_MEMORY": "lots"}, 2, "CODERUNNER_MEMORY"),
                ({"CODERUNNER_PYTHON": "/bin/false"}, 1, "no usable Python"),
                ({"FUNCTIONS_CUSTOMHANDLER_PORT": "0"}, 2, "FUNCTIONS_CUSTOMHANDLER_PORT"),
                ({"TMPDIR": "/nonexistent"}, 1, "mkdtemp")]
        for variables, status, word in rows:
            with self.subTest(variables):
                service = self.hosted(env=variables)
                service._launch(service.command(*service.arguments), service.app)
                for _ in range(ERRORS_TOLERATED):
                    service.follow_exit()
                self.assertEqual((service.state, service.ended), ("stopped", [status] * ERRORS_TOLERATED))
                self.assertEqual(len(service.log()), ERRORS_TOLERATED, service.log())
                for level, line in service.log():
                    self.assertEqual(level, "Error")
                    self.assertIn(word, line)

    def test_a_port_that_is_taken_is_an_error(self):
        service = self.hosted()
        with socket.socket() as other:
            other.bind(("127.0.0.1", service.handler_port))
            other.listen()
            service._launch(service.command(*service.arguments), service.app)
            self.assertEqual(service.process.wait(60), 1)
        service._settle()
        self.assertRegex(service.log()[-1][1], re.escape(str(service.handler_port)) + ".*EADDRINUSE")

    def test_on_a_developers_machine_foreign_names_are_refused(self):
        with HostedService(workers=1, site="localhost:7071") as service:
            rows = [({"Host": "localhost:7071"}, 200), ({"Host": "evil.example"}, 403),
                    ({"Host": "localhost:7071", "Origin": "http://localhost:7071"}, 200)]
            for headers, status in rows:
                with self.subTest(headers):
                    self.assertEqual(service.post({"script": "1"}, headers=headers).status, status)

    def test_the_hosts_own_limits_leave_room_for_the_longest_run(self):
        service = self.hosted()
        hours, minutes, seconds = map(int, service.host_json["functionTimeout"].split(":"))
        longest, grace, collecting = 300, 30, 20
        self.assertGreater(hours * 3600 + minutes * 60 + seconds, longest + grace + collecting)
        self.assertLessEqual(minutes * 60 + seconds + hours * 3600, 600, "the most that the Consumption plan allows")


if __name__ == "__main__":
    main()
