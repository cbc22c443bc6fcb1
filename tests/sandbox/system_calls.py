"""Role: what a script may ask the kernel for, written down a second time: the policy as the tests want it.
Callers: policy_rows_test.py, which compares it with the product's table and with what a job is answered.
Law: written by hand, never generated from the product's table: a row that is lost there has to be missed here.
"""

ALLOWED = """
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime
    clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr
    file_getattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue
    futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list getcpu getcwd getdents getdents64
    getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioprio_get kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr listxattrat
    llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier mincore mkdir
    mkdirat mlock mlock2 mlockall mmap mprotect mremap mseal msync munlock munlockall munmap nanosleep newfstatat
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    prctl pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
    recvfrom recvmmsg recvmsg removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_yield select sendfile sendmmsg sendmsg sendto set_robust_list
    set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setregid setresgid setresuid setreuid
    setrlimit setsid setsockopt setuid setxattr setxattrat shutdown sigaltstack signalfd signalfd4 splice stat
    statfs statx symlink symlinkat sync_file_range sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate
    umask uname unlink unlinkat uprobe uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write writev
""".split()

REFUSED = """
    acct add_key adjtimex bpf cachestat chroot clock_adjtime clock_settime delete_module fanotify_init fanotify_mark
    file_setattr finit_module fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register
    io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl listmount listns lookup_dcookie
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind memfd_secret migrate_pages modify_ldt mount
    mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree open_tree_attr perf_event_open
    pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot
    request_key seccomp set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday statmount
    swapoff swapon sync syncfs syslog umount2 unshare userfaultfd vhangup
""".split()

ALLOWED_AT_THE_FULL_LEVEL = """
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget
    semop semtimedop shmat shmctl shmdt
""".split()

CONDITIONAL = """
    clone ioctl ioprio_set memfd_create mknod mknodat personality prlimit64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler setpriority shmget socket socketpair
""".split()

ABSENT = """
    _sysctl afs_syscall clone3 create_module epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area getpmsg
    io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit nfsservctl process_mrelease putpmsg
    query_module remap_file_pages security set_thread_area sysfs tuxcall uselib ustat vserver
""".split()

# Calls that depend on their arguments: call, arguments (-1 for the rest), who is answered by the kernel itself instead
# of with EPERM. NOBODY_ELSE: a process, user or group that does not exist.
EVERYWHERE, FULL_LEVEL, NOWHERE = "everywhere", "full", "nowhere"
CHARGED, FULL_AND_CHARGED = "where a cgroup counts memory", "the same at the full level"
NOBODY_ELSE = 4_190_000
FORK = 17  # SIGCHLD

IOCTLS = {
    EVERYWHERE: """
        FIOASYNC=5452 FIOCLEX=5451 FIONBIO=5421 FIONCLEX=5450 FIONREAD=541b FIOQSIZE=5460 FICLONE=40049409
        FICLONERANGE=4020940d FS_IOC_GETFLAGS=80086601 TCGETS=5401 TCGETS2=802c542a TCSETS=5402 TCSETSW=5403
        TCSETSF=5404 TCSETS2=402c542b TCSETSW2=402c542c TCSETSF2=402c542d TCFLSH=540b TCSBRK=5409 TCXONC=540a
        TIOCGPTN=80045430 TIOCSPTLCK=40045431 TIOCGPTPEER=5441 TIOCSCTTY=540e TIOCNOTTY=5422 TIOCGPGRP=540f
        TIOCSPGRP=5410 TIOCGSID=5429 TIOCGWINSZ=5413 TIOCSWINSZ=5414 TIOCOUTQ=5411 SIOCATMARK=8905 SIOCGIFCONF=8912
        SIOCGIFNAME=8910 SIOCGIFINDEX=8933 SIOCGIFFLAGS=8913 SIOCGIFADDR=8915 SIOCGIFNETMASK=891b SIOCGIFBRDADDR=8919
        SIOCGIFMTU=8921 SIOCGIFHWADDR=8927
        """,
    NOWHERE: """
        TIOCSTI=5412 TIOCLINUX=541c TIOCSETD=5423 TIOCCONS=541d TIOCVHANGUP=5437 FS_IOC_SETFLAGS=40086602
        FS_IOC_FSSETXATTR=401c5820 FIFREEZE=c0045877 FITHAW=c0045878 FITRIM=c0185879 FIDEDUPERANGE=c0189436
        SIOCSIFFLAGS=8914 SIOCSIFADDR=8916 SIOCADDRT=890b SIOCBRADDBR=89a0 SIOCETHTOOL=8946 BLKRRPART=125f
        LOOP_SET_FD=4c00 KVM_CREATE_VM=ae01 NS_GET_USERNS=b701 PERF_EVENT_IOC_ENABLE=2400 unknown=7fffffff
        """,
}

NEW_NAMESPACES = {"time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
                  "user": 0x10000000, "pid": 0x20000000, "network": 0x40000000}

CONDITIONS = [
    ("clone", (FORK, 0, 0, 0, 0), EVERYWHERE),
    ("clone", (FORK | 0x8000, 0, 0, 0, 0), NOWHERE),  # CLONE_PARENT
    *[("clone", (FORK | flag, 0, 0, 0, 0), NOWHERE) for flag in NEW_NAMESPACES.values()],
    *[("ioctl", (-1, int(word.split("=")[1], 16)), who) for who, words in IOCTLS.items() for word in words.split()],
    ("ioprio_set", (1, 0), EVERYWHERE),
    ("ioprio_set", (1, NOBODY_ELSE), FULL_LEVEL),
    ("ioprio_set", (3, NOBODY_ELSE), FULL_LEVEL),
    ("memfd_create", (), CHARGED),
    *[(call, (*before, kind | 0o600), who) for call, before in (("mknod", (-1,)), ("mknodat", (-1, -1)))
      for kind, who in ((0o010000, EVERYWHERE), (0o100000, EVERYWHERE), (0, EVERYWHERE),
                        (0o020000, NOWHERE), (0o060000, NOWHERE), (0o140000, NOWHERE))],
    ("personality", (0,), EVERYWHERE),
    ("personality", (0xFFFFFFFF,), EVERYWHERE),
    ("personality", (0x0008,), NOWHERE),     # PER_LINUX32
    ("personality", (0x40000,), NOWHERE),    # ADDR_NO_RANDOMIZE
    ("personality", (0x400000,), NOWHERE),   # READ_IMPLIES_EXEC
    ("prlimit64", (0, 7), EVERYWHERE),
    ("prlimit64", (NOBODY_ELSE, 7, 0), EVERYWHERE),
    ("prlimit64", (NOBODY_ELSE, 7), FULL_LEVEL),
    *[(call, (who,), where) for call in ("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")
      for who, where in ((0, EVERYWHERE), (NOBODY_ELSE, FULL_LEVEL))],
    ("setpriority", (0, 0, 0), EVERYWHERE),
    ("setpriority", (0, NOBODY_ELSE, 0), FULL_LEVEL),
    ("setpriority", (2, NOBODY_ELSE, 0), FULL_LEVEL),
    ("shmget", (), FULL_AND_CHARGED),
    *[("socket", (family, kind, protocol), FULL_LEVEL) for family in (2, 10)
      for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17))],
    *[("socket", (1, kind, 0), FULL_LEVEL) for kind in (1, 2, 5)],
    *[("socket", row, NOWHERE) for row in ((2, 3, 1), (10, 3, 58), (17, 3, 3), (16, 3, 0), (2, 2, 1), (2, 1, 132),
                                           (2, 1, 262), (40, 1, 0), (38, 5, 0), (1, 3, 0), (2, 5, 0))],
    *[("socketpair", (1, kind, 0), EVERYWHERE) for kind in (1, 2, 5)],
    *[("socketpair", row, NOWHERE) for row in ((2, 1, 0), (1, 3, 0), (16, 3, 0))],
]
