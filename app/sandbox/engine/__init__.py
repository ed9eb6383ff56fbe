"""State of the sandbox's service plan.

- service_plan: batches, queue, inbounds, and replies of magic numbers
- batch, parts, outcomes: statuses of messages; inbounds: messages from phones
- reports: delivery reports; report_callbacks: when each is due; callbacks: signed POSTs, retries
- scheduler: jobs at a time of the sandbox's clock
"""
