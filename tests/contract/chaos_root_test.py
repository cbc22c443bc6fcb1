"""Role: what only root can take away from a running service: its cgroups.
Callers: meson test, in the modes that root starts the service in.
"""
import concurrent.futures
import contextlib
import glob
import os
import pathlib
import signal
import stat
import unittest

from chaos_test import REASON, Storm
from contract import main
from service import Service, eventually


class CgroupsThatVanish(unittest.TestCase):
    """Without the cgroups that it was promised no worker starts: a sandbox is never silently weaker. Root only, as only
    root is given cgroups by a machine that nobody has prepared; an ordinary user's come by delegation, from systemd."""

    HOG = {"script": "block = b'x' * 2**30\nprint('unlimited')", "detail": True}

    def groups(self, service):
        found = sorted(path for depth in ("*/", "", "*/*/", "*/*/*/") for path in
                       glob.glob(f"/sys/fs/cgroup/{depth}coderunner-{service.process.pid}/w*"))
        self.assertTrue(found, "root has cgroups to lose")
        return found

    def move_up_and_remove(self, path):
        """True once it is gone: its processes are moved up, one by one, until none is left."""
        try:
            for pid in pathlib.Path(path, "cgroup.procs").read_text().split():
                pathlib.Path(path, "../../cgroup.procs").write_text(pid)
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except (OSError, ProcessLookupError):
            return False
        return True

    @contextlib.contextmanager
    def without(self, *paths):
        """These groups are gone, and afterwards there again, as the service had made them."""
        owner = os.stat(paths[0])
        for path in paths:
            eventually(lambda: self.move_up_and_remove(path), f"{path} gone", 30)
        try:
            yield
        finally:
            for path in paths:
                os.mkdir(path)
                for file in (pathlib.Path(path), *pathlib.Path(path).iterdir()):
                    if file.stat().st_mode & stat.S_IWUSR:
                        os.chown(file, owner.st_uid, owner.st_gid)

    def refusal(self, service):
        """What a request is answered once no worker can start any more, and what health says then."""
        def refused():
            health = service.request("GET", "/api/health")
            return health if health.status == 503 and "cgroup" in health.json.get("trouble", "") else None
        eventually(refused, "a service that tells of its cgroups", 60)
        answer = service.post({"script": "print(1)"})
        self.assertEqual(answer.status, 503, answer)
        self.assertIn("cgroup", answer.json["error"])

    def check_limited(self, service):
        """Jobs run, on all workers, and within their memory."""
        eventually(service.idle, "workers that have their cgroups again", 60)
        with concurrent.futures.ThreadPoolExecutor(service.workers) as threads:
            for answer in threads.map(service.post, [self.HOG] * service.workers):
                self.assertEqual((answer.json["exit_code"], answer.json["stdout"]), (137, ""), answer)
                self.assertEqual(answer.json["run"]["verdict"], "out_of_memory")
        self.assertRegex(service.health()["sandbox"]["memory_accounting"], "cgroup")

    def test_a_job_does_not_go_on_without_a_limit(self):
        with Service("--memory=256M", workers=1) as service:
            service.remember()
            for path in self.groups(service):
                with self.subTest(path), concurrent.futures.ThreadPoolExecutor(1) as threads:
                    running = threads.submit(service.post, {"script": "print('began', flush=True)\nwhile True: pass"})
                    service.wait_busy()
                    service.spinning()
                    with self.without(path):
                        result = running.result().json
                        self.assertEqual((result["exit_code"], result["stdout"]), (-1, "began\n"), result)
                        self.assertIn("cgroup: ", result["stderr"].split(REASON)[1])
                        self.refusal(service)
                    self.check_limited(service)

    def test_under_load_every_request_gets_one_answer_and_jobs_run_again(self):
        with Service("--memory=256M", "--preload=json,re", workers=2) as service:
            service.remember()
            storm = Storm(service, 4)
            eventually(lambda: storm.right >= 20, "right answers", 60)
            with self.without(*self.groups(service)):
                self.refusal(service)
            before = storm.right
            eventually(lambda: storm.right >= before + 20, "right answers again", 60)
            outcomes = storm.end()
            print(f"answers {outcomes}")
            self.assertGreater(outcomes["refused 503"], 0)
            self.check_limited(service)

    def test_every_run_is_answered_and_the_reason_is_told(self):
        with Service(workers=1) as service:
            self.assertEqual(service.post({"script": "print(1)"}).json["stdout"], "1\n")
            for path in self.groups(service):
                eventually(lambda: self.move_up_and_remove(path), f"{path} gone")

            def refused():
                answer = service.post({"script": "print(1)"})
                if answer.status == 503:
                    return answer
                self.assertEqual(answer.status, 200, answer)
                if answer.json["exit_code"] == -1:
                    self.assertGreater(len(answer.json["stderr"].split(REASON)[1]), 5)
                else:
                    self.assertEqual(answer.json["stdout"], "1\n")
                for pid in service.worker_pids():  # one that still has what it opened may go on with it
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return None
            answer = eventually(refused, "503", 60)
            self.assertIn("cgroup", answer.json["error"])
            health = service.request("GET", "/api/health")
            self.assertEqual(health.status, 503)
            self.assertIn("cgroup", health.json["trouble"])
            self.assertEqual(service.terminate(), 0)


if __name__ == "__main__":
    main()
