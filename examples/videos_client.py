"""Serve on this machine, and use the openai package: a clip, its remix, and their provenance."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

from openai import OpenAI

from reelgrid.media import verify

warnings.simplefilter("ignore", DeprecationWarning)  # openai warns that its hosted service ended
command = [sys.executable, "-m", "reelgrid", "serve", "--port", "0"]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
    try:
        address = next(
            found[0] for line in server.stderr if (found := re.findall(r"http://\S+/v1", line))
        )
        client = OpenAI(base_url=address, api_key="unused")
        video = client.videos.create_and_poll(prompt="a red ball rolls to the right")
        remix = client.videos.remix(video.id, prompt="a green ball rolls to the right")
        remix = client.videos.poll(remix.id)
        for each in (video, remix):
            path = Path(f"{each.id}.mp4")
            client.videos.download_content(each.id).write_to_file(path)
            claims = verify(path).claims
            print(each.prompt, each.status, "seed", claims["seed"], claims["mark"])
    finally:
        server.terminate()
