#!/usr/bin/python3
"""Stands in for doorbuster in the tests of ./run: the same commands, the same manners, no sale.

Every call is written to $FAKE_LOG. FAKE_LOAD and FAKE_AUDIT set the status of these commands,
FAKE_SERVE=fails lets the server end at once, FAKE_LOAD=hangs lets the load never end.
"""

import http.server
import os
import signal
import sys
import threading


def note(*words):
    with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
        print(*words, file=log)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(options):
    settings = sorted(name for name in os.environ if name.startswith("DOORBUSTER_"))
    note("serve", os.getpid(), *settings)
    if os.environ.get("FAKE_SERVE") == "fails":
        sys.exit("fake: cannot serve")
    host, port = options["--listen"].rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Answers, bind_and_activate=False)
    signals = []

    def stop(number, _frame):
        signals.append(number)
        note("signal", signal.Signals(number).name)
        if len(signals) > 1:
            os._exit(9)
        if os.environ.get("FAKE_SERVE") != "deaf":
            threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Only now: who finds the port open may send a signal.
    server.server_bind()
    server.server_activate()
    server.serve_forever()
    note("stopped")


def main(arguments):
    options = dict(zip(arguments, arguments[1:]))
    if arguments[0] == "serve":
        serve(options)
        return 0
    note(*arguments)
    print("table of", arguments[0])
    behaviour = os.environ.get("FAKE_" + arguments[0].upper(), "0")
    if behaviour == "hangs":
        note("hangs", os.getpid())
        signal.pause()
    return int(behaviour)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
