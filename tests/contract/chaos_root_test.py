"""Role: what only root can take away from a running service: space under its temporary directory, and its cgroups.
Callers: meson test, in the modes that root starts the service in.
"""
import contextlib
import glob
import os
import pathlib
import signal
import unittest

from contract import main
from service import REDUCED, Service, eventually

REASON = "[Internal execution error] "


class SmallDisk(Service):
    """A service whose temporary directory is a disk of 4 MiB, which nobody else sees."""

    def command(self, *words):
        line = super().command(*words)
        mount = 'mount -t tmpfs -o size=4m,mode=1777 tmpfs "$TMPDIR" && exec "$@"'
        return ["/usr/bin/unshare", "--mount", "--propagation=private", "/bin/sh", "-c", mount, "sh", *line]

    def disk(self):
        return pathlib.Path(f"/proc/{self.process.pid}/root{self.temp}")


class FullDisk(unittest.TestCase):
    """Without space under the temporary directory a run fails with a reason, or never needed any."""

    def test_runs_are_answered_with_the_reason_and_the_service_recovers(self):
        with SmallDisk(workers=1) as service:
            script = {"script": "open('a', 'w').write('x' * 100000)\nprint('written')", "detail": True}
            self.assertEqual(service.post(script).json["stdout"], "written\n")
            eventually(service.idle, "an idle service", 30)
            filler = service.disk() / "filler"
            with open(filler, "wb", buffering=0) as file:
                with self.assertRaises(OSError):
                    while True:
                        file.write(bytes(4096))
            for _ in range(3):
                answer = service.post(script)
                self.assertEqual(answer.status, 200, answer)
                self.check(answer.json)
                self.assertIn(service.request("GET", "/api/health").status, (200, 503))
            filler.unlink()
            eventually(service.idle, "an idle service", 60)
            self.assertEqual(service.post(script).json["stdout"], "written\n")

    def check(self, result):
        if not REDUCED:  # a job of the full level writes to memory of its own
            self.assertEqual((result["stdout"], result["exit_code"]), ("written\n", 0), result)
        elif result["exit_code"] == -1:  # the script itself did not fit
            self.assertIn("no room", result["stderr"].split(REASON)[1])
        else:  # the script did, its file did not
            self.assertEqual((result["exit_code"], result["run"]["exception"]["type"]), (1, "OSError"), result)


class CgroupsThatVanish(unittest.TestCase):
    """Without the cgroups that it was promised no worker starts: a sandbox is never silently weaker."""

    def groups(self, service):
        return sorted(path for depth in ("*/", "", "*/*/", "*/*/*/") for path in
                      glob.glob(f"/sys/fs/cgroup/{depth}coderunner-{service.process.pid}/w*"))

    def remove(self, path):
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

    def test_every_run_is_answered_and_the_reason_is_told(self):
        with Service(workers=1) as service:
            groups = self.groups(service)
            self.assertTrue(groups, "root has cgroups to lose")
            self.assertEqual(service.post({"script": "print(1)"}).json["stdout"], "1\n")
            for path in groups:
                eventually(lambda: self.remove(path), f"{path} gone")
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
