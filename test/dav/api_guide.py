"""The guide's integrations by the JSON API, with a client's secret and requests:
who it is, files, an event, mail. Says what it saw as JSON.

    api_guide.py CALENDAR   (settings come from the environment)
"""
import json
import os
import sys
import time
from datetime import datetime
from urllib.parse import quote

import requests

at = os.environ["API"]
va = requests.Session()
va.auth = (os.environ["CLIENT"], os.environ["SECRET"])


def items(of, **asked):                           # of all pages of a list
    while True:
        r = va.get(f"{at}/{of}", params=asked)
        r.raise_for_status()
        page = r.json()
        yield from page["items"]
        if "cursor" not in page:
            return
        asked["cursor"] = page["cursor"]


def list_files(path="/"):
    return list(items("files", path=path))


def download(path):
    r = va.get(f"{at}/files/content", params={"path": path})
    r.raise_for_status()
    return r.content


def upload(path, content):
    va.put(f"{at}/files/content", params={"path": path}, data=content).raise_for_status()


def create_event(calendar_name, title, start, end, description, zone="Europe/Berlin"):
    r = va.post(f"{at}/calendars/{quote(calendar_name, safe='')}/events", json={
        "title": title, "start": start.isoformat(), "end": end.isoformat(),
        "description": description, "time_zone": zone})
    r.raise_for_status()
    return r.json()["id"]


def fetch_recent_emails(limit=10):
    r = va.get(f"{at}/mail/messages", params={"limit": limit})
    r.raise_for_status()
    return r.json()["items"]


def send_email(to, subject, body):
    va.post(f"{at}/mail/messages", json={"to": [to], "subject": subject, "text": body}).raise_for_status()


seen = {"me": va.get(f"{at}/people/me").json()["username"]}
folder = os.environ.get("FOLDER", "")
content = "Befund für Zimmer 7: ✓\n".encode() * 5000
upload(f"{folder}/note ü 100%.txt", content)
upload(f"{folder}/unknown length.txt", (content[i:i + 1000] for i in range(0, len(content), 1000)))
seen["files"] = sorted(f["name"] for f in list_files(folder or "/") if not f["folder"])
assert len(list(items("files", path=folder or "/", limit=1))) == len(list_files(folder or "/"))
try:
    download(f"{folder}/not there")
    seen["absent"] = "a file that is not there was downloaded"
except requests.HTTPError:
    pass
seen["same"] = [download(f"{folder}/{name}") == content for name in ("note ü 100%.txt", "unknown length.txt")]
create_event(sys.argv[1], "Besprechung", datetime(2026, 3, 29, 9), datetime(2026, 3, 29, 10), "mit allen")
month = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
seen["events"] = [(e["title"], e["start"], e["description"]) for e in items(f"calendars/{quote(sys.argv[1], safe='')}/events", **month)]
if "MAIL_TO" in os.environ:
    send_email(os.environ["MAIL_TO"], "Grüße aus dem Dienst", "Zeile 1\nZeile 2 ✓\n")
    for _ in range(100):
        mail = fetch_recent_emails()
        if mail:
            break
        time.sleep(0.1)
    seen["mail"] = [(m["subject"], m["from"][0]["email"]) for m in mail]
    seen["text"] = va.get(f"{at}/mail/messages/{mail[0]['id']}").json()["text"]
json.dump(seen, sys.stdout, ensure_ascii=False, sort_keys=True)
