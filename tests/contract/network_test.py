"""Role: who may use the network and who may not: a world of one host with a name server and web servers of the test's
own, and a service in it with --network=host, and one without.
Callers: meson test, in the modes that tests/meson.build names.
Law: no packet leaves the machine. This process moves into a network namespace with nothing but a loopback interface,
and into a mount namespace where /etc/resolv.conf and /etc/ssl/certs are the test's; what it starts is in there, too.
"""
import ctypes
import fcntl
import http.server
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

from contract import ServiceTest, main
from service import REDUCED, eventually

NAME = "app.test"
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000  # unshare(2)
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18                       # mount(2)
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1                      # netdevice(7)
A, AAAA = 1, 28                                                             # RFC 1035, RFC 3596
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), function.__name__)


def move_apart():
    """Before any thread is started: only a process with a single one may change its user namespace."""
    user, group, root = os.geteuid(), os.getegid(), os.geteuid() == 0
    call(libc.unshare, CLONE_NEWNET | CLONE_NEWNS | (0 if root else CLONE_NEWUSER))
    if not root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    call(libc.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
    with socket.socket() as any_socket:
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class World:
    """Certificates, files in the places of the system's, and servers."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="network-test-", dir="/tmp")
        os.chmod(self.home, 0o755)
        trusted, stranger = self.make_certificate("trusted"), self.make_certificate("stranger")
        self.show("resolv.conf", "/etc/resolv.conf", "nameserver 127.0.0.1\n")
        os.mkdir(self.path("certs"), 0o755)
        digest = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", trusted[0]], check=True,
                                capture_output=True, text=True).stdout.strip()
        shutil.copy(trusted[0], self.path(f"certs/{digest}.0"))  # as OpenSSL looks for it (openssl-rehash(1))
        self.mount("certs", "/etc/ssl/certs")
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.names.bind(("127.0.0.1", 53))
        threading.Thread(target=self.tell_names, daemon=True).start()
        self.trusted, self.stranger = self.serve(*trusted), self.serve(*stranger)
        self.hidden = socket.socket(socket.AF_UNIX)
        self.hidden.bind("\0network-test")
        self.hidden.listen()

    def path(self, name):
        return os.path.join(self.home, name)

    def make_certificate(self, name):
        """Of one that signs itself; for NAME."""
        certificate, key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate)
        return certificate, key

    def show(self, name, place, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        self.mount(name, place)

    def mount(self, name, place):
        call(libc.mount, os.fsencode(self.path(name)), os.fsencode(os.path.realpath(place)), None, MS_BIND, None)

    def tell_names(self):
        """Answers for NAME with the loopback's addresses, for others that there is no such name (RFC 1035, 4.1)."""
        while True:
            question, peer = self.names.recvfrom(512)
            end = question.index(0, 12) + 5
            labels, kind = question[12:end - 4], struct.unpack("!H", question[end - 4:end - 2])[0]
            known = labels.lower() == b"\3app\4test\0"
            address = {A: socket.inet_pton(socket.AF_INET, "127.0.0.1"), AAAA: socket.inet_pton(socket.AF_INET6, "::1")}
            found = known and address.get(kind)
            head = question[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, 1 if found else 0, 0, 0)
            record = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(found)) + found if found else b""
            self.names.sendto(head + question[12:end] + record, peer)

    def serve(self, certificate, key):
        """The port of a web server with that certificate."""
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"from the web")

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients that do not trust it

        server = Server(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]


def setUpModule():
    global world
    move_apart()
    world = World()


def tearDownModule():
    shutil.rmtree(world.home, ignore_errors=True)


# Prints what each attempt gives, or the name of its error.
TRY = """
import socket, ssl, sys, urllib.error, urllib.request
trusted, stranger, service = map(int, sys.argv[1:])
def attempt(name, how):
    try: print(name, how())
    except urllib.error.URLError as error: print(name, type(error.reason).__name__)
    except OSError as error: print(name, type(error).__name__)
def page(port): return urllib.request.urlopen(f'https://app.test:{port}/', timeout=20).read().decode()
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.connect(('127.0.0.1', 53))  # so that a refusal is told
        s.send(bytes.fromhex('abcd01000001000000000000') + b'\\3app\\4test\\0\\0\\1\\0\\1')
        return len(s.recv(512))
attempt('A', lambda: socket.getaddrinfo('app.test', 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
attempt('AAAA', lambda: socket.getaddrinfo('app.test', 80, socket.AF_INET6, socket.SOCK_STREAM)[0][4][0])
attempt('unknown', lambda: socket.getaddrinfo('nobody.test', 80))
attempt('udp', ask)
attempt('tcp', lambda: socket.create_connection(('127.0.0.1', trusted), 20).getpeername()[1] == trusted)
attempt('tls', lambda: page(trusted))
attempt('stranger', lambda: page(stranger))
attempt('service', lambda: urllib.request.urlopen(f'http://127.0.0.1:{service}/', timeout=20).status)
"""

REACHED = {"A": "127.0.0.1", "AAAA": "::1", "unknown": "gaierror", "udp": "42", "tcp": "True", "tls": "from the web",
           "stranger": "SSLCertVerificationError", "service": "200"}


class Reach(ServiceTest):
    """What scripts reach."""

    workers = 1

    def reached(self):
        text = self.output_of(TRY, args=[str(world.trusted), str(world.stranger), str(self.service.port)])
        return dict(line.split(" ", 1) for line in text.splitlines())


class Host(Reach):
    """--network=host: what the host reaches, and of the host no more than that."""

    arguments = ["--network=host"]

    def test_names_and_connections_of_every_kind(self):
        self.assertEqual(self.reached(), REACHED)

    def test_health_and_the_log_say_so(self):
        sandbox = self.service.health()["sandbox"]
        self.assertEqual(sandbox["level"], "reduced" if REDUCED else "full")
        self.assertIn("--network=host", sandbox["layers"]["network"]["detail"])
        missing = {name for name, layer in sandbox["layers"].items() if not layer["active"]}
        self.assertEqual(missing, {"network", "namespaces"} if REDUCED else {"network"})
        eventually(lambda: b"--network=host" in self.service.errors, "a warning at the start")

    def test_unix_sockets_of_others_stay_out_of_reach(self):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect("\0network-test")  # it can be reached from out here
        self.assertEqual(self.output_of("""
            import socket
            try: socket.socket(socket.AF_UNIX).connect('\\0network-test')
            except PermissionError: print('refused')
            """), "refused\n")

    def test_raw_sockets_and_the_host_s_interfaces_are_refused(self):
        self.assertEqual(self.output_of("""
            import socket
            for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW),
                                 (socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_VSOCK, socket.SOCK_STREAM)):
                try: socket.socket(family, kind)
                except PermissionError: print('refused')
            """), "refused\n" * 4)


class Apart(Reach):
    """The default, in the same world: nothing of it."""

    def test_nothing_is_reached(self):
        reached = self.reached()
        self.assertEqual(set(reached), set(REACHED))
        self.assertEqual({name for name, answer in reached.items() if answer == REACHED[name]}, {"unknown"})

    def test_health_says_so(self):
        self.assertTrue(self.service.health()["sandbox"]["layers"]["network"]["active"])
        self.assertNotIn(b"--network", self.service.errors)


if __name__ == "__main__":
    main()
