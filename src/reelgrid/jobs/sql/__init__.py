"""The job queue in SQL; everything outside opens it with `sql_queue.open_job_queue`."""
