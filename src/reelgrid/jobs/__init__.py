"""What is to be done: jobs, the policy that orders them, and the desk that never loses one."""
