"""Role: every way a request can be wrong: its status, that its message helps, and the last value that is still right.
Callers: meson test, once a mode of starting the service.
"""
import base64
import json
import socket

from contract import MEGABYTE, ServiceTest, main

KILOBYTE = 1024


def b64(size):
    return {"content": base64.b64encode(b"\0" * size).decode(), "encoding": "base64"}


OK = {"script": "pass"}
FILES = {"files": {"m.py": "pass"}, "entry_point": "m.py"}

# body, words of the message
MALFORMED_BODIES = [
    (b"", []), (b" ", []), (b"{", []), (b"}", []), (b'{"script": "pass"', []), (b"{'script': 'pass'}", []),
    (b'{"script": "pass",}', []), (b'{"script": "pass"} x', []), (b'{"script": "pass"}{"script": "pass"}', []),
    (b'{"script": pass}', []), (b'{"script": "pa\nss"}', []), (b'{"script": "\\x"}', []),
    (b'{"script": "\\ud800"}', []), (b'{"script": "\xff"}', []), (b'{"script": "\xc3"}', []),
    (b'{"script": "\xed\xa0\x80"}', []), (b'{"script": "pass", "args": [', []), (b"[" * 100000, []),
    (b'{"a":' * 100000, []), (b"[]", []), (b'["script"]', []), (b'"script"', []), (b"1", []), (b"null", []),
    (b"true", []), (b"\x00", []), (b"\xff\xfe{\x00}\x00", []), (b"print('no JSON')", []),
]

# fields, words of the message
BAD_FIELDS = [
    ({}, ["script"]),
    ({"script": None}, ["script"]),
    ({"script": 1}, ["script"]),
    ({"script": ["pass"]}, ["script"]),
    ({"script": {"content": "pass"}}, ["script"]),
    ({**OK, "timeout_s": 0}, ["timeout_s"]),
    ({**OK, "timeout_s": -1}, ["timeout_s"]),
    ({**OK, "timeout_s": "0"}, ["timeout_s"]),
    ({**OK, "timeout_s": "-5"}, ["timeout_s"]),
    ({**OK, "timeout_s": 0.5}, ["timeout_s"]),
    ({**OK, "timeout_s": "ten"}, ["timeout_s"]),
    ({**OK, "timeout_s": ""}, ["timeout_s"]),
    ({**OK, "timeout_s": "1 2"}, ["timeout_s"]),
    ({**OK, "timeout_s": []}, ["timeout_s"]),
    ({**OK, "timeout_s": {}}, ["timeout_s"]),
    ({**OK, "context": []}, ["context"]),
    ({**OK, "context": "a"}, ["context"]),
    ({**OK, "context": {"a": 1}}, ["a"]),
    ({**OK, "context": {"a": None}}, ["a"]),
    ({**OK, "context": {"a": ["x"]}}, ["a"]),
    ({**OK, "context": {"a": {}}}, ["content"]),
    ({**OK, "context": {"a": {"content": 1}}}, ["content"]),
    ({**OK, "context": {"a": {"content": "x", "encoding": "latin-1"}}}, ["encoding"]),
    ({**OK, "context": {"a": {"content": "x", "encoding": 1}}}, ["encoding"]),
    ({**OK, "context": {"a": {"content": "*", "encoding": "base64"}}}, ["base64"]),
    ({**OK, "context": {"a": {"content": "YQ", "encoding": "base64"}}}, ["base64"]),
    ({**OK, "context": {"a": {"content": "YQ=", "encoding": "base64"}}}, ["base64"]),
    ({**OK, "context": {"a": {"content": "Y Q==", "encoding": "base64"}}}, ["base64"]),
    ({**OK, "context": {"a": {"content": "é===", "encoding": "base64"}}}, ["base64"]),
    ({**OK, "context": {"": "x"}}, ["name"]),
    ({**OK, "context": {".": "x"}}, ["name"]),
    ({**OK, "context": {"..": "x"}}, ["name"]),
    ({**OK, "context": {".hidden": "x"}}, ["name"]),
    ({**OK, "context": {"a/b": "x"}}, ["name"]),
    ({**OK, "context": {"/etc/passwd": "x"}}, ["name"]),
    ({**OK, "context": {"../a": "x"}}, ["name"]),
    ({**OK, "context": {"a\\b": "x"}}, ["name"]),
    ({**OK, "context": {"a\0b": "x"}}, ["name"]),
    ({**OK, "context": {"n" * 256: "x"}}, ["name"]),
    ({**OK, "context": {f"f{i}": "" for i in range(21)}}, ["20"]),
    ({**OK, "stdin": 1}, ["stdin"]),
    ({**OK, "stdin": ["x"]}, ["stdin"]),
    ({**OK, "stdin": {"content": "?", "encoding": "base64"}}, ["stdin"]),
    ({**OK, "args": "a"}, ["args"]),
    ({**OK, "args": {"a": "b"}}, ["args"]),
    ({**OK, "args": [1]}, ["args"]),
    ({**OK, "args": ["a", None]}, ["args"]),
    ({**OK, "args": ["a\0b"]}, ["args"]),
    ({**OK, "args": ["a"] * 65}, ["args", "64"]),
    ({**OK, "args": ["a" * (8 * KILOBYTE + 1)]}, ["args"]),
    ({**OK, "env": []}, ["env"]),
    ({**OK, "env": "A=1"}, ["env"]),
    ({**OK, "env": {"A": 1}}, ["env"]),
    ({**OK, "env": {"A": None}}, ["env"]),
    ({**OK, "env": {"A": "x\0y"}}, ["env"]),
    ({**OK, "env": {"": "x"}}, ["env"]),
    ({**OK, "env": {"1A": "x"}}, ["env"]),
    ({**OK, "env": {"A-B": "x"}}, ["env"]),
    ({**OK, "env": {"A=B": "x"}}, ["env"]),
    ({**OK, "env": {"Ä": "x"}}, ["env"]),
    ({**OK, "env": {"A ": "x"}}, ["env"]),
    ({**OK, "env": {"A\n": "x"}}, ["env"]),
    ({**OK, "env": {f"A{i}": "" for i in range(65)}}, ["env", "64"]),
    ({**OK, "env": {"A": "x" * (32 * KILOBYTE)}}, ["env"]),
    ({**OK, "detail": 1}, ["detail"]),
    ({**OK, "detail": "true"}, ["detail"]),
    ({**OK, **FILES}, ["script", "files"]),
    ({**FILES, "context": {"a": "x"}}, ["context", "files"]),
    ({"files": {"m.py": "pass"}}, ["entry_point"]),
    ({"files": {"m.py": "pass"}, "entry_point": None}, ["entry_point"]),
    ({"files": {"m.py": "pass"}, "entry_point": 1}, ["entry_point"]),
    ({"files": {"m.py": "pass"}, "entry_point": ""}, ["entry_point"]),
    ({"files": {"m.py": "pass"}, "entry_point": "other.py"}, ["entry_point"]),
    ({"files": {"m.txt": "pass"}, "entry_point": "m.txt"}, ["entry_point"]),
    ({"files": {}, "entry_point": "m.py"}, []),
    ({"files": [], "entry_point": "m.py"}, ["files"]),
    ({"files": "m.py", "entry_point": "m.py"}, ["files"]),
    ({"files": {"m.py": 1}, "entry_point": "m.py"}, ["m.py"]),
    ({"entry_point": "m.py"}, []),
    *[({"files": {"m.py": "pass", path: "x"}, "entry_point": "m.py"}, []) for path in (
        "", "/abs.txt", "//abs.txt", "\\abs.txt", "..", "../up.txt", "a/../b.txt", "a/..", "a\\..\\b.txt", "C:\\x.txt",
        "C:/x.txt", "c:x.txt", ".hidden", "a/.hidden", ".git/config", ".", "a/./b.txt", "a\0b", "a/b\0", "/", "\\")],
    ({"files": {f"f{i}.py": "" for i in range(21)}, "entry_point": "f0.py"}, ["20"]),
]

TOO_LARGE = [
    ("script", {"script": "#" * (256 * KILOBYTE + 1)}, ["script", "262144"]),
    ("script, counted in bytes of UTF-8", {"script": "#" + "é" * (128 * KILOBYTE)}, ["script"]),
    ("a file of the context", {**OK, "context": {"a": "x" * (5 * MEGABYTE + 1)}}, ["a", "5242880"]),
    ("a file in base64", {**OK, "context": {"a": b64(5 * MEGABYTE + 1)}}, ["a", "5242880"]),
    ("the context together", {**OK, "context": {n: "x" * (4 * MEGABYTE) for n in "abc"}}, ["10485760"]),
    ("one byte above together", {**OK, "context": {"a": "x" * (5 * MEGABYTE), "b": b64(5 * MEGABYTE), "c": "x"}}, []),
    ("stdin", {**OK, "stdin": "x" * (5 * MEGABYTE + 1)}, ["stdin", "5242880"]),
    ("stdin in base64", {**OK, "stdin": b64(5 * MEGABYTE + 1)}, ["stdin"]),
    ("a file of a project", {"files": {"m.py": "", "d": "x" * (5 * MEGABYTE + 1)}, "entry_point": "m.py"}, ["d"]),
    ("a project", {"files": {"m.py": "", "a": b64(5 * MEGABYTE), "b": b64(5 * MEGABYTE), "c": "x"},
                   "entry_point": "m.py"}, ["10485760"]),
]

STILL_RIGHT = [
    ("script of 256 KiB", {"script": "#" + "x" * (256 * KILOBYTE - 1)}),
    ("script of 256 KiB in UTF-8", {"script": "#x" + "é" * (128 * KILOBYTE - 1)}),
    ("a file of 5 MiB", {**OK, "context": {"a": "x" * (5 * MEGABYTE)}}),
    ("two files of 5 MiB", {**OK, "context": {"a": b64(5 * MEGABYTE), "b": "x" * (5 * MEGABYTE)}}),
    ("20 files", {**OK, "context": {f"f{i}": "" for i in range(20)}}),
    ("stdin of 5 MiB", {**OK, "stdin": b64(5 * MEGABYTE)}),
    ("64 arguments", {**OK, "args": ["a"] * 64}),
    ("arguments of 8 KiB", {**OK, "args": ["a" * (8 * KILOBYTE)]}),
    ("64 variables", {**OK, "env": {f"A{i}": "" for i in range(64)}}),
    ("variables of 32 KiB", {**OK, "env": {"A": "x" * (32 * KILOBYTE - 1)}}),
    ("a name of 255 bytes", {**OK, "context": {"n" * 255: "x"}}),
    ("a project of 20 files", {"files": {f"d{i}/f.py": "" for i in range(20)}, "entry_point": "d0/f.py"}),
    ("names with odd characters", {**OK, "context": {"a b": "", "c:d": "", "e..f": "", "-g": "", "ü*?": ""}}),
    ("paths with odd characters", {"files": {"a b/c..d/é.py": "", "-x": ""}, "entry_point": "a b/c..d/é.py"}),
    ("a timeout with a sign", {**OK, "timeout_s": "+5"}),
]


class WrongBodies(ServiceTest):
    """400 and 413: the message names the field and the limit, and the service goes on."""

    def test_what_is_no_json_object_is_refused(self):
        for body, words in MALFORMED_BODIES:
            with self.subTest(body[:40]):
                self.assert_refused(self.service.request("POST", "/api/run", body), 400, *words)

    def test_wrong_fields_are_refused_by_name(self):
        for fields, words in BAD_FIELDS:
            with self.subTest(str(fields)[:120]):
                self.assert_refused(self.service.post(fields), 400, *words)

    def test_what_is_too_large_is_refused_with_its_limit(self):
        for name, fields, words in TOO_LARGE:
            with self.subTest(name):
                self.assert_refused(self.service.post(fields), 413, *words)

    def test_the_last_value_below_a_limit_is_accepted(self):
        for name, fields in STILL_RIGHT:
            with self.subTest(name):
                answer = self.service.post(fields)
                self.assertEqual((answer.status, answer.json.get("exit_code")), (200, 0), answer)

    def test_a_raw_body_must_be_utf_8(self):
        for body in (b"\xff", b"print(1) # \xc3\x28", b"\xed\xa0\x80", b"# \xc3"):
            with self.subTest(body):
                self.assert_refused(self.service.post_raw(body), 400, "UTF-8")

    def test_a_raw_script_has_the_same_limit(self):
        self.assertEqual(self.service.post_raw("#" * (256 * KILOBYTE)).status, 200)
        self.assert_refused(self.service.post_raw("#" * (256 * KILOBYTE + 1)), 413, "262144")

    def test_a_wrong_timeout_in_the_query_is_refused(self):
        for value in ("0", "-1", "", "ten", "1e3", "0x10", "1%002"):
            with self.subTest(value):
                self.assert_refused(self.service.post_raw("pass", "?timeout_s=" + value), 400, "timeout_s")

    def test_refusals_leave_a_connection_usable(self):
        connection = self.service.connect()
        for _ in range(3):
            connection.request("POST", "/api/run", b"{", {"Content-Type": "application/json"})
            response = connection.getresponse()
            self.assertEqual(response.status, 400)
            response.read()
        connection.request("POST", "/api/run", json.dumps({"script": "print(1)"}).encode())
        self.assertEqual(json.loads(connection.getresponse().read())["stdout"], "1\n")
        connection.close()


class WrongRequests(ServiceTest):
    """What is wrong before any body is read."""

    def test_unknown_paths_are_404(self):
        for method, path in [("GET", "/nowhere"), ("POST", "/api"), ("POST", "/api/runs"), ("GET", "/api/run/x"),
                             ("GET", "/../etc/passwd"), ("GET", "/api/health/"), ("POST", "/run"),
                             ("GET", "/%2e%2e/%2e%2e/etc/passwd")]:
            with self.subTest(path):
                self.assert_refused(self.service.request(method, path), 404)

    def test_known_paths_refuse_other_methods_and_name_theirs(self):
        for method, path, allowed in [("GET", "/api/run", "POST"), ("PUT", "/api/run", "POST"),
                                      ("DELETE", "/api/run", "POST"), ("PATCH", "/api/run", "POST"),
                                      ("POST", "/api/health", "GET"), ("DELETE", "/api/health", "GET")]:
            with self.subTest(f"{method} {path}"):
                answer = self.service.request(method, path, b"{}" if method in ("PUT", "PATCH", "POST") else None)
                self.assert_refused(answer, 405)
                self.assertIn(allowed, answer.headers["Allow"])

    def raw(self, data, more=b"", seconds=90):
        """What the service says to bytes as they are, until it closes or has said all of an answer."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=seconds) as peer:
            peer.sendall(data)
            got = b""
            while b"\r\n\r\n" not in got:
                piece = peer.recv(65536)
                if not piece:
                    break
                got += piece
            return got

    def status_of(self, data):
        got = self.raw(data)
        return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else got

    def test_a_body_without_a_length_is_411(self):
        self.assertEqual(self.status_of(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), 411)

    def test_a_body_announced_above_32_mib_is_413_before_it_is_sent(self):
        head = b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(self.status_of(head % (32 * MEGABYTE + 1)), 413)
        self.assertEqual(self.status_of(head % (1 << 62)), 413)

    def test_a_body_of_32_mib_is_read(self):
        body = json.dumps({"script": "print(1)", "ignored": ""}).encode()
        body = body[:-2] + b"x" * (32 * MEGABYTE - len(body)) + b'"}'
        self.assertEqual(len(body), 32 * MEGABYTE)
        self.assertEqual(self.service.request("POST", "/api/run", body).json["stdout"], "1\n")

    def test_a_body_that_does_not_come_is_408(self):
        self.assertEqual(
            self.status_of(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{\"script"), 408)

    def test_what_is_no_http_hurts_nobody(self):
        for data in (b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
                     b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n",
                     b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
                     b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
                     b"GET /api/health HTTP/1.1\r\n" + b"A: b\r\n" * 10000 + b"\r\n",
                     b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"):
            with self.subTest(data[:50]):
                got = self.raw(data)
                self.assertTrue(got == b"" or got.startswith(b"HTTP/1.1 4"), got[:200])
        self.assert_still_serves()


if __name__ == "__main__":
    main()
