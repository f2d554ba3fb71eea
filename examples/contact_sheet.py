"""Write frames of several clips to one picture: `python contact_sheet.py sheet.png`."""

import sys

import numpy as np
from PIL import Image

import reelgrid

PROMPTS = (
    "a big red ball rolls to the right in a studio",
    "a large blue star bounces in the snow",
    "a big yellow ring circles at night",
    "a large green triangle grows in the desert",
    "a big pink box falls on a meadow",
)
COLUMNS = 6


def main(path: str, prompts: tuple[str, ...] = PROMPTS) -> None:
    rows = []
    for seed, prompt in enumerate(prompts):
        frames = reelgrid.generate(prompt, seed=seed).frames
        chosen = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
        rows.append(np.concatenate(list(frames[chosen]), axis=1))
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)
    print(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "contact_sheet.png")
