"""Storage: blobs, atomic writes and file locks. What the files contain is not known here."""
