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


def own_pages(libc, stretches, pins):
    """Sees to it that these stretches of memory, (address, length) each, are a child's own. Returns the function that
    it has to call for that, or None: pinned, they are its own when it is forked. Without, it takes one system call for
    many of them where the kernel has that, else one for each."""
    import ctypes
    import os

    class Stretch(ctypes.Structure):  # struct iovec
        _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    if pins >= 0:
        # Of struct iovec, as many as io_uring/rsrc.h allows (IORING_MAX_REG_BUFFERS, 16384; before Linux 5.13 1024).
        all_of_them = (Stretch * len(stretches))(*stretches)
        done = libc.syscall(IO_URING_REGISTER, pins, IORING_REGISTER_BUFFERS, all_of_them, len(stretches))
        os.close(pins)  # the worker has it, too, and lets go of what was registered when this process has ended
        if done == 0:
            return None
    batches = []
    for at in range(0, len(stretches), IOVECS):
        batch = stretches[at:at + IOVECS]
        total = sum(length for _, length in batch)
        batches.append(((Stretch * len(batch))(*batch), ctypes.c_size_t(len(batch)), total))
    call, itself, advice = PROCESS_MADVISE, PIDFD_SELF, MADV_POPULATE_WRITE

    def take():
        for batch, count, total in batches:
            if libc.syscall(call, itself, batch, count, advice, 0) != total:
                for stretch in batch:  # what can not be had now is touched when it is needed
                    libc.madvise(ctypes.c_void_p(stretch.start), ctypes.c_size_t(stretch.length), advice)

    return take


def rehearse(libc, become, pins):
    """Forks a child and has `become` make a runner of it, with a function to call when it ends. Returns True in that
    child, which is to go on as runners do; in this process what own_pages() returns."""
    import array
    import ctypes
    import os

    page = os.sysconf("SC_PAGE_SIZE")
    own = PAGE_PRESENT | PAGE_EXCLUSIVE  # bootstrap.py leaves none of these names behind
    wanted = own | PAGE_OF_FILE

    def mappings():
        with open("/proc/self/maps") as lines:
            for line in lines:
                bounds, rights = line.split(None, 2)[:2]
                start, end = (int(number, 16) for number in bounds.split("-"))
                if rights.startswith("rw"):
                    yield start, end

    before = list(mappings())

    # Address and length in turn.
    def touched():
        found = array.array("Q")
        file = os.open("/proc/self/pagemap", os.O_RDONLY)
        for start, end in before:
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
    return own_pages(libc, list(zip(rows[::2], rows[1::2])), pins)
