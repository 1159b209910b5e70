"""A webhook of this machine that notes when each alert came."""

import http.server
import json
import math
import threading
import time


class Receiver:
    def __init__(self):
        self.seen = {}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                alert = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.seen.setdefault(alert["id"], (time.time() * 1000, alert["arrival_ms"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass  # The table says what came.

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def latencies(self, since_ms):
        """Arrival in the stream to receipt, milliseconds, of what arrived since then; sorted."""
        return sorted(max(0, came - arrived) for came, arrived in list(self.seen.values()) if arrived >= since_ms)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def p99(sorted_values):
    return sorted_values[math.ceil(len(sorted_values) * 0.99) - 1]
