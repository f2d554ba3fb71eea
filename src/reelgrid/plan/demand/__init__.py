"""From a demand to the number of GPUs, the cost and the uncertainty of both."""
