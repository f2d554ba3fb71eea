"""Receive a webhook when a clip is finished, and verify its signature."""

import os
import re
import subprocess
import sys
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

from openai import OpenAI

warnings.simplefilter("ignore", DeprecationWarning)  # openai warns that its hosted service ended
reelgrid, received = [sys.executable, "-m", "reelgrid"], []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        received.append((self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers)))
        self.send_response(204)
        self.end_headers()


allowed = {**os.environ, "REELGRID_ALLOW_PRIVATE_WEBHOOKS": "true"}  # for 127.0.0.1
serve = [*reelgrid, "serve", "--port", "0"]
with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env=allowed) as server:
    try:
        address = next(
            found[0] for line in server.stderr if (found := re.findall(r"http://\S+/v1", line))
        )
        client = OpenAI(base_url=address, api_key="unused")
        with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
            here = f"http://127.0.0.1:{receiver.server_address[1]}/"
            client.videos.create(prompt="a blue star falls", extra_body={"webhook": here})
            receiver.handle_request()
        secret = subprocess.check_output([*reelgrid, "webhook-secret"], text=True).strip()
        event = client.webhooks.unwrap(*received[0], secret=secret)
        print(event.type, event.data.id)
    finally:
        server.terminate()
