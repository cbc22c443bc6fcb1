"""Role: what a warm runner writes to is its own when it is forked, where the kernel lets templates pin it.
Callers: meson test, in the modes that root starts the service in: a limit on locked memory would count what templates of
other services of the same user pin, so that nobody could tell what has to come out.
"""
import ctypes
import os

from contract import ServiceTest, main


def has_rings():
    ring = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120))  # io_uring_setup, struct io_uring_params
    if ring >= 0:
        os.close(ring)
    return ring >= 0


class Pinned(ServiceTest):
    workers = 1
    arguments = ["--preload=json,re,random"]

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


if __name__ == "__main__":
    main()
