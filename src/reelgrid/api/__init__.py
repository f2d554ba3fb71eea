"""The HTTP API: the videos, images and models of the openai package, and Reelgrid's own routes.

`app.create_app` makes an ASGI application of a `service.Service`. Workers generate the frames, in
processes of their own; `jobs` has the queue between them.
"""
