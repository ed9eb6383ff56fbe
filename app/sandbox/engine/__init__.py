"""State of the sandbox's service plan.

- service_plan: batches, queue and inbounds; batch, parts, outcomes: statuses of messages
- reports: delivery reports; report_callbacks: when each is due; callbacks: signed POSTs, retries
- auto_replies: magic numbers that answer; inbounds: messages from phones
- scheduler: jobs at a time of the sandbox's clock
"""
