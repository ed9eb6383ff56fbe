"""The sums by day are brought up to date by Celery's workers."""

from tests.factories import broadcast_to, many_numbers
from tests.kills.mortal import wait_until


def test_beat_has_what_was_sent_summed_up(make_crew, database_url, sinch, broker):
    crew = make_crew(database_url, SWEEP_EVERY_S="0.5").start_web()
    crew.start_worker()
    crew.start_beat()

    crew.wait_until_complete(crew.post(broadcast_to(*many_numbers(1_500))))

    wait_until(
        lambda: crew.get("/api/analytics")["totals"]["sent"] == 1_500,
        within_s=90,
        why="the figures are those of all that was sent",
    )
