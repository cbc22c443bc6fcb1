"""Role: what a warm runner writes to is its own when it is forked, where the kernel lets templates pin it.
Callers: meson test, in the modes that root starts the service in. It stays root: for everybody else the limit on locked
memory counts what templates of other services of the same user pin, so that nobody could tell what has to come out.
"""
import ctypes
import os
import pathlib
import re

from contract import ServiceTest, main


def has_rings():
    ring = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120))  # io_uring_setup, struct io_uring_params
    if ring >= 0:
        os.close(ring)
    return ring >= 0


class Pinned(ServiceTest):
    workers = 1
    arguments = ["--preload=json,re,random", "--user=root"]

    def test_what_is_pinned_costs_no_fault(self):
        faults, private_kib = map(int, self.output_of("""
            import resource
            print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
            print(sum(int(line.split()[1]) for line in open('/proc/self/smaps') if line.startswith('Private_Dirty:')))
            """).split())
        pages = private_kib // 4
        self.assertGreater(pages, 250)
        if has_rings():
            self.assertLess(faults, pages / 2)
        else:  # each of them was fetched
            self.assertGreater(faults, pages / 2)

    def test_only_the_template_goes_without_large_pages(self):
        # A pinned page of a large one would have all of it copied.
        template, = self.service.templates()
        large = re.search(r"THP_enabled:\s+([01])", pathlib.Path(f"/proc/{template}/status").read_text())
        self.assertEqual(large[1], "0" if has_rings() else "1")
        self.assertIn("THP_enabled:\t1\n", self.output_of("print(open('/proc/self/status').read())"))


if __name__ == "__main__":
    main()
