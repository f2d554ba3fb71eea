"""Workers: take a job from the desk, run the engine, give back what was made."""
