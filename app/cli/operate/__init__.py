"""Commands of an operator: broadcasts, batches, circuit breaker, webhooks, database, sandbox."""
