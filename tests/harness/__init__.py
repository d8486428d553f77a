"""Drives the real doorbuster binary from outside: processes, raw sockets, command line.

Nothing here knows the server's sources; all knowledge comes from the public contract. Used by
the suites in tests/e2e, tests/fault and tests/crash, each of which runs by itself with
`python3 -m pytest -q tests/<suite>`.

Environment: DOORBUSTER_BIN names the binary (default build/release/doorbuster below the
project's root), DOORBUSTER_SLOW=1 scales counts down and bounds up for sanitizer builds.
"""
