"""Tables for the terminal and self-contained HTML pages."""
