"""Role: GET /api/health and GET /.
Callers: meson test, once a mode of starting the service.
"""
import re
import threading

from contract import ServiceTest, main
from service import PYTHON, REDUCED, REFUSED, eventually


class Health(ServiceTest):
    """What an operator and a load balancer ask."""

    workers = 2

    def test_an_idle_service_is_healthy(self):
        eventually(self.service.idle, "an idle service")
        answer = self.service.request("GET", "/api/health")
        self.assertEqual((answer.status, answer.headers["Content-Type"].split(";")[0]), (200, "application/json"))
        health = answer.json
        self.assertEqual(health["status"], "healthy")
        self.assertEqual(health["workers"], {"ready": 2, "busy": 0})
        self.assertEqual(health["queue"], 0)
        self.assertRegex(health["version"], r"^\d+\.\d+\.\d+")

    def test_the_interpreter_is_the_one_that_runs_scripts(self):
        version = self.service.health()["python"]
        self.assertIn(self.output_of("import platform; print(platform.python_version())").strip(), version)
        self.assertEqual(self.output_of("import sys; print(sys.executable)").strip(), PYTHON)

    def test_each_layer_of_the_sandbox_is_reported(self):
        sandbox = self.service.health()["sandbox"]
        self.assertEqual(sandbox["level"], "reduced" if REDUCED else "full")
        text = repr(sandbox)
        for layer in ("network", "syscalls", "memory", "process_limit", "namespaces"):
            self.assertIn(layer, text)
        for name, layer in sandbox["layers"].items():
            self.assertIsInstance(layer["active"], bool)
            self.assertTrue(layer["detail"], f"{name} says by what means, or what would cure it")

    def test_a_service_that_is_reduced_says_why(self):
        health, started = self.service.health()["sandbox"], self.service.lines[0]
        self.assertEqual(started["sandbox"], health["level"])
        why = "denied by user.max_user_namespaces=0" if REFUSED else "--sandbox=reduced" if REDUCED else None
        if why is None:
            self.assertNotIn("detail", started)
        else:
            self.assertIn(why, started["detail"])
            self.assertIn(why, repr(health["layers"]))

    def test_the_filter_for_system_calls_is_always_there(self):
        self.assertIs(self.service.health()["sandbox"]["layers"]["syscalls"]["active"], True)

    def test_busy_workers_and_waiting_requests_are_counted(self):
        answers = []
        script = {"script": "import sys, time\nwhile True: time.sleep(0.05)", "timeout_s": 3}
        threads = [threading.Thread(target=lambda: answers.append(self.service.post(script))) for _ in range(5)]
        for thread in threads:
            thread.start()
        eventually(lambda: self.service.health()["queue"] == 3, "three that wait")
        health = self.service.health()
        self.assertEqual((health["workers"]["busy"], health["status"]), (2, "healthy"))
        for thread in threads:
            thread.join()
        self.assertEqual([answer.json["exit_code"] for answer in answers], [124] * 5)
        eventually(self.service.idle, "an idle service")

    def test_a_service_between_two_jobs_is_healthy(self):
        # A worker that prepares its next sandbox is no reason to take the service out of a load balancer.
        for _ in range(30):
            self.service.post({"script": "pass"})
            self.service.post({"script": "pass"})
            self.assertEqual(self.service.request("GET", "/api/health").status, 200)

    def test_head_and_get_agree(self):
        answer = self.service.request("HEAD", "/api/health")
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_the_front_page_is_there(self):
        answer = self.service.request("GET", "/")
        self.assertEqual(answer.status, 200)
        self.assertTrue(re.search(rb"CodeRunner", answer.body))


if __name__ == "__main__":
    main()
