"""Networks and their loading: a model by name, fitted to the machine at hand.

Not here: what is generated with them (`engine`), and what is known of models that are not loaded
(`catalog`).
"""
