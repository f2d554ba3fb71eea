"""The job queue: jobs, the scheduling policy, retention, webhooks; all SQL is in `jobs.sql`."""
