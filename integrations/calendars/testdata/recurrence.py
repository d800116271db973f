#!/usr/bin/python3
"""Says when the events of recurrence.json happen, as python-dateutil has it.

usage: recurrence.py < recurrence.json > recurrence.golden.json

Each case has a zone ("" for floating times, which are looked at in Europe/Berlin),
a start, a rule, dates that are added and taken out, overrides, and a window. The
answer is a list of instants (dates for whole days).

dateutil expands rules on the clocks of the zone, as RFC 5545 wants; what the clocks
show twice or never is settled here by section 3.3.5: the first of two, and the
offset from before a gap.
"""
import json
import sys
from datetime import datetime, timedelta

from dateutil import rrule, tz

HERE = "Europe/Berlin"


def clock(text):
    for form in ("%Y%m%dT%H%M%S", "%Y%m%d"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            pass
    raise ValueError(text)


def instant(wall, zone):
    local = wall.replace(tzinfo=zone, fold=0)
    if not tz.datetime_exists(local):
        before = (wall - timedelta(days=1)).replace(tzinfo=zone).utcoffset()
        return (wall - before).replace(tzinfo=tz.UTC)
    return local.astimezone(tz.UTC)


def answer(case):
    day = len(case["start"]) == 8
    zone = tz.gettz(case.get("zone") or HERE)
    start = clock(case["start"])
    walls = {start}
    if case.get("rule"):
        rule = case["rule"]
        # dateutil wants UNTIL on the same clocks as the start
        parts = dict(p.split("=") for p in rule.split(";"))
        until = parts.get("UNTIL", "")
        if until.endswith("Z"):
            local = clock(until[:-1]).replace(tzinfo=tz.UTC).astimezone(zone)
            parts["UNTIL"] = local.strftime("%Y%m%dT%H%M%S")
            rule = ";".join(k + "=" + v for k, v in parts.items())
        end = clock(case["to"]) + timedelta(days=3)
        for wall in rrule.rrulestr(rule, dtstart=start):
            if wall > end:
                break
            walls.add(wall)
    walls |= {clock(d) for d in case.get("rdate", [])}
    walls -= {clock(d) for d in case.get("exdate", [])}
    moved = case.get("overrides", {})
    walls -= {clock(d) for d in moved}
    walls |= {clock(d) for d in moved.values()}
    low, high = clock(case["from"]), clock(case["to"])
    if day:
        midnight = lambda wall: instant(wall, tz.gettz(HERE))
        at = {w: midnight(w) for w in walls}
    else:
        at = {w: instant(w, zone) for w in walls}
    low, high = low.replace(tzinfo=tz.UTC), high.replace(tzinfo=tz.UTC)
    length = timedelta(minutes=case.get("minutes", 0))
    found = []
    for wall, when in at.items():
        if day:
            over = instant(wall + timedelta(days=case.get("days", 1)), tz.gettz(HERE))
        else:
            over = when + length
        if when < high and (over > low or when == over and when >= low):
            found.append((when, wall))
    texts = [w.strftime("%Y-%m-%d") if day else i.strftime("%Y-%m-%dT%H:%M:%SZ") for i, w in sorted(found)]
    return list(dict.fromkeys(texts))  # an instant that two dates name is one


cases = json.load(sys.stdin)
json.dump({c["name"]: answer(c) for c in cases}, sys.stdout, indent=1)
print()
