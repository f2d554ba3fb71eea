"""The server's HTTP side: the OpenAI-compatible videos and images routes, and ours beside them.

`app.create_app` makes an ASGI application of a `service.Service`. Not here: making frames (a worker
does, in a process of its own), and keeping jobs (`jobs`).
"""
