"""Commands of an operator: broadcasts, batches, circuit, webhooks, users, database, sandbox."""
