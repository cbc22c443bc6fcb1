"""Role: clients that go away before their answer has come: their job is cancelled, the audit log says so, and the
worker is the next one's.
Callers: meson test, once a mode of starting the service.
"""
import contextlib
import json
import socket

from contract import ServiceTest, main
from live_stream import EVERY_FORM, FORMS, Stream
from service import Service, eventually

# Far longer than any test: whoever is answered behind it was not waiting for its end.
LONG = {"script": "import sys, time; sys.stdout.write('up\\n'); time.sleep(3600)", "timeout_s": 300}


class Leaving(ServiceTest):
    workers = 1

    def begin(self, accept, name):
        """For a `with`, so that one row's failure leaves the worker to the next."""
        return contextlib.closing(Stream(self.service, LONG, accept, head=f"X-Request-Id: {name}\r\n"))

    def running(self, accept, name):
        with self.begin(accept, name) as stream:
            self.service.wait_busy()
            if accept in FORMS:
                self.assertEqual(next(stream.read_head().events()), ("stdout", {"data": "up\n"}))
        self.assert_cancelled(name)

    def waiting(self, accept, name):
        with self.begin(accept, "ahead-of-" + name):
            self.service.wait_busy()
            with self.begin(accept, name):
                eventually(lambda: self.service.health()["queue"] == 1, "one that waits")
            self.assert_cancelled(name)
            health = self.service.health()
            self.assertEqual((health["queue"], health["workers"]["busy"]), (0, 1))  # the one ahead still runs

    def assert_cancelled(self, name):
        def ended():
            lines = [line for line in self.service.lines if line.get("request_id") == name]
            return lines if len(lines) > 1 else None
        lines = eventually(ended, "its end in the audit log")
        self.assertEqual([(line["event"], line.get("error")) for line in lines],
                         [("execution_started", None), ("execution_error", "cancelled: the client went away")])

    def test_its_job_is_cancelled_and_its_worker_is_the_next_one_s(self):
        for accept in EVERY_FORM:
            for left_while in (self.running, self.waiting):
                name = f"{left_while.__name__}-{accept.replace('/', '-')}"
                with self.subTest(name):
                    left_while(accept, name)
                    self.assert_still_serves()

    def test_a_client_that_leaves_in_the_middle_of_its_body_costs_nothing(self):
        for _ in range(20):
            peer = socket.create_connection(("127.0.0.1", self.service.port))
            peer.sendall(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
            peer.close()
        self.assert_still_serves()

    def test_a_client_that_does_not_read_costs_its_own_worker_only(self):
        with Service(workers=2) as service:
            body = json.dumps({"script": "import sys; sys.stdout.write('x' * (10 << 20))"}).encode()
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", service.port))
            peer.sendall(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s"
                         % (len(body), body))
            for _ in range(3):
                self.assertEqual(service.post({"script": "print('fine')"}).json["stdout"], "fine\n")
            peer.close()
            eventually(service.idle, "an idle service", 20)


if __name__ == "__main__":
    main()
