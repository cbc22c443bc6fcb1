"""Role: a worker that has something of a job left is found out, counted, named, and replaced.
Callers: meson test, once a mode of starting the service.
Law: production workers, each with one function replaced that then leaks (tests/support/altered_worker.cc).
"""
import os
import shutil
import unittest

from contract import main
from service import REDUCED, Service, eventually

ROWS = [("worker_leaks_descriptors", "1 descriptor"), ("worker_leaks_processes", "1 process (")]
if REDUCED:  # at the full level no job has a folder outside its own mounts
    ROWS.append(("worker_leaks_folders", "its folder"))


class LeakyService(Service):
    def __init__(self, program):
        super().__init__("--runner=fresh", workers=1)
        self.program = program

    def install(self):
        super().install()
        shutil.copy(os.path.join(os.environ["TEST_PROGRAMS"], self.program),
                    os.path.join(self.home, "coderunner-worker"))


class Sentinel(unittest.TestCase):
    def test_a_leak_is_counted_and_named_and_its_worker_replaced(self):
        for program, what in ROWS:
            with self.subTest(program), LeakyService(program) as service:
                # The service has tried its sandbox at the start: that was a job, too.
                self.assertEqual(service.health()["leaks"], 1)
                first = service.worker_pids()
                answer = service.post({"script": "print('fine')"})
                self.assertEqual((answer.json["exit_code"], answer.json["stdout"]), (0, "fine\n"))
                eventually(lambda: service.worker_pids() not in ([], first) and service.idle(), "another worker", 30)
                self.assertEqual(service.health()["leaks"], 2)
            text = service.errors.decode()
            self.assertEqual(text.count(f"a job has left behind: {what}"), 2, text)
            self.assertEqual(text.count("worker 0 is replaced: "), 2, text)


if __name__ == "__main__":
    main()
