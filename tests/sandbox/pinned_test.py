"""Role: what a warm runner writes to is its own when it is forked, where the kernel lets templates pin it.
Callers: meson test, in the modes that root starts the service in. For everybody but root the limit on locked memory
counts what templates of other services of the same user pin; so the service is root's here, or a user's who has no other.
"""
import ctypes
import os
import pathlib
import re
import resource

from contract import ServiceTest, main
from service import RUNNER, Service

FAULTS_AND_PAGES = """
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
private = sum(int(line.split()[1]) for line in open('/proc/self/smaps') if line.startswith('Private_Dirty:'))
print(private * 1024 // resource.getpagesize())
"""


def can_pin():
    """Whether templates can here: they are there, and the kernel makes rings, io_uring_setup(2)."""
    ring = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120))  # struct io_uring_params
    if ring >= 0:
        os.close(ring)
    return RUNNER == "warm" and ring >= 0


class Pinned(ServiceTest):
    workers = 1
    arguments = ["--preload=json,re,random", "--user=root"]

    def check_faults(self, few):
        faults, pages = map(int, self.output_of(FAULTS_AND_PAGES).split())
        self.assertGreater(pages, 50)
        if few:
            self.assertLess(faults, pages / 2)
        else:  # each of them was fetched
            self.assertGreater(faults, pages / 2)

    def test_what_is_pinned_costs_no_fault(self):
        self.check_faults(few=can_pin())

    def test_only_the_template_goes_without_large_pages(self):
        # A pinned page of a large one would have all of it copied.
        for template in self.service.templates():
            large = re.search(r"THP_enabled:\s+([01])", pathlib.Path(f"/proc/{template}/status").read_text())
            self.assertEqual(large[1], "0" if can_pin() else "1")
        self.assertIn("THP_enabled:\t1\n", self.output_of("print(open('/proc/self/status').read())"))


class OfAnotherUser(Pinned):
    """Whose memory counts."""

    arguments = ["--preload=json,re,random", "--user=games"]

    def test_the_template_may_lock_as_much_as_the_service(self):
        most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        for template in self.service.templates():
            limits = pathlib.Path(f"/proc/{template}/limits").read_text()
            soft, hard = re.search(r"Max locked memory +(\w+) +(\w+)", limits).groups()
            self.assertEqual(soft, hard)
            self.assertTrue(hard == "unlimited" or int(hard) >= most)


class Little(Service):
    def command(self, *words):
        without_right_to_raise = ["/usr/bin/setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "--"]
        return [*without_right_to_raise, "/usr/bin/prlimit", "--memlock=65536:65536", *super().command(*words)]


class WhoMayLockLittle(Pinned):
    """Then runners fetch what they will write to, and all else is as ever."""

    arguments = ["--preload=json,re,random", "--user=games"]
    service_class = Little

    def test_what_is_pinned_costs_no_fault(self):
        self.check_faults(few=False)


if __name__ == "__main__":
    main()
