"""Tags and their assignments to subscribers.

tags         create, rename, delete and count tags; assign one to many subscribers
assignments  rows of subscriber_tags within a transaction, and the double opt-in

An assignment of a tag with a double opt-in is unconfirmed until the person answers YES.
"""
