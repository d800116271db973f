"""Holds a request that went through Anteroom against verify.py: as it came it is
accepted, changed in any way it is refused. Reads a JSON object from stdin."""
import copy
import json
import sys
import time

from verify import Keys, Refused, Verifier

got = json.load(sys.stdin)
got["body"] = got["body"].encode()
keys = Keys(got.pop("jwks"))
now = got.pop("now", time.time())


def check(request, verifier=None, **more):
    (verifier or Verifier(keys)).check(request["method"], request["authority"], request["target"],
                                       [tuple(h) for h in request["headers"]], request["body"], **{"now": now, **more})


def edit(name, change):
    def do(r):
        r["headers"] = [[n, change(v)] if n.lower() == name else [n, v] for n, v in r["headers"]]
    return do


def drop(name):
    def do(r):
        r["headers"] = [h for h in r["headers"] if h[0].lower() != name]
    return do


def put(key, value):
    return lambda r: r.__setitem__(key, value)


mutations = {
    "another method": put("method", "DELETE"),
    "another host": put("authority", "evil.example.com"),
    "another path": put("target", got["target"].replace("/", "/x", 1)),
    "another query": put("target", got["target"] + "&admin=1"),
    "another body": put("body", got["body"] + b" "),
    "another body with its digest": lambda r: (put("body", b"evil")(r), edit("content-digest", lambda _: "sha-256=:" + __import__("base64").b64encode(__import__("hashlib").sha256(b"evil").digest()).decode() + ":")(r)),
    "another person": edit("x-forwarded-user", lambda v: "admin"),
    "more groups": edit("x-forwarded-groups", lambda v: v + ",admin"),
    "no person": drop("x-forwarded-user"),
    "another token": edit("authorization", lambda v: v[:-4] + "AAAA"),
    "a part not covered": edit("signature-input", lambda v: v.replace(' "x-forwarded-user"', "")),
    "good for longer": edit("signature-input", lambda v: v.replace(";expires=", ";expires=9")),
    "another key": edit("signature-input", lambda v: v.replace(';keyid="', ';keyid="x')),
    "another algorithm": edit("signature-input", lambda v: v.replace("ecdsa-p256-sha256", "hmac-sha256")),
    "a twisted signature": edit("signature", lambda v: v[:20] + ("A" if v[20] != "A" else "B") + v[21:]),
    "no signature": drop("signature"),
    "no input": drop("signature-input"),
    "a second line of a field": lambda r: r["headers"].append(["X-Forwarded-Groups", "admin"]),
    "a field that was not there": lambda r: r["headers"].append(["X-Forwarded-Groups-Truncated", "true"]),
}
failed = []
check(got)
for name, change in mutations.items():
    request = copy.deepcopy(got)
    change(request)
    if request == got:
        failed.append(name + " changes nothing")
    try:
        check(request)
        failed.append(name + " is accepted")
    except Refused:
        pass
for name, then in {"too late": now + 120, "too early": now - 120}.items():
    try:
        check(got, now=then)
        failed.append(name + " is accepted")
    except Refused:
        pass
once = Verifier(keys)
check(got, once)
try:
    check(got, once)
    failed.append("a second time is accepted")
except Refused:
    pass
if failed:
    sys.exit("\n".join(failed))
print(len(mutations) + 3, "mutations refused")
