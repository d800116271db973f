"""A program that has a client's secret and nothing else, at the JSON API: every
operation on calendars and contacts. What it stores, another client (python3-caldav,
vobject) reads from the server itself. Says what it saw as JSON; what is not as it
should be ends it.

    api_pim.py CALENDAR BOOK   (settings come from the environment)
"""
import json
import os
import sys
import urllib.parse

import requests
import vobject

api, (calendar, book) = os.environ["API"], sys.argv[1:3]
va = requests.Session()
va.auth = (os.environ["CLIENT"], os.environ["SECRET"])
direct = requests.Session()
direct.auth = (os.environ["DAV_USER"], os.environ["DAV_SECRET"])


def ask(method, path, status, params=None, data=None, **headers):
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    r = va.request(method, api + path, params=params, json=data, headers=headers)
    if r.status_code != status:
        sys.exit(f"{method} {path} {params} {data} = {r.status_code} {r.text}, want {status}")
    return r.json() if r.content else None


def stored(home, collection, item):
    """The object as the server has it."""
    r = direct.get(os.environ[home] + "/" + urllib.parse.quote(collection) + "/" + urllib.parse.quote(item))
    r.raise_for_status()
    return vobject.readOne(r.content.decode())


def same(got, want, what):
    if got != want:
        sys.exit(f"{what}: {got!r}, want {want!r}")


class Known:
    """What a program knows of a collection, from its changes."""

    def __init__(self, path):
        self.path, self.etags, self.cursor = path, {}, None
        self.ask()

    def ask(self):
        """The ids that came, changed or went."""
        answer = ask("GET", self.path, 200, {"cursor": self.cursor} if self.cursor else None)
        before, now = self.etags, {} if answer["complete"] else dict(self.etags)
        for c in answer["items"]:
            if c.get("deleted"):
                now.pop(c["id"], None)
            else:
                now[c["id"]] = c["etag"]
        self.etags, self.cursor = now, answer["cursor"]
        return sorted(i for i in before.keys() | now.keys() if before.get(i) != now.get(i))


def calendars():
    k = next(k for k in ask("GET", "/calendars", 200)["items"] if calendar in (k["id"], k["name"]))
    events = f"/calendars/{k['id']}/events"
    window = {"from": "2026-10-01T00:00:00Z", "to": "2026-11-30T00:00:00Z", "time_zone": "Europe/Berlin"}
    made = ask("POST", f"/calendars/{calendar}/events", 201, data={
        "title": "Visite; Zimmer 3, \"4\"", "start": "2026-10-20T09:00:00", "end": "2026-10-20T09:30:00", "time_zone": "Europe/Berlin",
        "description": "Zeile 1\nZeile 2: ✓ " + "lang " * 40, "location": "Station B", "recurrence": "FREQ=WEEKLY;COUNT=4", "uid": "visite-1"})
    ask("POST", events, 409, data={"title": "x", "start": "2026-10-20", "uid": "visite-1"})
    found = ask("GET", events, 200, window)["items"]
    same([e["start"] for e in found], ["2026-10-20T09:00:00+02:00", "2026-10-27T09:00:00+01:00", "2026-11-03T09:00:00+01:00", "2026-11-10T09:00:00+01:00"], "occurrences")
    same(found[0]["title"], "Visite; Zimmer 3, \"4\"", "title")
    same(found[0]["description"], "Zeile 1\nZeile 2: ✓ " + "lang " * 40, "description")
    theirs = stored("CALENDARS", k["id"], made["id"])
    same(theirs.vevent.summary.value, "Visite; Zimmer 3, \"4\"", "title, to another client")
    same(theirs.vevent.dtstart.value.isoformat(), "2026-10-20T09:00:00+02:00", "start, to another client")
    same([d.isoformat() for d in theirs.vevent.getrruleset(addRDate=True)][1], "2026-10-27T09:00:00+01:00", "second occurrence, to another client")
    # One occurrence moves, one goes.
    ask("PATCH", f"{events}/{made['id']}", 428, data={"title": "y"})
    ask("PATCH", f"{events}/{made['id']}", 412, data={"title": "y"}, If_Match='"no"')
    e = ask("GET", f"{events}/{made['id']}", 200)
    e = ask("PATCH", f"{events}/{made['id']}", 200, {"occurrence": found[1]["occurrence"]}, {"start": "2026-10-28T11:00:00"}, If_Match=e["etag"])
    ask("DELETE", f"{events}/{made['id']}", 204, {"occurrence": found[2]["occurrence"]}, If_Match=e["etag"])
    same([x["start"] for x in ask("GET", events, 200, window)["items"]], ["2026-10-20T09:00:00+02:00", "2026-10-28T11:00:00+01:00", "2026-11-10T09:00:00+01:00"], "after changes")
    parts = [p for p in stored("CALENDARS", k["id"], made["id"]).contents["vevent"]]
    same(len(parts), 2, "components, to another client")
    known = Known(f"/calendars/{k['id']}/changes")
    same(known.ask(), [], "changes where nothing changed")
    whole = ask("POST", events, 201, data={"title": "Urlaub", "start": "2026-11-16", "end": "2026-11-21"})
    same((whole["all_day"], whole["start"], whole["end"]), (True, "2026-11-16", "2026-11-21"), "whole days")
    same(known.ask(), [whole["id"]], "changes")
    busy = ask("GET", "/calendars/free-busy", 200, {**window, "calendar": k["id"]})["items"]
    same([b["start"] for b in busy], ["2026-10-20T07:00:00Z", "2026-10-28T10:00:00Z", "2026-11-10T08:00:00Z", "2026-11-15T23:00:00Z"], "busy")
    ask("DELETE", f"{events}/{whole['id']}", 204, If_Match="*")
    same(known.ask(), [whole["id"]], "deletions")
    same(list(known.etags), [made["id"]], "what is left")
    ask("GET", f"/calendars/{k['id']}/changes", 410, {"cursor": "urn:nothing"})
    ask("DELETE", f"{events}/{made['id']}", 204, If_Match="*")
    same(ask("GET", events, 200, window)["items"], [], "the end")


def contacts():
    b = next(b for b in ask("GET", "/contacts", 200)["items"] if book in (b["id"], b["name"]))
    cards = f"/contacts/{b['id']}/cards"
    made = ask("POST", cards, 201, data={"name": "Ada Löve", "given": "Ada", "family": "Löve; x", "emails": [{"value": "ada@example.com", "type": "work"}],
                                         "phones": [{"value": "+49 30 1", "type": "cell"}], "note": "a\nb, c", "birthday": "1980-02-29", "uid": "ada-1"})
    theirs = stored("BOOKS", b["id"], made["id"])
    same((theirs.fn.value, theirs.n.value.family, theirs.email.value, theirs.note.value), ("Ada Löve", "Löve; x", "ada@example.com", "a\nb, c"), "card, to another client")
    ask("POST", cards, 201, data={"name": "Bob"})
    same([c["name"] for c in ask("GET", cards, 200)["items"]], ["Ada Löve", "Bob"], "contacts")
    same([c["name"] for c in ask("GET", cards, 200, {"text": "ADA@"})["items"]], ["Ada Löve"], "search")
    known = Known(f"/contacts/{b['id']}/changes")
    ask("PATCH", f"{cards}/{made['id']}", 428, data={"note": ""})
    e = ask("GET", f"{cards}/{made['id']}", 200)
    ask("PATCH", f"{cards}/{made['id']}", 412, data={"note": "x"}, If_Match='"no"')
    e = ask("PATCH", f"{cards}/{made['id']}", 200, data={"note": "", "phones": []}, If_Match=e["etag"])
    same((e.get("note"), e.get("phones"), e["emails"][0]["value"]), (None, None, "ada@example.com"), "changed card")
    same(known.ask(), [made["id"]], "changes of contacts")
    for c in ask("GET", cards, 200)["items"]:
        ask("DELETE", f"{cards}/{c['id']}", 204, If_Match="*")
    same(ask("GET", cards, 200)["items"], [], "the end of contacts")


calendars()
contacts()
json.dump({"done": True}, sys.stdout)
