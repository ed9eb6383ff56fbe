"""The chart of a curve: its positions, what it cuts out, and what it says of that."""

from datetime import UTC, datetime, timedelta

from app.sms.analytics.delivery import CurvePoint
from app.web.broadcasts.curve import lay_out_curve

START = datetime(2026, 12, 3, 10, 30, tzinfo=UTC)


def points(*figures):
    """Points from minutes after the start and delivered messages."""
    return [CurvePoint(START + timedelta(minutes=minutes), count) for minutes, count in figures]


def lay_out(*figures, top=100, now=600, delivered=None, plan=None):
    planned = points(plan)[0] if plan else None
    now = START + timedelta(minutes=now)
    return lay_out_curve(points(*figures), top=top, now=now, delivered=delivered, plan=planned)


def test_a_line_goes_from_the_lower_left_to_the_upper_right():
    curve = lay_out((0, 0), (5, 50), (10, 100))

    assert [line.points for line in curve.lines] == ["0,100 500,50 1000,0"]
    assert curve.lines[0].area == "0,100 0,100 500,50 1000,0 1000,100"
    assert [(tick.x, tick.label) for tick in curve.ticks] == [(0, "10:30"), (100, "10:40")]
    assert (curve.gaps, curve.now, curve.plan) == ([], None, "")


def test_a_pause_of_more_than_a_fifth_is_cut_out_and_said():
    curve = lay_out((0, 0), (12, 90), (270, 90), (274, 100))

    (gap,) = curve.gaps
    assert gap.words == "4 h 18 min"
    assert [line.points.split()[-1] for line in curve.lines] == ["660,10", "1000,0"]
    assert (gap.x, curve.lines[1].points.split()[0]) == (66, "780,10")
    assert [tick.label for tick in curve.ticks] == ["10:30", "15:04", "10:42"]


def test_what_runs_goes_on_to_now_and_its_plan_from_there():
    curve = lay_out((0, 0), (5, 50), now=6, delivered=50, plan=(10, 100))

    assert curve.now.x == 60
    assert curve.now.label == "now, 10:36"
    assert curve.plan == "600,50 1000,0"
    assert curve.marks == []


def test_a_pause_up_to_now_is_cut_out_too():
    curve = lay_out((0, 0), (5, 50), now=500, delivered=50)

    assert curve.now.x == 100
    assert [(gap.x, gap.words) for gap in curve.gaps] == [(88, "8 h 15 min")]


def test_deliveries_that_are_not_counted_yet_rise_up_to_now():
    curve = lay_out((0, 0), (5, 50), now=10, delivered=80)

    assert [line.points for line in curve.lines] == ["0,100 500,50 1000,20"]
    assert curve.gaps == []


def test_the_last_hundredth_is_told_in_words_if_it_took_very_long():
    curve = lay_out((0, 0), (10, 99), (20, 99), (4_000, 100))

    assert curve.late == 1
    assert curve.rows[-1]["delivered"] == "100"
    assert curve.ticks[1].label == "10:42"


def test_half_and_nearly_all_lie_between_two_points():
    curve = lay_out((0, 0), (10, 100))

    assert [mark["figure"] for mark in curve.marks] == ["10:35", "10:39", "10:39"]


def test_a_table_of_many_points_has_few_rows_and_the_ends():
    curve = lay_out(*((number, number) for number in range(101)))

    assert len(curve.rows) == 20
    assert [row["delivered"] for row in curve.rows][:: len(curve.rows) - 1] == ["0", "100"]


def test_nothing_delivered_is_a_line_at_the_bottom():
    curve = lay_out((0, 0), now=1, delivered=0)

    assert curve.lines[0].points.endswith("100")
    assert all(len(tick.label) == len("10:30:00") for tick in curve.ticks)
