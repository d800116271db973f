"""The guide's NextcloudFileClient, as the guide has it, at work: makes a folder,
uploads, lists, downloads, deletes. Says what it saw as JSON.

    guide_files.py FOLDER   (settings come from the environment)
"""
import json
import os
import sys
import tempfile

from webdav3.client import Client


class settings:
    NEXTCLOUD_WEBDAV_URL = os.environ["NEXTCLOUD_WEBDAV_URL"]
    NEXTCLOUD_WEBDAV_USERNAME = os.environ["NEXTCLOUD_WEBDAV_USERNAME"]
    NEXTCLOUD_WEBDAV_PASSWORD = os.environ["NEXTCLOUD_WEBDAV_PASSWORD"]


class NextcloudFileClient:
    def __init__(self):
        self.client = Client({
            'webdav_hostname': settings.NEXTCLOUD_WEBDAV_URL,
            'webdav_login': settings.NEXTCLOUD_WEBDAV_USERNAME,
            'webdav_password': settings.NEXTCLOUD_WEBDAV_PASSWORD
        })

    def list_files(self, path='/'):
        return self.client.list(path)

    def download_file(self, remote_path, local_path):
        self.client.download_sync(
            remote_path=remote_path,
            local_path=local_path
        )

    def upload_file(self, local_path, remote_path):
        self.client.upload_sync(
            remote_path=remote_path,
            local_path=local_path
        )


folder = sys.argv[1].rstrip("/")
files = NextcloudFileClient()
seen = {}
with tempfile.TemporaryDirectory() as here:
    up, down = os.path.join(here, "up"), os.path.join(here, "down")
    content = "Befund für Zimmer 7: ✓\n".encode() * 5000
    with open(up, "wb") as f:
        f.write(content)
    seen["before"] = sorted(files.list_files(folder))
    files.client.mkdir(folder + "/Ward ü&7")
    files.upload_file(up, folder + "/Ward ü&7/note 100%.txt")
    seen["folder"] = sorted(files.list_files(folder))
    seen["inside"] = sorted(files.list_files(folder + "/Ward ü&7"))
    files.download_file(folder + "/Ward ü&7/note 100%.txt", down)
    with open(down, "rb") as f:
        seen["same"] = f.read() == content
    seen["size"] = files.client.info(folder + "/Ward ü&7/note 100%.txt")["size"]
    files.client.copy(folder + "/Ward ü&7/note 100%.txt", folder + "/copied.txt")
    files.client.move(folder + "/copied.txt", folder + "/moved.txt")
    seen["moved"] = [files.client.check(folder + "/" + n) for n in ("copied.txt", "moved.txt")]
    files.client.clean(folder + "/Ward ü&7")
    files.client.clean(folder + "/moved.txt")
    seen["after"] = sorted(files.list_files(folder))
json.dump(seen, sys.stdout, ensure_ascii=False, sort_keys=True)
