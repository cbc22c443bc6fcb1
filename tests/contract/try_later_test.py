"""Role: requests that can not be run now, whatever form of answer they ask for: an ordinary error, as JSON, that says
when to try again.
Callers: meson test, once a mode of starting the service.
"""
import json
import re

from contract import ServiceTest, main
from live_stream import EVERY_FORM
from service import Answer, Service, eventually

ENDLESS = {"script": "import time; time.sleep(3600)", "timeout_s": 300}
SLEEP, QUEUE = 3, 16


class Later(ServiceTest):
    workers = 1
    arguments = [f"--queue={QUEUE}", "--queue-bytes=1M"]

    def begin(self, service, accept):
        """A request that has been sent, and whose answer nobody has read yet."""
        client = service.connect()
        self.addCleanup(client.close)
        client.request("POST", "/api/run", json.dumps(ENDLESS).encode(), {"Accept": accept})
        return client

    def waits(self):
        page = self.service.request("GET", "/metrics").body.decode()
        return int(re.search(r"(?m)^coderunner_queue_seconds_count (\d+)$", page)[1])

    def assert_later(self, answer, status, words, at_least=1):
        self.assert_refused(answer, status, words)
        self.assertGreaterEqual(int(answer.headers["Retry-After"]), at_least)

    def test_where_everything_is_full_the_wait_follows_from_what_jobs_have_taken(self):
        self.run_script(f"import time; time.sleep({SLEEP})")
        running = self.begin(self.service, EVERY_FORM[0])
        self.service.wait_busy()
        waiting = [self.begin(self.service, EVERY_FORM[i % len(EVERY_FORM)]) for i in range(QUEUE)]
        eventually(lambda: self.service.health()["queue"] == QUEUE, "a full queue")
        waits = self.waits()
        for accept in EVERY_FORM:
            for words, fields in (("wait already", {}), ("memory", {"stdin": "x" * (1 << 20)})):
                with self.subTest(accept, words=words):
                    answer = self.service.post({"script": "", **fields}, headers={"Accept": accept})
                    # The last job is an eighth of the average (pool.cc), and more than eight times that is in line.
                    self.assert_later(answer, 429, words, at_least=SLEEP)
        self.assertEqual(self.waits(), waits)  # nobody of these has waited
        for client in [*waiting, running]:
            client.close()
        eventually(self.service.idle, "an idle service", 30)

    def test_the_end_of_the_service_is_503_for_who_waits_and_for_who_comes(self):
        with Service(workers=1) as service:
            running = self.begin(service, EVERY_FORM[0])
            service.wait_busy()
            waiting = [self.begin(service, accept) for accept in EVERY_FORM]
            eventually(lambda: service.health()["queue"] == len(waiting), "some that wait")
            service.process.terminate()
            for accept, client in zip(EVERY_FORM, waiting):
                with self.subTest(accept, who="waits"):
                    self.assert_later(Answer(client.getresponse()), 503, "shutting down")
                with self.subTest(accept, who="comes"):
                    self.assert_later(service.post({"script": ""}, headers={"Accept": accept}), 503, "shutting down")
            running.close()  # cancelled, or its service would wait for it
            self.assertEqual(service.wait_end(), 0)


if __name__ == "__main__":
    main()
