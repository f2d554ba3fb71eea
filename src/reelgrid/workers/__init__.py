"""Worker processes: claim jobs from the queue, run the engine, store the results."""
