"""Role: the scripts that a runner and a bare `python3 script.py` must run alike, a module a subject.
Callers: tests/contract/same_as_python_test.py.
Law: each prints what it finds and the same each time: no addresses without 0x, no times, no order of a set, no number
that the machine or the sandbox's limits decide. A row is (name, text) or (name, text, fields of the request).
"""
