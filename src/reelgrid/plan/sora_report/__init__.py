"""The Sora report of 2024, recomputed from its own inputs."""
