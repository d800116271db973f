"""The guide's NextcloudCalendarClient, as the guide has it, at work: finds the
principal and the calendars, saves an event, finds it, moves it, deletes it. Says
what it saw as JSON.

    guide_calendar.py CALENDAR   (settings come from the environment)
"""
import json
import os
import sys
from datetime import datetime

import caldav


class settings:
    NEXTCLOUD_CALDAV_URL = os.environ["NEXTCLOUD_CALDAV_URL"]
    NEXTCLOUD_CALDAV_USERNAME = os.environ["NEXTCLOUD_CALDAV_USERNAME"]
    NEXTCLOUD_CALDAV_PASSWORD = os.environ["NEXTCLOUD_CALDAV_PASSWORD"]


class NextcloudCalendarClient:
    def __init__(self):
        self.client = caldav.DAVClient(
            url=settings.NEXTCLOUD_CALDAV_URL,
            username=settings.NEXTCLOUD_CALDAV_USERNAME,
            password=settings.NEXTCLOUD_CALDAV_PASSWORD
        )
        self.principal = self.client.principal()

    def get_calendars(self):
        return self.principal.calendars()

    def create_event(self, calendar_name, title, start, end, description=''):
        calendar = self.get_calendar_by_name(calendar_name)
        event = calendar.save_event(
            dtstart=start,
            dtend=end,
            summary=title,
            description=description
        )
        return event


class Calendars(NextcloudCalendarClient):
    def get_calendar_by_name(self, name):  # the guide leaves it to the reader
        return next(c for c in self.get_calendars() if c.name == name)


def path(url):
    return url.path if hasattr(url, "path") else str(url)


name = sys.argv[1]
calendars = Calendars()
seen = {"principal": path(calendars.principal.url), "home": path(calendars.principal.calendar_home_set.url)}
seen["calendars"] = sorted([c.name, path(c.url)] for c in calendars.get_calendars())
event = calendars.create_event(name, "Visite Zimmer 7 & 8", datetime(2026, 3, 2, 9), datetime(2026, 3, 2, 10), "mit Frau Müller, siehe /dav/ und /remote.php/dav/")
ward = calendars.get_calendar_by_name(name)
seen["beside"] = path(event.url).startswith(path(ward.url))
found = ward.date_search(datetime(2026, 3, 2), datetime(2026, 3, 3))
seen["found"] = [[e.vobject_instance.vevent.summary.value, e.vobject_instance.vevent.description.value] for e in found]
seen["same"] = [path(e.url) == path(event.url) for e in found]
seen["listed"] = [path(e.url) == path(event.url) for e in ward.events()]
again = ward.event_by_url(event.url)
again.vobject_instance.vevent.summary.value = "Visite verlegt"
again.save()
seen["changed"] = [e.vobject_instance.vevent.summary.value for e in ward.events()]
extra = calendars.principal.make_calendar(name="Extra", cal_id="extra")
seen["with extra"] = sorted(c.name or "" for c in calendars.get_calendars())
extra.delete()
event.delete()
seen["left"] = len(ward.events())
json.dump(seen, sys.stdout, ensure_ascii=False, sort_keys=True)
