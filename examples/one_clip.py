"""Generate a clip from a prompt and write it to a file."""

import reelgrid

clip = reelgrid.generate("a red ball rolls to the right", seed=7)
print(clip.frames.shape, clip.frames.dtype)
print(clip.save("red_ball.mp4"))
