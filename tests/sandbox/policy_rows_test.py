"""Role: each row of the system-call policy, asked of the kernel in a job: what the list of this folder allows is
answered by the kernel itself, what it refuses with EPERM, what it does not know with ENOSYS.
Callers: meson test, once a mode of starting the service.
Law: every call is made by a child of its own and with arguments that are wrong for it, so that the kernel, when asked,
has a complaint of its own and changes nothing. A filter decides before anybody looks at them.
"""
import ctypes
import json
import pathlib
import re
import subprocess

from contract import ServiceTest, main
from service import PYTHON, REDUCED
from system_calls import (ABSENT, ALLOWED, ALLOWED_AT_THE_FULL_LEVEL, CHARGED, CONDITIONAL, CONDITIONS, EVERYWHERE,
                          FULL_AND_CHARGED, FULL_LEVEL, NOWHERE, REFUSED)

TABLE = pathlib.Path(__file__).resolve().parents[2] / "worker/seccomp_policy.h"

# Arguments where -1 would not do: futex(2) answers ENOSYS to an operation that it does not know.
ARGUMENTS = {"futex": (4, 1, 1), "exit": (0,), "exit_group": (0,), "kill": (4_190_000, 0)}
# What the kernel answers with EPERM to whoever has no capability, however wrong the arguments are.
KERNEL_REFUSES = {"setgroups"}

# Reads (label, number, arguments) from standard input, prints label -> name of the error, "done" or "signal N".
PROBE = """
import ctypes, errno, json, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PAUSE, VFORK = 34, 58
def vfork():
    # The child shares its parent's stack and may touch none of it: call, and when the answer is 0, exit.
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex('b83a000000 0f05 85c0 7509 31ff b83c000000 0f05 c3'))
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
def answer(number, arguments):
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0.1 if number == PAUSE else 60)  # it would wait for ever
        if number == VFORK: os._exit(max(0, -vfork()))
        words = [ctypes.c_long(word) for word in (arguments + [-1] * 6)[:6]]
        os._exit(ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) == -1 else 0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 'done' if status == 0 else f'signal {-status}' if status < 0 else errno.errorcode.get(status, str(status))
print(json.dumps({label: answer(number, arguments) for label, number, arguments in json.load(sys.stdin)}))
"""


def number_of(name):
    """The call's number on this machine; -1 when libseccomp, and so the filter, does not know the name."""
    return libseccomp.seccomp_syscall_resolve_name(name.encode())


libseccomp = ctypes.CDLL("libseccomp.so.2")


def rows(names, allowed_by_arguments=False):
    """What to ask for calls by name alone; those that the filter can not know are left to TheTable."""
    return [(name, number_of(name), list(ARGUMENTS.get(name, ()))) for name in names if number_of(name) >= 0]


class TheTable(ServiceTest):
    """The product's table and the list of this folder say the same, call by call."""

    @classmethod
    def setUpClass(cls):
        pass  # reads a file; no service

    def test_same_calls_same_verdicts(self):
        found = re.findall(r'^ +\{"(\w+)", +(\w), \w, "', TABLE.read_text(), re.M)
        want = [(name, verdict) for verdict, names in (("A", ALLOWED), ("D", REFUSED), ("F", ALLOWED_AT_THE_FULL_LEVEL),
                                                       ("C", CONDITIONAL), ("N", ABSENT)) for name in names]
        self.assertEqual(found, sorted(want))


class EveryRow(ServiceTest):
    """One job asks for everything."""

    workers = 1

    def answers(self, asked):
        return json.loads(self.output_of(PROBE, stdin=json.dumps(asked), timeout_s=120))

    def answers_outside(self, asked):
        done = subprocess.run([PYTHON, "-c", PROBE], input=json.dumps(asked), capture_output=True, text=True,
                              timeout=120, check=True)
        return json.loads(done.stdout)

    def assert_answered_by_the_kernel(self, asked, refused_anyway=frozenset()):
        answers = self.answers(asked)
        # A kernel that lacks the call says ENOSYS by itself, as it does outside: only then is that an answer.
        absent = [row for row in asked if answers[row[0]] == "ENOSYS"]
        outside = self.answers_outside(absent)
        wrong = {label: got for label, got in answers.items()
                 if got == "EPERM" and label not in refused_anyway or got == "ENOSYS" != outside[label]}
        self.assertEqual(wrong, {}, "the filter's answer instead of the kernel's own")
        self.assertGreater(len(asked) - len(absent), 0)

    def assert_all_answered(self, asked, word):
        wrong = {label: got for label, got in self.answers(asked).items() if got != word}
        self.assertEqual(wrong, {}, f"not {word}")

    def test_what_is_allowed_is_answered_by_the_kernel(self):
        asked = rows(ALLOWED)
        self.assertGreater(len(asked), 200, "libseccomp knows most of them")
        self.assert_answered_by_the_kernel(asked, KERNEL_REFUSES)

    def test_what_is_refused_is_answered_with_eperm(self):
        self.assert_all_answered(rows(REFUSED), "EPERM")

    def test_what_does_not_exist_is_answered_with_enosys(self):
        unassigned = [(f"number {number}", number, []) for number in (400, 480, 512, 599)]
        self.assert_all_answered(rows(ABSENT) + unassigned, "ENOSYS")

    def test_what_needs_namespaces_is_allowed_where_they_are(self):
        if REDUCED:
            self.assert_all_answered(rows(ALLOWED_AT_THE_FULL_LEVEL), "EPERM")
        else:
            self.assert_answered_by_the_kernel(rows(ALLOWED_AT_THE_FULL_LEVEL))

    def test_what_depends_on_arguments(self):
        asked = {True: [], False: []}
        charged = self.memory_is_charged()
        allowed = {EVERYWHERE: True, NOWHERE: False, FULL_LEVEL: not REDUCED, CHARGED: charged,
                   FULL_AND_CHARGED: charged and not REDUCED}
        for name, arguments, where in CONDITIONS:
            shown = ", ".join(hex(argument) for argument in arguments)
            asked[allowed[where]].append((f"{name}({shown})", number_of(name), list(arguments)))
        self.assert_answered_by_the_kernel(asked[True])
        self.assert_all_answered(asked[False], "EPERM")

    def test_every_conditional_call_has_both_answers(self):
        for name in CONDITIONAL:
            where = {where for call, _, where in CONDITIONS if call == name}
            self.assertTrue(len(where) > 1 or where <= {CHARGED, FULL_AND_CHARGED}, name)


if __name__ == "__main__":
    main()
