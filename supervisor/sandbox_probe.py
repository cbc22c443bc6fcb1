# Role: tries, from within a job, what each layer of the sandbox has to prevent, and says what happened.
# Callers: sandbox_check.cc runs it as a job; tests/contract/check_test.py runs it outside, where all of it succeeds.
# Law: harmless where it succeeds. It judges nothing: that an attempt has to be refused is known to the reader.
#
# argv[1], JSON: what the service has laid out for it (sandbox_check.cc, Bait) and the limits in force.
# Standard output, a line an attempt, its fields separated by tabs: layer, what was tried, verdict, what was found.
#   refused   the kernel, or the place itself, said no
#   allowed   it worked
#   skipped   not tried here, and why
import errno
import json
import os
import sys

bait = json.loads(sys.argv[1])
full = bait["level"] == "full"
SIZE_TO_FILL = 16 * 1024 * 1024  # a scratch space above it is measured instead of filled
MOST_THREADS = 512
MOST_DESCRIPTORS = 4096
MOST_OTHERS = 16384  # processes of the same user that RLIMIT_NPROC may make room for besides the job's


class Skipped(Exception):
    pass


class Refused(Exception):
    pass


def tell(layer, tried, verdict, found):
    print(layer, tried, verdict, str(found).replace("\n", " ").replace("\t", " "), sep="\t", flush=True)


def attempt(layer, tried, action):
    try:
        found = action()
    except Skipped as reason:
        tell(layer, tried, "skipped", reason)
    except Refused as reason:
        tell(layer, tried, "refused", reason)
    except OSError as error:
        tell(layer, tried, "refused", errno.errorcode.get(error.errno, str(error)))
    else:
        tell(layer, tried, "allowed", found if found is not None else "it worked")


def refuse(reason):
    raise Refused(reason)


# ---- namespaces

def shared_namespaces():
    shared = [name for name, theirs in bait["namespaces"].items()
              if os.readlink("/proc/self/ns/" + name) == theirs and (name != "net" or bait["network"] == "none")]
    if shared:
        return "shared with the service: " + ", ".join(shared)
    refuse("none is the service's")


if full:
    attempt("namespaces", "find the service's namespaces around it", shared_namespaces)

# ---- other processes

# Its number may be another process's here, above all when it is PID 1 of a container: the start time tells.
def started(pid):
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rpartition(")")[2].split()[19])


def signal_service():
    try:
        other = started(bait["pid"]) != bait["started"]
    except OSError:
        other = False  # hidden: the signal itself is the question
    if other:
        refuse("another process has its number")
    os.kill(bait["pid"], 0)


def look_at_service():
    if started(bait["pid"]) != bait["started"]:
        refuse("another process has its number")


attempt("other_processes", "signal the service", signal_service)
attempt("other_processes", "read /proc of the service", look_at_service)

# ---- files

def make_and_remove(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


attempt("files", "read a file of the service", lambda: open(bait["file"]).close())
attempt("files", "write into the service's folder", lambda: make_and_remove(bait["file"] + ".new"))
attempt("files", "list the service's folder", lambda: os.listdir(os.path.dirname(bait["file"])) and None)


def write_into_packages():
    for folder in [path for path in sys.path if os.path.isdir(path) and path != os.getcwd()]:
        try:
            make_and_remove(os.path.join(folder, "coderunner-probe"))
            return folder
        except OSError as error:
            last = error
    raise last


attempt("read_only_tree", "write into the folders that Python imports from", write_into_packages)
if full:
    attempt("read_only_tree", "make a file at the root", lambda: make_and_remove("/coderunner-probe"))

# ---- network

def connect(family, address):
    import socket
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(5)
        one.connect(address)


def network(family, address):
    if bait["network"] != "none":
        raise Skipped("--network=" + bait["network"])
    if not address:
        raise Skipped("the service could not listen there")
    import socket
    connect(getattr(socket, family), address)


attempt("network", "connect to a TCP port of the service", lambda: network("AF_INET", ("127.0.0.1", bait["port"])))
attempt("network", "connect to an abstract Unix socket of the service",
        lambda: network("AF_UNIX", "\0" + bait["abstract"] if bait["abstract"] else ""))

# ---- system calls; by number, as libc has no name for some (arch/x86/entry/syscalls/syscall_64.tbl)

try:
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
except ImportError:
    libc = None


def system_call(number, *arguments):
    if libc is None:
        raise Skipped("this Python has no ctypes")
    if os.uname().machine != "x86_64":
        raise Skipped("numbers of x86-64")
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) == -1:
        raise OSError(ctypes.get_errno(), "refused")


def filtered_call(number, *arguments):
    try:
        system_call(number, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise
        return "it reached the kernel: " + errno.errorcode[error.errno]


def enter_new_namespace():
    child = os.fork()  # a success would move this process
    if child == 0:
        try:
            system_call(272, 0x10000000)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        except BaseException:
            os._exit(255)
    code = os.WEXITSTATUS(os.waitpid(child, 0)[1])
    if code == 255:
        raise Skipped("this Python can not make system calls")
    if code:
        raise OSError(code, "refused")


attempt("syscalls", "unshare(CLONE_NEWUSER)", enter_new_namespace)
attempt("syscalls", "keyctl(KEYCTL_GET_KEYRING_ID)", lambda: filtered_call(250, 0, -3, 1))
attempt("syscalls", "process_vm_readv()", lambda: filtered_call(310, os.getpid(), 0, 0, 0, 0, 0))
attempt("syscalls", "io_uring_setup()", lambda: filtered_call(425, 1, 0))


def attach_shared_memory():
    if bait["shared_memory"] < 0:
        raise Skipped("the service could not make any")
    system_call(30, bait["shared_memory"], 0, 0o10000)  # SHM_RDONLY


attempt("ipc", "attach System V shared memory of the service", attach_shared_memory)

# ---- privileges: what the kernel itself says of this process

status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)


def privileges_open():
    if status["NoNewPrivs"].strip() == "1":
        refuse("NoNewPrivs: 1")


def find_capability():
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status[name], 16) != 0]
    if held:
        return ", ".join("%s: %s" % (name, status[name].strip()) for name in held)
    refuse("none")


attempt("no_new_privs", "find the way to set-user-id programs open", privileges_open)
attempt("no_new_privs", "become root", lambda: os.setuid(0))
attempt("capabilities", "find one", find_capability)

# ---- limits

def open_many():
    if bait["descriptors"] > MOST_DESCRIPTORS:
        raise Skipped("more than %d allowed" % MOST_DESCRIPTORS)
    opened = []
    try:
        for _ in range(bait["descriptors"]):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def write_large():
    with open("probe-large", "wb") as file:
        try:
            file.truncate(bait["scratch"] + 1)
        finally:
            os.unlink("probe-large")


def dump_core():
    import resource
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except (ValueError, OSError):
        refuse("RLIMIT_CORE: 0")


attempt("rlimits", "open more than --descriptors", open_many)
attempt("rlimits", "make one file larger than --scratch", write_large)
attempt("rlimits", "allow itself core dumps", dump_core)
attempt("rlimits", "raise its priority", lambda: os.nice(-1) and None)


def fill_scratch():
    if not full:
        raise Skipped("the size of the folder is watched")
    if bait["scratch"] > SIZE_TO_FILL:
        space = os.statvfs(".")
        size = space.f_blocks * space.f_frsize
        if size <= bait["scratch"]:
            refuse("the file system has %d bytes" % size)
        return "the file system has %d bytes" % size
    names = []
    try:
        for number in range(2 * bait["scratch"] // 65536 + 1):
            names.append("probe-fill-%d" % number)
            with open(names[-1], "wb", buffering=0) as file:
                file.write(bytes(65536))
    finally:
        for name in names:
            os.unlink(name)


attempt("scratch", "fill more than --scratch", fill_scratch)


def start_threads():
    if bait["processes"] > MOST_THREADS:
        raise Skipped("more than %d allowed" % MOST_THREADS)
    import threading
    threading.stack_size(256 * 1024)
    gate = threading.Event()
    started = []
    try:
        for number in range(2 * bait["processes"]):
            thread = threading.Thread(target=gate.wait)
            try:
                thread.start()
            except RuntimeError:
                refuse("EAGAIN after %d" % number)
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()


# Where the kernel counts all processes of the user, to use up what is left would starve the others for that moment:
# other jobs, other services. So it is enough that the limit is there and that the kernel keeps to a lower one.
def fork_past_limit():
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if not 0 <= hard <= bait["processes"] + MOST_OTHERS:
        return "RLIMIT_NPROC is %s" % ("unlimited" if hard == resource.RLIM_INFINITY else hard)
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard + 1))
    except (ValueError, OSError):
        pass
    else:
        return "RLIMIT_NPROC can be raised"
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
            os.fork()
        except OSError as error:
            os._exit(error.errno)
        finally:
            os._exit(0)
    ended = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(ended):
        raise Skipped("the process that tried it was ended by signal %d" % os.WTERMSIG(ended))
    if os.WEXITSTATUS(ended) == errno.EAGAIN:
        refuse("EAGAIN at a limit of 0; the limit is %d for all of this user's" % hard)
    return "a limit of 0 is not kept to: exit status %d" % os.WEXITSTATUS(ended)


if bait["pids_cgroup"]:
    attempt("process_limit", "start more threads than --processes", start_threads)
else:
    attempt("process_limit", "fork past RLIMIT_NPROC", fork_past_limit)

# ---- environment

def find_variable():
    if bait["variable"] in os.environ:
        return "in os.environ"
    if bait["variable"] in open("/proc/self/environ").read():
        return "in /proc/self/environ"
    refuse("not there")


attempt("environment", "find a variable of the service", find_variable)
