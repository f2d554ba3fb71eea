"""Write one clip in every format, and print the provenance of each file."""

from pathlib import Path

import reelgrid
from reelgrid.media import read_provenance

clip = reelgrid.generate("a green box grows", seed=7)
for name in ("box.mp4", "box.webm", "box.gif", "box.webp", "box_frames"):
    path = clip.save(name)
    provenance = read_provenance(Path(path))
    print(f"{name}: {provenance['prompt']!r}, seed {provenance['seed']}, {provenance['mark']}")
