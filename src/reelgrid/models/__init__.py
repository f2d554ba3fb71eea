"""Models: find them by name, load them onto a device; the embedded model is part of the package."""
