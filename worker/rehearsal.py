# Role: finds out which pages of memory a job writes to before it has run a line of its script, and has each runner get
# them before the job is there.
# Callers: template.py; the build puts this behind it, into one file (meson.build).
# Law: it may save time, and nothing else: what it does not know is touched later, at the price of a fault. The script
# is in a folder that no job has had yet, and is gone before the template is ready: its child may do all that the
# template may.
#
# After a fork every first write to a page costs a fault. There are hundreds, nearly the same in each runner. So a child
# of the template runs a script of ours, from its bootstrap to its end as a job does, and tells which pages it has got
# of its own. These are pinned in the template, which has fork(2) copy them (pin_ring.h says more); where they can not
# be, runners have them made theirs in few system calls, while they park.

MADV_POPULATE_WRITE = 23                          # asm-generic/mman-common.h, Linux 5.14
# asm-generic/unistd.h; PIDFD_SELF of linux/fcntl.h as of Linux 6.18. A kernel that lacks either refuses the call.
PROCESS_MADVISE, PIDFD_SELF = 440, -10000
IOVECS = 1024                                     # UIO_MAXIOV, linux/uio.h
IO_URING_REGISTER, IORING_REGISTER_BUFFERS = 427, 0  # asm-generic/unistd.h, linux/io_uring.h
PAGE_PRESENT, PAGE_OF_FILE, PAGE_EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56  # Documentation/admin-guide/mm/pagemap.rst

# What scripts do, in small.
REHEARSAL = """
import sys, os, json
class Thing:
    def __init__(self, value): self.value = value
    def __repr__(self): return f'{self.value!r:>5}'
def work(n):
    things = [Thing(i) for i in range(n)]
    table = {str(t): t for t in things}
    return sorted(table), sum(t.value for t in things), '%d' % n, 1.5 * n, 10 ** 30 // 7
text = ', '.join(map(str, work(200)))
try:
    raise ValueError(text.encode().decode().split(','))
except ValueError as error:
    print(len(str(error)))
with open('script.py') as file:
    print(json.dumps({line: len(line) for line in file}))
print(text, file=sys.stderr)
"""


def iovecs(stretches):
    """Stretches of memory, (address, length) each, as an array of struct iovec."""
    import ctypes

    class Stretch(ctypes.Structure):
        _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    return (Stretch * len(stretches))(*stretches)


def pin(libc, ring, stretches, is_of_file):
    """Pins these as far as the kernel allows it: not more than 16384 of them (1024 before Linux 5.13), and before Linux
    6.5 none in a mapping of a file, though their pages are the process's own. Returns those that are left."""
    for is_left in (lambda stretch: False, is_of_file):
        chosen = iovecs([stretch for stretch in stretches if not is_left(stretch)])
        if libc.syscall(IO_URING_REGISTER, ring, IORING_REGISTER_BUFFERS, chosen, len(chosen)) == 0:
            return [stretch for stretch in stretches if is_left(stretch)]
    return stretches


def own_pages(libc, stretches):
    """A function that makes a process's own what it shares of these: by one system call for many of them where the
    kernel has that, else one by one."""
    import ctypes

    batches = []
    for at in range(0, len(stretches), IOVECS):
        batch = stretches[at:at + IOVECS]
        total = sum(length for _, length in batch)
        batches.append((iovecs(batch), ctypes.c_size_t(len(batch)), total))
    call, itself, advice = PROCESS_MADVISE, PIDFD_SELF, MADV_POPULATE_WRITE

    def take():
        for batch, count, total in batches:
            if libc.syscall(call, itself, batch, count, advice, 0) != total:
                for stretch in batch:  # what can not be had now is touched when it is needed
                    libc.madvise(ctypes.c_void_p(stretch.start), ctypes.c_size_t(stretch.length), advice)

    return take


def rehearse(libc, become, pins):
    """Forks a child and has `become` make a runner of it, with a function to call when it ends. Returns True in that
    child, which is to go on as runners do; in this process what later children have to call to get the same pages, None:
    nothing, all are pinned. `pins` is the descriptor of an io_uring, or -1, and is closed."""
    import array
    import ctypes
    import os

    page = os.sysconf("SC_PAGE_SIZE")
    own = PAGE_PRESENT | PAGE_EXCLUSIVE  # bootstrap.py leaves none of these names behind
    wanted = own | PAGE_OF_FILE

    def mappings():
        with open("/proc/self/maps") as lines:
            for line in lines:
                bounds, rights, _, _, inode = line.split(None, 5)[:5]
                start, end = (int(number, 16) for number in bounds.split("-"))
                if rights.startswith("rw"):
                    yield start, end, inode != "0"

    before = list(mappings())

    # Address and length in turn.
    def touched():
        found = array.array("Q")
        file = os.open("/proc/self/pagemap", os.O_RDONLY)
        for start, end, _ in before:
            entries = array.array("Q")
            entries.frombytes(os.pread(file, (end - start) // page * 8, start // page * 8))
            together = False
            for number, entry in enumerate(entries):
                if entry & wanted != own:
                    together = False
                elif together:
                    found[-1] += page
                else:
                    found.extend((start + number * page, page))
                    together = True
        return found.tobytes()

    def tell(pipe, answer):
        while answer:
            answer = answer[os.write(pipe, answer):]

    reader, writer = os.pipe()
    with open("script.py", "w") as script:
        script.write(REHEARSAL)
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            become(lambda: tell(writer, touched()))
            return True
        except BaseException:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as answer:
        rows = array.array("Q")
        rows.frombytes(answer.read())
    os.waitpid(child, 0)
    os.unlink("script.py")
    stretches = list(zip(rows[::2], rows[1::2]))
    if pins >= 0:
        files = [(start, end) for start, end, of_file in before if of_file]
        stretches = pin(libc, pins, stretches, lambda stretch: any(start <= stretch[0] < end for start, end in files))
        os.close(pins)  # the worker has it, too, and lets go of what was registered when this process has ended
    return own_pages(libc, stretches) if stretches else None
