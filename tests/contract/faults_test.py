"""Role: what is lost when something dies, and what is not; how the service ends.
Callers: meson test, once a mode of starting the service.
"""
import concurrent.futures
import os
import pathlib
import signal
import tempfile
import threading
import time
import unittest

from contract import ServiceTest, main
from service import RUNNER, Service, alive, descendants, eventually, process_name, stat_fields

SPIN = {"script": "while True: pass", "timeout_s": 60}
REASON = "[Internal execution error] "


class Deaths(ServiceTest):
    """A process that is killed from outside costs one job at most."""

    workers = 2
    arguments = ["--preload=json"]  # templates that are soon ready: many are killed here

    def setUp(self):
        self.threads = self.enterContext(concurrent.futures.ThreadPoolExecutor(4))
        eventually(self.service.idle, "an idle service", 30)

    def start(self, fields):
        """A job that runs, as a future of its answer."""
        answer = self.threads.submit(self.service.post, fields)
        self.service.wait_busy()
        return answer

    def worker_above(self, pid):
        workers = set(self.service.worker_pids())
        while pid not in workers:
            pid = int(stat_fields(pid)[1])
        return pid

    def assert_recovered(self):
        eventually(self.service.idle, "all workers ready again", 20)
        self.assert_still_serves()

    def test_a_killed_worker_costs_its_own_job_and_is_replaced(self):
        answer = self.start({**SPIN, "script": "print('before', flush=True)\nwhile True: pass"})
        spinning = self.service.spinning()
        worker = self.worker_above(spinning)
        below = descendants(worker)
        other = self.threads.submit(self.service.post, {"script": "import time; time.sleep(1); print('unharmed')"})
        self.service.wait_busy(2)
        os.kill(worker, signal.SIGKILL)
        result = answer.result()
        self.assertEqual((result.status, result.json["exit_code"]), (200, -1), result)
        self.assertIn(REASON, result.json["stderr"])
        self.assertGreater(len(result.json["stderr"].split(REASON)[1].strip()), 5, "the reason is told")
        self.assertEqual(result.json["stdout"], "before\n", "what had arrived is kept")
        eventually(lambda: not any(alive(pid) for pid in below), "no process of the killed worker's", 5)
        self.assertEqual(other.result().json["stdout"], "unharmed\n")
        self.assert_recovered()

    def test_an_idle_worker_that_is_killed_is_replaced(self):
        for worker in self.service.worker_pids():
            os.kill(worker, signal.SIGKILL)
            eventually(lambda: worker not in self.service.worker_pids(), "the worker gone", 5)
        eventually(lambda: len(self.service.worker_pids()) == 2, "two workers again", 20)
        self.assert_recovered()

    def test_a_stopped_worker_does_not_stop_the_service(self):
        worker = self.service.worker_pids()[0]
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(self.service.request("GET", "/api/health").status, 200)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: worker not in self.service.worker_pids(), "the worker gone", 5)
        self.assert_recovered()

    def test_a_script_killed_from_outside_is_killed_by_signal_9(self):
        answer = self.start({**SPIN, "detail": True})
        os.kill(self.service.spinning(), signal.SIGKILL)
        result = answer.result().json
        self.assertEqual((result["exit_code"], result["run"]["verdict"]), (137, "killed"), result)
        self.assert_recovered()

    def test_a_killed_first_process_of_a_sandbox_is_our_fault(self):
        answer = self.start(SPIN)
        spinning = self.service.spinning()
        init, = (pid for pid in descendants(self.worker_above(spinning))
                 if process_name(pid).startswith("coderunner-work"))
        os.kill(init, signal.SIGKILL)
        result = answer.result()
        self.assertEqual((result.status, result.json["exit_code"]), (200, -1), result)
        self.assertIn(REASON, result.json["stderr"])
        eventually(lambda: not alive(spinning), "the script gone with it", 5)
        self.assert_recovered()

    def agents(self, kind):
        """Pids of all processes of one kind below the service."""
        if kind == "worker":
            return set(self.service.worker_pids())
        if kind == "template":
            return self.service.templates()
        if kind == "runner":
            return self.service.runners()
        workers = {str(pid) for pid in self.service.worker_pids()}
        return {pid for pid in descendants(self.service.process.pid)
                if process_name(pid).startswith("coderunner-work") and (stat_fields(pid) or "00")[1] in workers}

    def settle(self):
        """Waits until nothing is being prepared any more: each worker has all that it keeps while it is idle, and a
        parked runner is its own template's."""
        def settled():
            parents = [(stat_fields(pid) or "00")[1] for pid in self.agents("runner")]
            own = self.agents("template") if RUNNER == "warm" else self.agents("init")
            return self.service.idle() and len(own) == 2 and sorted(parents) == sorted(map(str, own))
        eventually(settled, "a settled service", 120)

    def test_kills_at_idle_cost_no_job(self):
        """Whatever is killed while no job runs, and however many of it: the requests that follow find nothing amiss."""
        for kind in ("runner", "init", "worker") + (("template",) if RUNNER == "warm" else ()):
            for _ in range(2):
                with self.subTest(kind):
                    self.settle()
                    for pid in self.agents(kind):
                        os.kill(pid, signal.SIGKILL)
                    answers = list(self.threads.map(lambda n: self.service.post({"script": f"print({n})"}), range(4)))
                    results = [(answer.status, answer.json["exit_code"], answer.json["stdout"]) for answer in answers]
                    self.assertEqual(results, [(200, 0, f"{n}\n") for n in range(4)],
                                     [answer.body for answer in answers])
        self.settle()

    def test_kills_under_requests_leave_every_one_its_answer(self):
        # Who may lose the job that it is busy with. A template is busy with none.
        kinds = {"runner": (0, -1, 137), "init": (0, -1), "worker": (0, -1),
                 **({"template": (0,)} if RUNNER == "warm" else {})}
        for kind, codes in kinds.items():
            with self.subTest(kind):
                self.settle()
                done = threading.Event()

                def ask():
                    answers = []
                    while not done.is_set():
                        answers.append(self.service.post({"script": "print('whole')"}))
                    return answers
                askers = [self.threads.submit(ask) for _ in range(3)]
                try:
                    for _ in range(4):
                        victim = self.kill_one(kind)
                        eventually(lambda: not alive(victim), "the victim gone", 20)
                finally:
                    done.set()
                answers = [answer for asker in askers for answer in asker.result()]
                self.assertTrue(answers)
                for answer in answers:
                    self.assertEqual(answer.status, 200, answer)
                    self.assertIn(answer.json["exit_code"], codes, answer)
                    if answer.json["exit_code"] == 0:
                        self.assertEqual(answer.json["stdout"], "whole\n")
        self.settle()

    def kill_one(self, kind):
        while True:
            victim = eventually(lambda: self.victim(kind), f"a {kind}", 60)
            try:
                os.kill(victim, signal.SIGKILL)
                return victim
            except ProcessLookupError:
                pass  # it has ended by itself meanwhile

    def victim(self, kind):
        """One process of a kind; of the templates, one that has a runner, for those that never have one are given
        up."""
        agents = self.agents(kind)
        if kind == "template":
            agents &= {int((stat_fields(pid) or "00")[1]) for pid in self.agents("runner")}
        return next(iter(agents), None)

    def test_killed_parked_interpreters_are_replaced_unseen(self):
        parked = self.service.runners
        for _ in range(3):
            before = eventually(lambda: len(parked()) == 2 and parked(), "two parked interpreters")
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: len(parked()) == 2 and not parked() & before, "two others", 20)
            self.assert_recovered()


    def test_killed_templates_cost_no_job_and_are_replaced(self):
        if not self.service.templates():
            self.assertEqual(RUNNER, "fresh", "warm runners have templates")
            return
        for _ in range(2):
            before = eventually(lambda: len(self.service.templates()) == 2 and self.service.templates(),
                                "two templates", 30)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
                self.assert_still_serves()
            eventually(lambda: not self.service.templates() & before, "the killed ones gone", 5)
            self.assert_recovered()
        eventually(lambda: self.service.post({"script": "", "detail": True}).json["run"]["runner"] == "warm",
                   "a warm run", 30)


class Leftovers(unittest.TestCase):
    """To import a module may start programs: they belong to the template that imported it."""

    def test_what_a_template_has_started_ends_with_it(self):
        with tempfile.TemporaryDirectory(prefix="packages-", dir="/var/tmp") as packages:
            os.chmod(packages, 0o755)
            pathlib.Path(packages, "starts.py").write_text(
                "import subprocess\nsubprocess.Popen(['/bin/sleep', '300'], stdin=subprocess.DEVNULL)\n")
            with Service("--preload=starts", f"--packages={packages}", workers=1) as service:
                def sleepers():
                    return {pid for pid in descendants(service.process.pid) if process_name(pid) == "sleep"}
                if RUNNER == "fresh":
                    self.assertEqual(service.post({"script": "print(1)"}).json["stdout"], "1\n")
                    self.assertEqual((sleepers(), service.templates()), (set(), set()))
                    return
                for _ in range(2):
                    before = eventually(lambda: service.templates() and sleepers(), "what the template starts", 60)
                    for pid in service.templates():
                        os.kill(pid, signal.SIGKILL)
                    eventually(lambda: not any(alive(pid) for pid in before), "it gone with its template", 20)
                    eventually(lambda: sleepers() and not sleepers() & before, "another one", 60)


class Supervisor(unittest.TestCase):
    """The service's own end, however it comes."""

    def test_a_killed_supervisor_takes_everything_along(self):
        for busy in (True, False):
            with self.subTest(busy=busy), Service(workers=2) as service, \
                    concurrent.futures.ThreadPoolExecutor(2) as threads:
                if busy:
                    lost = threads.submit(lambda: self.assertRaises(OSError, service.post, SPIN) and None)
                    service.wait_busy()
                    service.spinning()
                below = descendants(service.process.pid)
                self.assertGreaterEqual(len(below), 2)
                service.process.kill()
                service.process.wait()
                end = time.monotonic() + 2
                while (left := [pid for pid in below if alive(pid)] + service.leftovers()) and time.monotonic() < end:
                    time.sleep(0.01)
                self.assertEqual(left, [], "2 s after the supervisor")
                if busy:
                    threads.shutdown()
                    self.assertTrue(lost.done())

    def test_a_killed_supervisor_ends_even_a_script_that_resists(self):
        script = ("import os, signal, time\n"
                  "for s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
                  "for _ in range(3):\n"
                  "    if os.fork() == 0: os.setsid()\n"
                  "while True: pass\n")
        with Service(workers=1) as service, concurrent.futures.ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: self.assertRaises(OSError, service.post, {**SPIN, "script": script}) and None)
            service.spinning()
            below = descendants(service.process.pid)
            service.process.kill()
            service.process.wait()
            eventually(lambda: not any(alive(pid) for pid in below) and not service.leftovers(), "nothing left", 3)

    def test_sigterm_lets_running_jobs_finish_and_refuses_new_ones(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Service(workers=1) as service, \
                    concurrent.futures.ThreadPoolExecutor(2) as threads:
                running = threads.submit(service.post, {"script": "import time; time.sleep(2); print('finished')"})
                service.wait_busy()
                service.process.send_signal(number)
                refused = eventually(lambda: self.refusal(service), "503", 5)
                self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
                self.assertEqual(list(refused.json), ["error"])
                self.assertEqual(running.result().json["stdout"], "finished\n")
                self.assertEqual(service.wait_end(), 0)

    def refusal(self, service):
        answer = service.post({"script": "pass"}, timeout=5)
        return answer if answer.status == 503 else None

    def test_requests_that_wait_when_the_end_comes_are_told_to_come_again(self):
        with Service(workers=1) as service, concurrent.futures.ThreadPoolExecutor(3) as threads:
            running = threads.submit(service.post, {"script": "import time; time.sleep(2); print('finished')"})
            service.wait_busy()
            waiting = threads.submit(service.post, {"script": "pass"})
            eventually(lambda: service.health()["queue"] == 1, "one that waits")
            service.process.send_signal(signal.SIGTERM)
            self.assertEqual(waiting.result().status, 503)
            self.assertIsNotNone(waiting.result().headers["Retry-After"])
            self.assertEqual(running.result().json["stdout"], "finished\n")
            self.assertEqual(service.wait_end(), 0)

    def test_a_job_longer_than_the_grace_ends_as_timed_out_with_its_output(self):
        with Service("--grace=1", workers=1) as service, concurrent.futures.ThreadPoolExecutor(1) as threads:
            running = threads.submit(service.post, {"script": "print('kept', flush=True)\nwhile True: pass"})
            service.wait_busy()
            service.spinning()
            service.process.send_signal(signal.SIGTERM)
            result = running.result()
            self.assertEqual((result.status, result.json["exit_code"], result.json["stdout"]), (200, 124, "kept\n"))
            self.assertTrue(result.json["stderr"].endswith("[Error: Script timed out]"), result)
            self.assertEqual(service.wait_end(), 0)

    def test_an_idle_service_ends_at_once(self):
        with Service(workers=2) as service:
            idle = service.connect()
            idle.request("GET", "/api/health")
            idle.getresponse().read()
            service.process.send_signal(signal.SIGTERM)
            self.assertEqual(service.wait_end(10), 0)
            idle.close()

    def test_health_is_503_while_draining(self):
        with Service(workers=1) as service, concurrent.futures.ThreadPoolExecutor(1) as threads:
            running = threads.submit(service.post, {"script": "import time; time.sleep(2)"})
            service.wait_busy()
            service.process.send_signal(signal.SIGTERM)
            eventually(lambda: service.request("GET", "/api/health").status == 503, "503", 5)
            self.assertEqual(running.result().status, 200)
            self.assertEqual(service.wait_end(), 0)

    def test_two_services_do_not_disturb_each_other(self):
        with Service(workers=1) as one:
            with Service(workers=1) as two:
                self.assertEqual(two.post({"script": "print(2)"}).json["stdout"], "2\n")
            self.assertEqual(one.post({"script": "print(1)"}).json["stdout"], "1\n")

    def test_a_port_that_is_taken_is_an_error_that_says_so(self):
        import subprocess
        with Service(workers=1) as one:
            done = subprocess.run(one.command("serve", f"--listen=127.0.0.1:{one.port}"), env=one.environment(),
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(str(one.port).encode(), done.stderr)
            self.assertEqual(one.post({"script": "print(1)"}).json["stdout"], "1\n")


if __name__ == "__main__":
    main()
