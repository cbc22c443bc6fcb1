"""Role: a service that may open few files.
Callers: chaos_test.py, openapi_statuses_test.py.
"""
import subprocess

from service import Service


class Limited(Service):
    """A service that may open few files, and can be told to open none."""

    def command(self, *words):
        line = super().command(*words)
        at = line.index(self.binary)
        return [*line[:at], "/usr/bin/prlimit", "--nofile=128:128", "--", *line[at:]]

    def allow(self, descriptors):
        """From now on, and for what is open nothing changes (setrlimit(2)); only its own user may say so."""
        *become, _ = super().command()
        subprocess.run([*become, "/usr/bin/prlimit", f"--pid={self.process.pid}", f"--nofile={descriptors}:"],
                       check=True, timeout=60)
