#!/usr/bin/env python3
"""Role: writes the seed files of the fuzzers that read streams: corpus/frame/*, corpus/http/*.
Callers: a person, after a change of the wire format; the files are committed.
Law: the format is written down here a second time, from the comments of frame.h and wire.h, and taken from no C++ code.
Each file begins with how its stream is cut (pieces.h)."""

import pathlib
import struct


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def listing(items):
    return struct.pack("<I", len(items)) + b"".join(items)


def texts(*values):
    return listing([text(value) for value in values])


def u64(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def frame(kind, payload=b""):
    return struct.pack("<BxxxI", kind, len(payload)) + payload


LIMITS = u64(300, 60, 262144, 20, 5 << 20, 10 << 20, 32 << 20, 1536 << 20, 128, 256 << 20, 16384, 1024, 10 << 20,
             10 << 20, 10 << 20, 1000)
EXCEPTION = text("ValueError") + text("bad") + text("script.py") + struct.pack("<I", 3) + text("int('x')")

FRAMES = {
    "setup": frame(1, struct.pack("<IBBB", 0, 0, 1, 0) + text("/usr/bin/python3") + texts("/usr/lib", "/lib") + text("")
                   + texts("json") + text("/tmp") + texts() + LIMITS),
    "job": frame(2, text("script.py") + texts("-v", "") + listing([text("A") + text("1"), text("B") + text("")])
                 + u64(60000) + b"\0"),
    "file": frame(3, text("input/a.csv") + u64(3) + b"\1"),
    "file_data": frame(4, b"a,b"),
    "stdin_data": frame(5, b"line\n"),
    "run": frame(6),
    "cancel": frame(7, b"\1"),
    "ready": frame(16, b"\0" + text("3.11.2") + listing([text("files") + b"\1" + text("pivot_root"),
                                                         text("memory") + b"\0" + text("cgroup: EROFS")]) + u64(0)),
    "failed": frame(17, b"mounts: EPERM"),
    "started": frame(18),
    "stdout": frame(19, b"Hello, World!\n"),
    "stderr": frame(20, b"Traceback\n"),
    "artifact": frame(21, text("plot.png") + u64(4) + text("")),
    "artifact_data": frame(22, b"\x89PNG"),
    "exit": frame(23, struct.pack("<iBIB", 1, 1, 0, 0) + text("") + b"\1" + EXCEPTION + u64(14, 0) + b"\0"
                  + texts("connect") + u64(1, 2, 3, 4, 5)),
}

WHOLE = b"".join(FRAMES.values())

STREAMS = {
    **FRAMES,
    "conversation": WHOLE,
    "truncated": WHOLE[:-7],
    "unlisted_type": FRAMES["run"] + struct.pack("<BxxxI", 8, 0),
    "reserved_byte": FRAMES["run"] + b"\x06\0\1\0\0\0\0\0",
    "above_the_limit": FRAMES["run"] + struct.pack("<BxxxI", 19, 65537),
    "huge_count": frame(2, b"\xff\xff\xff\xff"),
    "exit_without_exception": frame(23, struct.pack("<iBIB", 0, 0, 0, 0) + text("") + b"\0" + u64(0, 0) + b"\0"
                                    + texts() + u64(0, 0, 0, 0, 0)),
    "bad_enumerator": frame(7, b"\2"),
    "trailing_byte": frame(7, b"\0\0"),
}


def request(line, *fields, body=b""):
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1") + body


def post(*fields, body=b""):
    return request("POST /api/run HTTP/1.1", "Host: localhost", *fields, body=body)


GET = request("GET /api/health HTTP/1.1", "Host: localhost:8080", "Connection: keep-alive, x")
LENGTH = post("Content-Type: application/json", "Content-Length: 15", body=b'{"script":"1+"}')
CHUNKS = post("Transfer-Encoding: chunked", "Expect: 100-continue",
              body=b'5\r\nhello\r\n00A ;name="x"\r\n 0123456\r\n\r\n0\r\nTrailer: x\r\n\r\n')

REQUESTS = {
    "get": GET,
    "length": LENGTH,
    "chunks": CHUNKS,
    "conversation": GET + b"\r\n\r\n" + LENGTH + CHUNKS + b"\r\n" + GET,
    "target": request("GET /a%2Fb%zz%4?timeout_s=5&code=a%2Bb+c&&empty&=x&x=%00 HTTP/1.1", "hOST:\t a \t", "X:"),
    "absolute": request("GET http://real:81/a?b=c HTTP/1.1", "Host: other"),
    "http_1_0": request("GET / HTTP/1.0", "Connection: keep-alive") + request("GET / HTTP/1.0") + GET,
    "close": request("GET / HTTP/1.1", "Host: a", "Connection: Close") + GET,
    "identity": post("Content-Encoding: identity", "Content-Length: 1", body=b"x"),
    # Refused, each for another reason.
    "version_2": request("GET / HTTP/2.0", "Host: a"),
    "version_x": request("GET / HTTP/1.x", "Host: a"),
    "no_host": request("GET / HTTP/1.1"),
    "two_hosts": request("GET / HTTP/1.1", "Host: a", "Host: a"),
    "bare_line_feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare_carriage_return": request("GET / HTTP/1.1", "Host: a\rX: b"),
    "folded": request("GET / HTTP/1.1", "Host: a", "X: a", " b"),
    "blank_before_colon": request("GET / HTTP/1.1", "Host : a"),
    "long_line": request("GET /" + "a" * 8192 + " HTTP/1.1", "Host: a"),
    "long_head": request("GET / HTTP/1.1", "Host: a", *["X: " + "y" * 4000] * 9),
    "head_above_by_one": request("GET / HTTP/1.1", "Host: a", "X: " + "y" * (32768 - 31)),
    "many_fields": request("GET / HTTP/1.1", "Host: a", *["X: y"] * 100),
    "two_lengths": post("Content-Length: 1", "Content-Length: 1", body=b"x"),
    "length_and_chunks": post("Content-Length: 1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "signed_length": post("Content-Length: +1", body=b"x"),
    "length_beyond_all": post("Content-Length: 99999999999999999999"),
    "coding_unknown": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "encoding_unknown": post("Content-Encoding: gzip", "Content-Length: 1", body=b"x"),
    "expectation_unknown": post("Expect: tea", "Content-Length: 1", body=b"x"),
    "chunk_above_the_limit": post("Transfer-Encoding: chunked", body=b"ffffffffffffffff\r\n"),
    "chunks_above_the_limit": post("Transfer-Encoding: chunked", body=(b"c8\r\n" + b"x" * 200 + b"\r\n") * 2),
    "chunk_size_malformed": post("Transfer-Encoding: chunked", body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk_longer_than_said": post("Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"),
    "chunk_bare_carriage_return": post("Transfer-Encoding: chunked", body=b"1;a\rb\r\na\r\n0\r\n\r\n"),
    "chunk_long_line": post("Transfer-Encoding: chunked", body=b"1;" + b"e" * 1024 + b"\r\na\r\n0\r\n\r\n"),
    "trailer_malformed": post("Transfer-Encoding: chunked", body=b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    "many_trailers": post("Transfer-Encoding: chunked", body=b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n"),
}


def write_corpus(name, streams, conversation):
    folder = pathlib.Path(__file__).parent / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    for stream, content in streams.items():
        (folder / stream).write_bytes(b"\0" + content)
    (folder / "conversation_in_pieces").write_bytes(bytes([5, 0, 6, 2, 63, 8]) + conversation)
    (folder / "conversation_byte_by_byte").write_bytes(bytes([1, 0]) + conversation)


def main():
    write_corpus("frame", STREAMS, WHOLE)
    write_corpus("http", REQUESTS, REQUESTS["conversation"])


if __name__ == "__main__":
    main()
