"""Verifies what Anteroom signs (RFC 9421, RFC 9530). Needs python3-cryptography."""
import base64
import hashlib
import json
import re
import time
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ALWAYS = ["@method", "@authority", "@path", "@query"]
# Whoever stands in between must not be able to add these, either.
IF_THERE = ["content-digest", "content-type", "authorization", "x-request-id", "x-forwarded-user",
            "x-forwarded-preferred-username", "x-forwarded-email", "x-forwarded-name",
            "x-forwarded-groups", "x-forwarded-groups-truncated"]
LEEWAY = 5  # seconds between the clocks


class Refused(Exception):
    pass


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


class Keys:
    """The keys that Anteroom publishes; asked again when a new one turns up."""

    def __init__(self, url):
        self.url, self.asked, self.keys = url, 0, {}

    def get(self, kid):
        if kid not in self.keys and time.time() - self.asked > 10:
            self.asked = time.time()
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                self.keys = {k["kid"]: k for k in json.load(answer)["keys"]}
        if kid not in self.keys:
            raise Refused("unknown key")
        return self.keys[kid]


def holds(jwk, alg, signature, base):
    """Whether a signature holds. The algorithm is the key's, whatever the message says."""
    own = {"EC": "ecdsa-p256-sha256", "OKP": "ed25519", "RSA": "rsa-v1_5-sha256", "oct": "hmac-sha256"}[jwk["kty"]]
    if alg != own:
        return False
    try:
        if own == "ecdsa-p256-sha256":
            key = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()).public_key()
            if len(signature) != 64:
                return False
            der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
            key.verify(der, base, ec.ECDSA(hashes.SHA256()))
        elif own == "ed25519":
            raw = base64.urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4))
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, base)
        elif own == "rsa-v1_5-sha256":
            key = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
            key.verify(signature, base, padding.PKCS1v15(), hashes.SHA256())
        else:
            mac = hmac.HMAC(base64.urlsafe_b64decode(jwk["k"] + "=="), hashes.SHA256())
            mac.update(base)
            mac.verify(signature)
    except InvalidSignature:
        return False
    return True


class Verifier:
    def __init__(self, keys, whole_bodies=False):
        self.keys, self.whole_bodies, self.seen = keys, whole_bodies, {}

    def check(self, method, authority, target, headers, body, now=None):
        """Raises Refused unless the request is as Anteroom signed it. headers is a
        list of (name, value), as they were received; target is the request line's."""
        now = time.time() if now is None else now
        fields = {}
        for name, value in headers:
            fields.setdefault(name.lower(), []).append(value.strip(" \t"))
        fields = {name: ", ".join(values) for name, values in fields.items()}
        said = re.fullmatch(r'anteroom=(\(((?:"[!-~]+"(?: "[!-~]+")*)?)\)((?:;[a-z]+=(?:\d+|"[ -!#-\[\]-~]*"))*))',
                            fields.get("signature-input", ""))
        sig = re.fullmatch(r"anteroom=:([A-Za-z0-9+/=]+):", fields.get("signature", ""))
        if not said or not sig:
            raise Refused("not signed")
        covered = re.findall(r'"([!-~]+?)"', said[2])
        params = {m[1]: int(m[2]) if m[2].isdigit() else m[2].strip('"')
                  for m in re.finditer(r';([a-z]+)=(\d+|"[^"]*")', said[3])}
        missing = [c for c in ALWAYS if c not in covered] + [f for f in IF_THERE if f in fields and f not in covered]
        if missing or len(set(covered)) != len(covered):
            raise Refused("not all is covered: " + ", ".join(missing))
        if params.get("tag") != "anteroom" or not isinstance(params.get("created"), int) or not isinstance(params.get("expires"), int):
            raise Refused("not made for this")
        if not params["created"] - LEEWAY <= now < params["expires"]:
            raise Refused("not its time")
        path, _, query = target.partition("?")
        derived = {"@method": method, "@authority": authority.lower(), "@path": path, "@query": "?" + query}
        lines = []
        for name in covered:
            value = derived.get(name, fields.get(name))
            if value is None:
                raise Refused("a part is missing: " + name)
            lines.append(f'"{name}": {value}')
        base = "\n".join(lines + ['"@signature-params": ' + said[1]])
        if not holds(self.keys.get(params.get("keyid")), params.get("alg"), base64.b64decode(sig[1]), base.encode()):
            raise Refused("the signature does not hold")
        digest = "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"
        if "content-digest" in covered:
            if fields["content-digest"] != digest:
                raise Refused("the body is another")
        elif body and self.whole_bodies:
            raise Refused("the body is not covered")
        self.seen = {nonce: until for nonce, until in self.seen.items() if until > now}
        if not params.get("nonce") or params["nonce"] in self.seen:
            raise Refused("it came before")
        self.seen[params["nonce"]] = params["expires"]
