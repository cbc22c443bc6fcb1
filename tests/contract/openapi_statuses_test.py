"""Role: every answer that GET /openapi.json describes is seen from a real service, and is what it is said to be; none
is seen that it does not describe.
Callers: meson test, in the modes that tests/meson.build names.
"""
import concurrent.futures
import http.client
import pathlib
import re
import socket

from contract import main
from limited_service import Limited
from openapi_document import Documented
from service import Answer, Service, eventually

TREE = pathlib.Path(__file__).resolve().parents[2]
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
END = "\r\n\r\n"

# What any path and method refuses: the status, and what is wrong with the request.
REFUSED = [
    (400, dict(fields=["Host: another"])),
    (408, dict(end="\r\n")),  # the client sends no more
    (413, dict(fields=["Content-Length: 2000000"])),
    (414, dict(query="?" + "x" * 9000)),
    (415, dict(fields=["Content-Length: 2", "Content-Encoding: gzip"])),
    (417, dict(fields=["Content-Length: 2", "Expect: magic"])),
    (431, dict(fields=["X: " + "x" * 40000])),
    (501, dict(fields=["Transfer-Encoding: gzip, chunked"])),
    (505, dict(version="3.0")),
]


def send_raw(service, method, path, query="", version="1.1", fields=(), end=END):
    """A connection that has sent a request as no client library would."""
    connection = socket.create_connection(("127.0.0.1", service.port), 120)
    line = f"{method.upper()} {path}{query} HTTP/{version}"
    connection.sendall(("\r\n".join([line, "Host: localhost", *fields]) + end).encode())
    return connection


def raw(service, method, path, **how):
    with send_raw(service, method, path, **how) as connection:
        response = http.client.HTTPResponse(connection, method=method.upper())
        response.begin()
        return Answer(response)


class Statuses(Documented):
    arguments = ["--queue=1", "--artifacts=1", "--body-bytes=1M"]

    def operations(self):
        return [(path, method) for path, item in self.document["paths"].items() for method in item]

    def refused(self):
        """Each operation's answer to each row of REFUSED."""
        rows = [(path, method, status, how) for path, method in self.operations() for status, how in REFUSED]
        with concurrent.futures.ThreadPoolExecutor(len(rows)) as clients:
            answers = clients.map(lambda row: raw(self.service, row[1], row[0], **row[3]), rows)
            for (path, method, status, _), answer in zip(rows, answers):
                with self.subTest(path, status=status):
                    self.assertEqual(answer.status, status, answer)
                yield path, method, answer

    def pages(self):
        for path, method in self.operations():
            if method == "get":
                yield path, method, self.service.request("GET", path)

    def runs(self):
        post = self.service.post
        large = "for i in range(2): open(f'output/{i}', 'w')"
        for answer in (post({"script": "print(1)", "detail": True}), post({"script": "1/0", "detail": True}),
                       post({"script": "open('output/a', 'wb').write(b'\\0')"}),
                       self.service.post_raw("print(1)", "?timeout_s=5"), post({}),
                       raw(self.service, "post", "/api/run"), self.unauthorized(), self.busy(),
                       post({"script": ""}, headers={"Origin": "http://evil.example"}),
                       post({"script": large}), post({"script": large, "detail": True})):
            yield "/api/run", "post", answer

    def unauthorized(self):
        with Service(env={"CODERUNNER_API_KEY": "k"}, workers=1) as service:
            for scheme in ({"x-functions-key": "k"}, {"Authorization": "Bearer k"}):
                self.assertEqual(service.post({"script": ""}, headers=scheme).status, 200)
            self.assertEqual(service.post({"script": ""}, "/api/run?code=k").status, 200)
            return service.post({"script": ""})

    def busy(self):
        clients = []
        for waiting in (0, 1):
            clients.append(self.service.connect())
            clients[-1].request("POST", "/api/run", b'{"script": "while True: pass"}')
            self.service.wait_busy()
            eventually(lambda: self.service.health()["queue"] == waiting, f"{waiting} that wait")
        answer = self.service.post({"script": ""})
        for client in clients:
            client.close()
        eventually(self.service.idle, "an idle service", 30)
        return answer

    def draining(self):
        with Service(workers=1) as service:
            client = service.connect()
            client.request("POST", "/api/run", b'{"script": "while True: pass"}')
            service.wait_busy()
            service.process.terminate()
            health = eventually(lambda: (answer := service.request("GET", "/api/health")).status == 503 and answer,
                                "503", 10)
            self.assertEqual(self.matches(self.schema("Health"), health.json), [])
            yield "/api/health", "get", health
            yield "/api/run", "post", service.post({"script": ""})
            client.close()
            service.wait_end()

    def crowded(self):
        """Each operation's answer of a service whose connections are all in the middle of a request."""
        with Limited("--descriptors=48", workers=1) as service:
            held = []
            try:
                for _ in range(1000):
                    held.append(send_raw(service, "post", "/api/run",
                                         fields=["Content-Length: 9", "Expect: 100-continue"]))
                    first_line = held[-1].makefile("rb").readline()
                    if first_line != b"HTTP/1.1 100 Continue\r\n":
                        break
                self.assertIn(b" 503 ", first_line)
                for path, method in self.operations():
                    answer = raw(service, method, path)
                    self.assertEqual(answer.status, 503)
                    yield path, method, answer
            finally:
                for connection in held:
                    connection.close()

    def test_each_documented_answer_is_seen_and_no_other(self):
        seen = {operation: set() for operation in self.operations()}
        for source in (self.refused, self.pages, self.runs, self.draining, self.crowded):
            for path, method, answer in source():
                with self.subTest(path, answer=answer):
                    seen[path, method].add(self.check(path, method, answer))
        for path, method in self.operations():
            self.assertEqual(seen[path, method], set(self.responses(path, method)), path)

    def test_other_methods_are_refused_with_those_that_are_served(self):
        error = self.document["components"]["responses"]["Error"]
        for path, item in self.document["paths"].items():
            served = {method.upper() for method in item} | ({"HEAD"} if "get" in item else set())
            for method in sorted(METHODS - served):
                with self.subTest(path, method=method):
                    answer = raw(self.service, method, path)
                    self.assertEqual((answer.status, set(answer.headers["Allow"].split(", "))), (405, served))
                    if method != "HEAD":
                        self.check_response(error, answer)
            for method in served - {"POST"}:
                self.assertEqual(self.service.request(method, path).status, 200)

    def test_what_is_not_described_is_not_there(self):
        error = self.document["components"]["responses"]["Error"]
        for path in ("/api", "/api/run/", "/openapi.yaml", "/docs"):
            self.assertNotIn(path, self.document["paths"])
            answer = self.service.request("GET", path)
            self.assertEqual(answer.status, 404)
            self.check_response(error, answer)

    def test_every_status_that_the_service_has_a_phrase_for_is_described(self):
        table = re.search(r"kRows = (.*?);", (TREE / "supervisor/http_reply_head.cc").read_text(), re.S)[1]
        known = set(re.findall(r"\{(\d{3}), ", table))
        self.assertEqual(known, set(self.responses("/api/run", "post")) | {"404", "405"})

    def test_each_media_type_of_a_run_is_had_by_asking_for_it(self):
        kinds = self.resolve(self.responses("/api/run", "post")["200"])["content"]
        self.assertEqual(len(kinds), 3)
        for kind in kinds:
            answer = self.service.post({"script": "print('live')"}, headers={"Accept": kind})
            self.assertEqual(answer.headers["Content-Type"].split(";")[0], kind)
            self.check("/api/run", "post", answer)
            self.assertIn(b"live", answer.body)  # the end of the line may be a write of its own
            eventually(self.service.idle, "an idle service", 30)


if __name__ == "__main__":
    main()
