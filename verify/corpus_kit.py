"""What the corpus is made of: a signer, trees, receipts in parts, entries as Placet writes them, and the cases.
Signs, hashes and encodes by itself; shares no code with any verifier.
"""
import base64
import hashlib
import json
import os
import random

# ---- Ed25519 (RFC 8032), affine doubling and adding on extended coordinates, and forgeries with it

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, -1, P) % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def x_of(y):
    """The even x with this y, or None off the curve."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT_OF_MINUS_1 % P
    return None if (x * x - square) % P else min(x, P - x) if min(x, P - x) % 2 == 0 else max(x, P - x)


def point(y):
    x = x_of(y)
    return x, y, 1, x * y % P


def encode(p):
    inverse = pow(p[2], -1, P)
    return (p[1] * inverse % P | (p[0] * inverse % P & 1) << 255).to_bytes(32, "little")


def challenge(nonce, public, message):
    return int.from_bytes(hashlib.sha512(nonce + public + message).digest(), "little") % L


BASE = point(BASE_Y)


class Key:
    def __init__(self, seed, torsion=None):
        digest = hashlib.sha512(seed).digest()
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix = digest[32:]
        point_ = times(self.scalar, BASE)
        self.public = encode(add(point_, torsion) if torsion else point_)

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % L
        nonce = encode(times(r, BASE))
        s = (r + challenge(nonce, self.public, message) * self.scalar) % L
        return nonce + s.to_bytes(32, "little")


def torsion_points():
    """The eight points of small order, by their order."""
    candidate = 2
    while True:
        if x_of(candidate) is not None:
            eighth = times(L, point(candidate))
            if encode(times(4, eighth)) != encode((0, 1, 1, 0)):
                return [times(factor, eighth) for factor in range(8)]
        candidate += 1


class SmallKey:
    """A key of small order: anybody can sign under it."""

    def __init__(self, public, order):
        self.public, self.order = public, order

    def sign(self, message):
        r = 1
        while True:
            nonce = encode(times(r, BASE))
            if challenge(nonce, self.public, message) % self.order == 0:
                return nonce + r.to_bytes(32, "little")
            r += 1


# ---- Texts


def b64(data):
    return base64.b64encode(data).decode()


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def canonical(value):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def key_id(name, public, kind=b"\x01"):
    return sha(name.encode(), b"\n", kind, public)[:4]


def vkey(name, public, kind=b"\x01"):
    return "%s+%s+%s" % (name, key_id(name, public, kind).hex(), b64(kind + public))


def pin(name, key, low=0, high=None, status="active"):
    entry = {"vkey": vkey(name, key.public), "from_size": low, "status": status}
    return entry if high is None else dict(entry, to_size=high)


def trust(*pins):
    return json.dumps({"v": 1, "keys": list(pins)}, separators=(",", ":")).encode()


def line(name, key, body):
    return "\u2014 %s %s" % (name, b64(key_id(name, key.public) + key.sign(body)))


def sides(index, size):
    """For each hash of the path, leaf's sibling first, whether it stands on the left."""
    inner = (index ^ (size - 1)).bit_length() if size else 1
    return [index >> level & 1 == 1 for level in range(inner)] + [True] * bin(index >> inner).count("1")


def climb(entry, index, size, path):
    node = sha(b"\0", entry)
    for sibling, left in zip(path, sides(index, size)):
        node = sha(b"\1", sibling, node) if left else sha(b"\1", node, sibling)
    return node


class Tree:
    """RFC 6962 section 2.1, by its recursive definition."""

    def __init__(self, leaves):
        self.leaves, self.known = leaves, {}

    def root(self, low, high):
        if high - low == 1:
            return sha(b"\0", self.leaves[low])
        if (low, high) not in self.known:
            split = low + (1 << (high - low - 1).bit_length() - 1)
            self.known[low, high] = sha(b"\1", self.root(low, split), self.root(split, high))
        return self.known[low, high]

    def path(self, index, low, high):
        if high - low == 1:
            return []
        split = low + (1 << (high - low - 1).bit_length() - 1)
        if index < split:
            return self.path(index, low, split) + [self.root(split, high)]
        return self.path(index, split, high) + [self.root(low, split)]


class Receipt:
    """A receipt in parts, each of which a case may alter; texts are bytes to be, with surrogateescape."""

    def __init__(self, entry, index, path, body, lines):
        self.header, self.entry, self.index = "c2sp.org/tlog-proof@v1", "extra " + b64(entry), "index %d" % index
        self.path, self.body, self.lines = [b64(node) for node in path], body, list(lines)

    def but(self, **parts):
        other = Receipt(b"", 0, [], "", [])
        other.__dict__.update(self.__dict__)
        other.__dict__.update(parts)
        return other

    def text(self):
        top = [self.header, self.entry, self.index] + self.path
        return "\n".join(top) + "\n\n" + self.body + "\n" + "\n".join(self.lines) + "\n"


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def byte_text(data):
    return data.decode("utf-8", "surrogateescape")


# ---- Entries, as Placet writes them


class Corpus:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.cases, self.names = {"good": [], "bad": []}, set()
        instance = self.bytes(8).hex()
        self.workspace = "bank"
        self.origin = "placet/%s/bank" % instance
        self.other_origin = "placet/%s/bakery" % instance
        self.key, self.old_key, self.new_key, self.fork_key, self.witness_key, self.other_key = (
            Key(self.bytes(32)) for _ in range(6))
        self.witness = "witness.example/w1"
        self.trust = trust(pin(self.origin, self.key))

    def bytes(self, count):
        return bytes(self.random.randrange(256) for _ in range(count))

    def digest(self):
        return "sha256:" + self.bytes(32).hex()

    def id(self, prefix):
        return prefix + "_0198" + self.bytes(14).hex()

    def statement(self, event="decision", data=None, workspace=None, commitment=None, name=None, **members):
        predicate = {"data": self.decision() if data is None else data, "epoch": 3, "payload": self.digest(),
                     "time_ms": 1795219199999 + self.random.randrange(10**6), "type": event, "v": 1,
                     "workspace": workspace or self.workspace}
        predicate.update(members)
        return {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:placet:event:1",
                "predicate": predicate, "subject": [{
                    "digest": {"placetCommitment": commitment or self.bytes(32).hex()},
                    "name": name or self.id("dec")}]}

    def decision(self, outcome="PERMIT", **members):
        data = {"action": "create", "action_commitment": self.digest(), "actor": "agent:support",
                "deadline_ms": 1795219201999, "decision": self.id("dec"), "environment": "production",
                "facts_commitment": self.digest(), "idempotency": self.bytes(16).hex(), "key": self.id("key"),
                "language": 1, "matched": [{"effect": "allow", "rule": "bank.refund-small"}],
                "outcome": outcome, "policy": self.digest(), "reasons": ["rule"],
                "request_commitment": self.digest(), "rules": ["bank.refund-small"],
                "surface": "payments.refund", "trace": "t-%d" % self.random.randrange(10**6),
                "window_ms": 86400000}
        if outcome == "PERMIT":
            data["permit"] = self.permit()
        data.update(members)
        return data

    def permit(self):
        return {"audience": "agent:support", "consumed": True, "expires_ms": 1795219261999,
                "id": self.id("pmt"), "nonce": self.digest()}

    def events(self):
        """Every type of event, once or more."""
        approval = {"audience": "agent:support", "expires_ms": 1795219291999, "id": self.id("apr"),
                    "requirement": self.digest(), "roles": {"operator": 1, "security_owner": 2},
                    "use_within_ms": 3600000}
        person = "human:" + self.bytes(32).hex()
        principal = {"actor": person, "environment": "production", "hash": self.digest(), "key": self.id("key"),
                     "roles": ["admin", "operator"]}
        window = {"count": 2, "full": True, "per_ms": 60000, "tag": self.bytes(16).hex()}
        matched = [{"effect": "deny", "error": "missing_field", "floor": True, "rule": "floor.a"},
                   {"advice": True, "effect": "throttle", "rule": "b", "window": window}]
        ended = {"decision": self.id("dec"), "index": 4, "permit": self.id("pmt")}
        kill = {"scope": "workspace", "source": "file"}
        yield "genesis", {"bundle": self.digest(), "constitution": 1, "instance": self.bytes(8).hex(),
                          "origin": self.origin, "principals": [principal],
                          "vkeys": [vkey(self.origin, self.key.public)]}
        yield "decision", self.decision("REQUIRE_APPROVAL", approval=approval)
        yield "decision", self.decision("THROTTLE", retry_after_ms=2500, reasons=["velocity"], matched=matched)
        yield "decision", self.decision("DENY", previous=41, on_behalf_of=["human:" + self.bytes(32).hex()])
        yield "decision", self.decision("SILENCE", surface_unknown=True, reasons=["unknown_surface"], rules=[])
        yield "decision", self.decision("PERMIT", constraints={"max_retries": 1, "read_only": True},
                                        target=self.bytes(32).hex(), topic="job.refund",
                                        matched_all={"count": 99, "digest": self.digest()})
        yield "permit.collected", {"approval": self.id("apr"), "decision": self.id("dec"),
                                   "permit": self.permit(), "policy": self.digest()}
        yield "permit.consumed", {"by": "service:gate", "decision": self.id("dec"), "permit": self.id("pmt")}
        yield "permit.expired", ended
        yield "permit.revoked", dict(ended, reason="killed_everything")
        yield "outcome.reported", {"by": "agent:support", "decision": self.id("dec"), "index": 9,
                                   "result": "not_executed"}
        yield "approval.voted", {"approval": self.id("apr"), "approve": True, "by": person, "complete": True,
                                 "decision": self.id("dec"), "requirement": self.digest(), "roles": ["operator"]}
        yield "approval.closed", {"approval": self.id("apr"), "decision": self.id("dec"), "state": "expired"}
        yield "approval.escalated", {"approval": self.id("apr"), "decision": self.id("dec"), "roles": {"admin": 1},
                                     "step": 0}
        yield "approval.reminded", {"approval": self.id("apr"), "decision": self.id("dec"),
                                    "expires_ms": 1795219299999, "missing": {"operator": 1}}
        yield "delegation.ended", {"by": person, "delegation": self.id("dlg")}
        yield "kill.tripped", dict(kill, by=person, source="api")
        yield "kill.lift_requested", dict(kill, by=person, not_before_ms=1795219299999)
        yield "kill.lifted", kill
        yield "bundle.armed", {"bundle": self.digest(), "decision": self.id("dec"), "language": 1}
        signed = {"key": vkey("author", self.key.public), "signature": b64(self.bytes(64))}
        yield "bundle.drafted", {"bundle": self.digest(), "by": person, "cases": 4, "rules": 9, "signed": signed,
                                 "warnings": 0}
        yield "bundle.armed", {"approvers": [person], "author": person, "bundle": self.digest(), "by": person,
                               "decision": self.id("dec"), "how": "published", "language": 1,
                               "replaces": self.digest(), "signed": signed}
        yield "bundle.withdrawn", {"bundle": self.digest(), "by": person, "reason": "case-1"}
        yield "review.closed", {"by": person, "decision": self.id("dec")}
        yield "author.trusted", {"by": person, "key": vkey("author", self.key.public)}
        yield "author.revoked", {"by": person, "key": vkey("author", self.key.public)}
        yield "key.created", {"by": person, "principal": principal}
        yield "key.revoked", {"by": person, "key": self.id("key")}
        yield "payload.erased", {"by": person, "decision": self.id("dec"), "indices": [3, 4], "reason": "request"}
        yield "hold.placed", {"by": person, "hold": self.id("hld"), "reason": "case-1", "scope": "workspace"}
        yield "hold.released", {"by": person, "hold": self.id("hld")}
        yield "signer.rotated", {"new": vkey(self.origin, self.new_key.public), "note": "a\nb\n\n\u2014 c\n",
                                 "old": vkey(self.origin, self.key.public)}
        yield "signer.revoked", {"by": person, "decision": self.id("dec"), "from_size": 7,
                                 "vkey": vkey(self.origin, self.old_key.public)}
        yield "gap", {"cause": "restart", "from_ms": 1, "refused": 3, "to_ms": 2}
        yield "admission.refused", {"count": 5, "keys": 1, "minute_ms": 60000}

    def entry(self, *args, **members):
        return canonical(self.statement(*args, **members)).encode()

    # ---- Receipts

    def receipt(self, entry=None, index=5, size=13, origin=None, signers=None, path=None, root=None, further=(),
                body=None):
        """A receipt whose parts fit: random siblings, the root they lead to, signed by the log's key."""
        entry = entry if entry is not None else self.entry()
        origin = origin if origin is not None else self.origin
        if path is None:
            path = [self.bytes(32) for _ in sides(index, size)]
        root = root or climb(entry, index, size, path)
        if body is None:
            body = "".join(text + "\n" for text in [origin, str(size), b64(root), *further])
        signers = signers if signers is not None else [(origin, self.key)]
        return Receipt(entry, index, path, body, [line(name, key, raw(body)) for name, key in signers])

    def good(self, name, receipt, pinned=None, args=()):
        self.case("good", name, [], receipt, pinned, args)

    def bad(self, name, codes, receipt=None, pinned=None, args=()):
        self.case("bad", name, codes.split(), receipt or self.receipt(), pinned, args)

    def case(self, kind, name, codes, receipt, pinned, args):
        data = raw(receipt.text()) if isinstance(receipt, Receipt) else receipt
        if name in self.names:
            raise ValueError("two cases are called " + name)
        self.names.add(name)
        self.cases[kind].append((name, codes, data, self.trust if pinned is None else pinned, list(args)))

    def write(self, directory):
        manifest = []
        for kind, cases in self.cases.items():
            os.makedirs(os.path.join(directory, kind), exist_ok=True)
            for number, (name, codes, receipt, pinned, args) in enumerate(cases):
                stem = "%s/%04d" % (kind, number)
                for suffix, data in ((".receipt", receipt), (".trust.json", pinned)):
                    with open(os.path.join(directory, stem + suffix), "wb") as file:
                        file.write(data)
                manifest.append({"name": name, "good": kind == "good", "receipt": stem + ".receipt",
                                 "trust": stem + ".trust.json", "args": args, "codes": codes})
        with open(os.path.join(directory, "manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
        return manifest


def entry_of(c, size, **members):
    statement = c.statement(**members)
    statement["predicate"]["data"]["trace"] = ""
    missing = size - len(canonical(statement).encode())
    statement["predicate"]["data"]["trace"] = "x" * missing
    return canonical(statement).encode()
