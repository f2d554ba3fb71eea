"""The HTTP API: OpenAI-compatible videos and images, and what is ours beside it."""
