"""Networks and their loading: a model by name, fitted to the machine at hand.

Not here: what is generated with them (`engine`), and what is known of models that are not loaded
(`catalog`).
"""

import os

# Read by the libraries when they are first imported: their advice is not for our users.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
