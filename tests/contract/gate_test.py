"""Role: keys, origins and hosts: who may run code at all.
Callers: meson test, once a mode of starting the service.
"""
import json
import os
import socket

from contract import ServiceTest, main
from service import Service, descendants

BODY = json.dumps({"script": "print(1)"}).encode()


class GateTest(ServiceTest):
    def status(self, headers=None, query=""):
        return self.service.request("POST", "/api/run" + query, BODY, headers or {}).status

    def assert_rows(self, rows):
        for want, headers, query in rows:
            with self.subTest(headers=headers, query=query):
                self.assertEqual(self.status(headers, query), want)


class Keys(GateTest):
    """With keys set, one of them is needed, in one of three places."""

    environment = {"CODERUNNER_API_KEY": "first-key, second+key/=%"}

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(env=cls.environment))

    def test_a_key_opens_in_each_of_its_places_and_nothing_else_does(self):
        self.assert_rows([
            (200, {"x-functions-key": "first-key"}, ""),
            (200, {"X-Functions-Key": "second+key/=%"}, ""),
            (200, {"Authorization": "Bearer first-key"}, ""),
            (200, {"Authorization": "bearer first-key"}, ""),
            (200, {}, "?code=first-key"),
            (200, {}, "?code=second%2Bkey%2F%3D%25"),
            (200, {}, "?timeout_s=5&code=first-key"),
            (401, {}, ""),
            (401, {"x-functions-key": ""}, ""),
            (401, {"x-functions-key": "first-ke"}, ""),
            (401, {"x-functions-key": "first-keyy"}, ""),
            (401, {"x-functions-key": "FIRST-KEY"}, ""),
            (401, {"x-functions-key": "first-key, second+key/=%"}, ""),
            (401, {"x-functions-key": "first-key,"}, ""),
            (401, {"x-functions-key": "x" * 4000}, ""),
            (401, {"Authorization": "Basic first-key"}, ""),
            (401, {"Authorization": "first-key"}, ""),
            (401, {"Authorization": "Bearer"}, ""),
            (401, {"Cookie": "code=first-key"}, ""),
            (401, {}, "?code="),
            (401, {}, "?Code=first-key"),
            (401, {}, "?key=first-key"),
        ])

    def test_a_refusal_tells_nothing_about_the_keys(self):
        answer = self.service.request("POST", "/api/run", BODY, {"x-functions-key": "wrong-key"})
        self.assert_refused(answer, 401)
        for word in ("first-key", "second", "wrong-key"):
            self.assertNotIn(word, answer.body.decode())

    def test_a_key_is_asked_for_before_the_body_is_judged(self):
        self.assertEqual(self.service.request("POST", "/api/run", b"{").status, 401)

    def test_without_a_key_no_body_is_let_in(self):
        with socket.create_connection(("127.0.0.1", self.service.port), 30) as client:
            client.sendall(b"POST /api/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n"
                           b"Expect: 100-continue\r\n\r\n")
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 401 "))

    def test_health_needs_no_key(self):
        self.assertEqual(self.service.request("GET", "/api/health").status, 200)
        self.assertEqual(self.service.request("GET", "/").status, 200)

    def test_a_script_can_not_find_the_keys(self):
        result = self.service.post({"script": (
            "import glob, os\n"
            "for p in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline') + glob.glob('/proc/*/maps'):\n"
            "    try: print(open(p, 'rb').read())\n"
            "    except OSError: pass\n"
            "print(os.environ)\n")}, headers={"x-functions-key": "first-key"}).json
        self.assertNotIn("first-key", result["stdout"] + result["stderr"])


class FlagBeatsVariable(GateTest):
    """The flag's keys replace the variable's."""

    environment = {"CODERUNNER_API_KEY": "from-variable"}
    arguments = ["--api-key=from-flag"]

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(*cls.arguments, env=cls.environment))

    def test_only_the_flag_s_key_opens(self):
        self.assert_rows([(200, {"x-functions-key": "from-flag"}, ""), (401, {"x-functions-key": "from-variable"}, "")])

    def test_no_worker_and_nothing_below_it_holds_a_key(self):
        workers = self.service.worker_pids()
        self.assertEqual(len(workers), 2)
        for pid in [pid for worker in workers for pid in (worker, *descendants(worker))]:
            for name in ("environ", "cmdline"):
                try:
                    with open(f"/proc/{pid}/{name}", "rb") as block:
                        text = block.read()
                except (ProcessLookupError, FileNotFoundError):  # a sandbox or what a template has run has just ended
                    self.assertNotIn(pid, workers)
                    continue
                except PermissionError:  # not dumpable, so closed to the very user that it runs as
                    self.assertNotEqual(os.geteuid(), 0)
                    continue
                self.assertNotIn(b"from-variable", text)
                self.assertNotIn(b"from-flag", text)


class Origins(GateTest):
    """A web page must not be able to run code on its reader's machine."""

    arguments = ["--allow-origin=https://app.example.org,http://other.example:8080"]

    def test_origins(self):
        own = f"127.0.0.1:{self.service.port}"
        self.assert_rows([
            (200, {}, ""),
            (200, {"Origin": f"http://{own}"}, ""),
            (200, {"Origin": f"http://localhost:{self.service.port}", "Host": f"localhost:{self.service.port}"}, ""),
            (200, {"Origin": "https://app.example.org"}, ""),
            (200, {"Origin": "https://app.example.org:443"}, ""),
            (200, {"Origin": "HTTPS://APP.example.org"}, ""),
            (200, {"Origin": "http://other.example:8080"}, ""),
            (403, {"Origin": "http://app.example.org"}, ""),
            (403, {"Origin": "https://app.example.org.evil.example"}, ""),
            (403, {"Origin": "https://evil.example"}, ""),
            (403, {"Origin": "https://sub.app.example.org"}, ""),
            (403, {"Origin": "http://other.example"}, ""),
            (403, {"Origin": "http://127.0.0.1:1"}, ""),
            (403, {"Origin": "http://127.0.0.1"}, ""),
            (403, {"Origin": "null"}, ""),
            (403, {"Origin": ""}, ""),
            (403, {"Origin": "file://"}, ""),
            (403, {"Origin": "chrome-extension://abcdef"}, ""),
        ])

    def test_hosts_on_a_loopback_listener(self):
        port = self.service.port
        self.assert_rows([
            (200, {"Host": f"127.0.0.1:{port}"}, ""),
            (200, {"Host": f"localhost:{port}"}, ""),
            (200, {"Host": f"LOCALHOST:{port}"}, ""),
            (200, {"Host": f"[::1]:{port}"}, ""),
            (200, {"Host": "localhost"}, ""),
            (200, {"Host": "app.example.org"}, ""),
            (403, {"Host": "evil.example"}, ""),
            (403, {"Host": f"evil.example:{port}"}, ""),
            (403, {"Host": "localhost.evil.example"}, ""),
            (403, {"Host": "127.0.0.1.evil.example"}, ""),
            (403, {"Host": ""}, ""),
            (403, {"Host": "a b"}, ""),
        ])

    def test_a_refused_origin_is_told_why(self):
        answer = self.service.request("POST", "/api/run", BODY, {"Origin": "https://evil.example"})
        self.assert_refused(answer, 403, "origin")

    def test_nothing_runs_for_a_refused_page(self):
        before = len(self.service.lines)
        self.status({"Origin": "https://evil.example"})
        events = [line["event"] for line in self.service.lines[before:]]
        self.assertNotIn("execution_started", events)


if __name__ == "__main__":
    main()
