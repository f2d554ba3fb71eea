"""The embedded model's making: its world, its trainers, and what it is measured by."""
