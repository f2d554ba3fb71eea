"""The durable job queue in SQL, over SQLite and PostgreSQL."""
