"""The cheapest mix of GPU offers that serves a demand."""
