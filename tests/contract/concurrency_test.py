"""Role: many requests at once: each gets its own result, the queue is bounded, connections are kept.
Callers: meson test, once a mode of starting the service.
"""
import concurrent.futures
import json
import socket

from contract import ServiceTest, main
from service import eventually


class ManyAtOnce(ServiceTest):
    """200 requests at once on two workers."""

    arguments = ["--queue=256"]

    def test_each_of_200_gets_its_own_result(self):
        def one(i):
            answer = self.service.post({
                "script": "import os, sys\n"
                          "print(sys.argv[1], sys.stdin.read(), os.environ['N'], open('input/n').read())\n"
                          "open('output/n', 'w').write(sys.argv[1])\nsys.exit(int(sys.argv[1]))\n",
                "args": [str(i)], "stdin": str(i), "env": {"N": str(i)}, "context": {"n": str(i)}})
            return answer.status, answer.json
        with concurrent.futures.ThreadPoolExecutor(200) as many:
            results = list(many.map(one, range(200)))
        for i, result in enumerate(results):
            self.assertEqual(result, (200, {"exit_code": i, "stdout": f"{i} {i} {i} {i}\n", "stderr": "",
                                            "artifacts": {"n": str(i)}}))

    def test_a_connection_is_kept_for_many_requests(self):
        connection = self.service.connect()
        connection.connect()
        peer = connection.sock
        for i in range(50):
            connection.request("POST", "/api/run", json.dumps({"script": f"print({i})"}).encode())
            response = connection.getresponse()
            self.assertEqual(json.loads(response.read())["stdout"], f"{i}\n")
            self.assertIs(connection.sock, peer, "the service closed the connection")
        connection.close()

    def test_idle_connections_starve_nobody(self):
        idle = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(100)]
        for peer in idle[::2]:
            peer.sendall(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        self.assert_still_serves()
        for peer in idle:
            peer.close()
        self.assert_still_serves()

    def test_requests_sent_ahead_on_a_connection_are_answered_in_order(self):
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=60) as peer:
            for i in range(5):
                body = json.dumps({"script": f"print('answer {i}')"}).encode()
                peer.sendall(b"POST /api/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s"
                             % (len(body), body))
            got = b""
            while got.count(b"answer ") < 5:
                piece = peer.recv(65536)
                self.assertTrue(piece, got)
                got += piece
        self.assertEqual([got.index(b"answer %d" % i) for i in range(5)],
                         sorted(got.index(b"answer %d" % i) for i in range(5)))


class FullQueue(ServiceTest):
    """What does not fit is told at once to come again."""

    arguments = ["--queue=2", "--queue-bytes=4M"]
    workers = 1

    def test_one_more_than_fits_is_429_and_the_others_are_served(self):
        script = {"script": "import time; time.sleep(1.5); print('served')"}
        with concurrent.futures.ThreadPoolExecutor(8) as many:
            served = [many.submit(self.service.post, script)]
            self.service.wait_busy()
            served += [many.submit(self.service.post, script) for _ in range(2)]
            eventually(lambda: self.service.health()["queue"] == 2, "a full queue")
            answer = self.service.post({"script": "pass"})
            self.assert_refused(answer, 429)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            self.assertEqual([one.result().json["stdout"] for one in served], ["served\n"] * 3)
        self.assert_still_serves()

    def test_bytes_count_too(self):
        big = {"script": "pass", "context": {"a": "x" * (3 << 20)}}
        with concurrent.futures.ThreadPoolExecutor(8) as many:
            running = many.submit(self.service.post, {"script": "import time; time.sleep(1.5)"})
            self.service.wait_busy()
            waiting = many.submit(self.service.post, big)
            eventually(lambda: self.service.health()["queue"] == 1, "one that waits")
            self.assert_refused(self.service.post(big), 429)
            self.assertEqual([running.result().status, waiting.result().status], [200, 200])


if __name__ == "__main__":
    main()
