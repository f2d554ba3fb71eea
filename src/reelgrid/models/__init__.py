"""Networks and their loading: a model by name, fitted to the machine at hand.

Not here: what is generated with them (`engine`), and what is known of models that are not loaded
(`catalog`).
"""

import os

# Read by the libraries when they are first imported: their advice is not for our users.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

# Threads that wait for their turn sleep instead of spinning: beside other busy processes, two
# threads on two cores took 1.8 s for a clip of the embedded model, and 0.45 s so.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
