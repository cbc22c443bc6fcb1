"""Role: compiles bootstrap.py at build time, for interpreters that run the same byte code as the one of this machine:
python3 compile_bootstrap.py bootstrap.py OUTPUT. Others compile it when they are asked (supervisor/interpreter.cc).
Callers: meson.
"""
import importlib.util
import marshal
import pathlib
import sys

source, output = map(pathlib.Path, sys.argv[1:])
code = marshal.dumps(compile(source.read_text(), "sitecustomize.py", "exec"))
# PEP 552: its flags say that it is not compared with any source.
unchecked = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + code
output.write_text('"%s"\n' % unchecked.hex())
