#!/usr/bin/env python3
"""Role: writes the seed files of the fuzzers: corpus/frame/*.
Callers: a person, after a change of the wire format; the files are committed.
Law: the format is written down here a second time, from the comments of frame.h and wire.h, and taken from no C++ code."""

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
    "exit_without_exception": frame(23, struct.pack("<iBIB", 0, 0, 0, 0) + text("") + b"\0" + u64(0, 0) + b"\0" + texts()
                                    + u64(0, 0, 0, 0, 0)),
    "bad_enumerator": frame(7, b"\2"),
    "trailing_byte": frame(7, b"\0\0"),
}


def main():
    folder = pathlib.Path(__file__).parent / "corpus" / "frame"
    folder.mkdir(parents=True, exist_ok=True)
    for name, stream in STREAMS.items():
        (folder / name).write_bytes(b"\0" + stream)
    (folder / "conversation_in_pieces").write_bytes(bytes([5, 0, 6, 2, 63, 8]) + WHOLE)
    (folder / "conversation_byte_by_byte").write_bytes(bytes([1, 0]) + WHOLE)


if __name__ == "__main__":
    main()
