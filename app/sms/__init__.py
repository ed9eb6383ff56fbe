"""Broadcasts by SMS: from a client's request to Sinch, and from Sinch's callbacks to the counts.

broadcast: one text of a client to an audience.
chunk: up to 1,000 recipients of the audience, stored as one row.
batch: one call to Sinch, for a chunk or, after a split, a part of one.
message: one recipient's copy.
claim: the right of one worker to send a batch once, until its lease expires.

Packages, the lowest last; a package imports only what is below it:

    privacy      erasure and data export     operations  invariants, restore mode, heartbeat
    inbound      texts from phones
    broadcasts   create, control, resend: the `sms` blueprint
    messages     lists and search            quotes      estimate, price, token
    analytics    daily counters
    reports      delivery reports            dispatch    claim, submit, outcome
    recovery     batches of unknown outcome
    audience     recipients into chunks and batches
    caps         limits on what is sent in an hour or a day; prices
    eligibility  suppression, consent, quiet hours, frequency cap
    request      the validated request
    content      placeholders, footers, templates
    lifecycle    counts, final status, gates, outbox, locks
    context      db, clock, rules, Sinch client; current: that of the Flask app
    models       tables, states, statuses

A broadcast, from POST /api/broadcast to Sinch.  Up to 1,000 recipients are sent within the request:
their plan and first claim are part of the commit of broadcasts/store.  For more recipients, and for
a later time, a worker does what is below the line.

    broadcasts/routes      check the key and the schema (request/schemas)
    broadcasts/create      prepare the request (request/prepare), check its quote
    broadcasts/store       chunks of recipients by audience/chunks; one commit: duplicates,
                           Idempotency-Key, broadcast and chunks
    dispatch/one_batch     for most broadcasts: that commit and the one after the POST, without
                           the steps below but dispatch/submit
    ---------------------
    audience/lookup        find a large audience
    audience/plan          a batch and its messages for each chunk
    dispatch/submit        the loop over batches in the request; in a worker dispatch/burst
    dispatch/claim         one commit: gates, eligibility/decide, payload, attempt
    dispatch/submit        POST by app.sinch.client
    dispatch/outcome       accepted, refused, held, not sent or unknown
    recovery/unknown_outcome    look an unknown batch up in Sinch's list

A delivery report, from POST /webhooks/sinch to the counts:

    webhooks/incoming/routes    read the callback; authenticate checks its signature
    webhooks/incoming/store     commit the raw callback, answer 200
    webhooks/incoming/apply     a worker parses a group of callbacks, locks the counters
    reports/record              messages, batches, delivery counts; recovery/confirm
    reports/carrier_opt_outs    code 257 suppresses the number
    reports/notify              an event for the client (lifecycle/outbox)
    lifecycle/finalize          complete the broadcast

An inbound text, from POST /webhooks/sinch to the reply:

    webhooks/incoming/store     commit the raw callback
    inbound/opt_out             suppress_at_once, in that commit: a STOP takes effect
    webhooks/incoming/apply     a worker parses it, locks counters and suppressions
    inbound/receive             store the inbound, enqueue an event for the client
    inbound/opt_out             apply the intent (app.keywords): suppressions, consent, tags
    inbound/auto_reply          store the reply as a broadcast; then as above from dispatch/claim
    subscribers/consent/ledger  append the consent records, last in the transaction
"""
