"""Role: HTTP as clients of all kinds speak it: many connections, slow ones, odd ones, broken ones.
Callers: meson test, in one mode of starting the service: no sandbox has a part in it.
"""
import json
import pathlib
import re
import resource
import socket
import threading

from contract import ServiceTest, main
from service import eventually, sanitizer_keeps

HEAD = b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\n"
IDLE, SLOW = 1000, 200

# What is no HTTP, or none that two readers would understand alike, and its status.
MALFORMED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\n", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 413),
    (HEAD + b"\r\n", 411),
    (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
    (HEAD + b"Expect: a miracle\r\nContent-Length: 1\r\n\r\n", 417),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
]


def setUpModule():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))


class Connections(ServiceTest):
    def dial(self):
        peer = socket.create_connection(("127.0.0.1", self.service.port), timeout=60)
        self.addCleanup(peer.close)
        return peer

    def read_answer(self, peer):
        """Status and object of the next answer."""
        file = peer.makefile("rb")
        status, length = int(file.readline().split()[1]), 0
        while (line := file.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        return status, json.loads(file.read(length) or "null")

    def resident(self):
        text = pathlib.Path(f"/proc/{self.service.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024

    def test_idle_and_slow_connections_starve_nobody_and_cost_little(self):
        before = self.resident()
        idle = [self.dial() for _ in range(IDLE)]
        for peer in idle:  # each has been served once, and is kept
            peer.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for peer in idle:
            self.assertEqual(peer.recv(15), b"HTTP/1.1 200 OK")
        slow, done = [self.dial() for _ in range(SLOW)], threading.Event()

        def drip():
            for byte in HEAD[:8]:
                for peer in slow:
                    peer.sendall(bytes([byte]))
                if done.wait(0.5):
                    return
        dripping = threading.Thread(target=drip)
        dripping.start()
        for _ in range(20):
            self.assert_still_serves()
        self.assertLess(self.resident() - before, sanitizer_keeps() + (IDLE + SLOW) * 96 * 1024)
        done.set()
        dripping.join()

    def test_what_is_malformed_is_refused_and_costs_nobody_else_anything(self):
        for request, status in MALFORMED:
            with self.subTest(request[:60]):
                peer = self.dial()
                peer.sendall(request)
                answered, error = self.read_answer(peer)
                self.assertEqual((answered, list(error)), (status, ["error"]))
                self.assertEqual(peer.recv(1), b"")
        self.assert_still_serves()

    def test_a_chunked_body_and_permission_to_send_it(self):
        body = json.dumps({"script": "print('in pieces')"}).encode()
        peer = self.dial()
        peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(peer.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        for at in range(0, len(body), 7):
            peer.sendall(b"%x;extension=1\r\n%s\r\n" % (len(body[at:at + 7]), body[at:at + 7]))
        peer.sendall(b"0\r\nTrailer: x\r\n\r\n")
        status, answer = self.read_answer(peer)
        self.assertEqual((status, answer["stdout"]), (200, "in pieces\n"))

    def test_who_is_refused_is_not_asked_for_the_body(self):
        peer = self.dial()
        peer.sendall(HEAD + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(self.read_answer(peer)[0], 413)


class LittleMemory(ServiceTest):
    """What is being read counts, not only what waits."""

    arguments = ["--queue-bytes=1M"]
    workers = 1

    def test_bodies_that_are_being_read_fill_the_bound_and_leave_room_when_they_go(self):
        body = json.dumps({"script": "print('served')", "context": {"a": "x" * 600_000}}).encode()
        peer = socket.create_connection(("127.0.0.1", self.service.port), timeout=60)
        peer.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        # Whoever comes while both are on their way may be the one that finds no room.
        eventually(lambda: self.held() == len(body) - 1, "the first one's bytes held")
        refused = self.service.request("POST", "/api/run", body)
        self.assert_refused(refused, 429, "memory")
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self.assert_still_serves()  # a small one fits
        peer.sendall(body[-1:])
        self.assertEqual(peer.recv(15), b"HTTP/1.1 200 OK")
        peer.close()
        eventually(lambda: self.service.request("POST", "/api/run", body).status == 200, "room again")
        big = json.dumps({"script": "print('alone')", "context": {"a": "x" * 3_000_000}}).encode()
        eventually(lambda: self.service.request("POST", "/api/run", big).status == 200, "room for a large one, alone")
        eventually(lambda: self.held() == 0, "nothing held")

    def test_what_brings_no_body_is_answered_however_full_it_is(self):
        big = json.dumps({"script": "print('alone')", "context": {"a": "x" * 3_000_000}}).encode()
        peer = socket.create_connection(("127.0.0.1", self.service.port), timeout=60)
        peer.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(big) + big[:-1])
        eventually(lambda: self.held() == len(big) - 1, "the bound exceeded by one that was alone")
        self.assertEqual(self.service.request("GET", "/api/health").status, 200)
        self.assert_refused(self.service.post({"script": ""}), 429, "memory")
        peer.sendall(big[-1:])
        self.assertEqual(peer.recv(15), b"HTTP/1.1 200 OK")
        peer.close()

    def held(self):
        page = self.service.request("GET", "/metrics").body.decode()
        return float(re.search(r"^coderunner_held_bytes (\S+)$", page, re.M)[1])


if __name__ == "__main__":
    main()
