#!/usr/bin/env python3
"""Verify a Placet receipt offline, with nothing but Python 3.9 and this file.

A receipt (C2SP tlog-proof@v1) carries one log entry, the proof that a log contains it, and the
log's signed checkpoint. Keys come from the trust file alone, never from the receipt.

    placet_verify.py RECEIPT --trust TRUST.json [--json] [--expect PERMIT]
                     [--digest sha256:HEX --salt HEX]
Exit status: 0 verified, 1 refused, 2 usage.
"""
import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from decimal import Decimal

RECEIPT_MAX, ENTRY_MAX, TRUST_MAX = 512 * 1024, 16384, 1 << 20
STATUSES = ("active", "retired", "revoked")
OUTCOMES = ("PERMIT", "REQUIRE_APPROVAL", "THROTTLE", "DENY", "SILENCE")


class Refused(Exception):
    """code: stable, the same as the Rust verifier's; why: one line for people."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code, self.why = code, why


def need(condition, code, why):
    if not condition:
        raise Refused(code, why)


# ---- Ed25519 (RFC 8032), strict: one encoding for every point and scalar, no small-order points

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_decode(data):
    """The point, or None if no point has this encoding. (Of -0 this takes no notice: the two points with
    x = 0 are of small order.)"""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def point_encode(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def small_order(p):
    for _ in range(3):
        p = point_add(p, p)
    return p[0] == 0 and p[1] == p[2]  # 8P is the identity


BASE = point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    key, s = point_decode(public), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L or key is None or small_order(key):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus = (P - key[0], key[1], key[2], P - key[3])
    table = (IDENTITY, BASE, minus, point_add(BASE, minus))
    result = IDENTITY  # s*B - k*A, both scalars bit by bit
    for bit in range(252, -1, -1):
        result = point_add(result, result)
        result = point_add(result, table[(s >> bit & 1) | (k >> bit & 1) << 1])
    return point_encode(result) == signature[:32] and not small_order(result)


# ---- Merkle tree (RFC 6962, RFC 9162 section 2.1.3.2)


def path_length(index, size):
    """Below the level where the ways to the leaf and to the last leaf part there is a sibling at each
    level; above it only where the way turns right."""
    if index >= size:
        return -1
    inner = (index ^ (size - 1)).bit_length()
    return inner + bin(index >> inner).count("1")


def root_from_path(entry, index, size, path):
    node, last = index, size - 1
    digest = hashlib.sha256(b"\x00" + entry).digest()
    for sibling in path:
        if node & 1 or node == last:
            digest = hashlib.sha256(b"\x01" + sibling + digest).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            digest = hashlib.sha256(b"\x01" + digest + sibling).digest()
        node, last = node >> 1, last >> 1
    return digest


# ---- Texts: each value has one legal spelling


def from_base64(text, code="not_canonical"):
    try:
        data = base64.b64decode(text)
    except ValueError:
        raise Refused(code, "malformed base64") from None
    need(base64.b64encode(data).decode() == text, code, "non-canonical base64")
    return data


def from_hash(text):
    data = from_base64(text)
    need(len(data) == 32, "receipt_malformed", "a hash is not 32 bytes long")
    return data


def from_decimal(text):
    need(text and all(c in "0123456789" for c in text), "receipt_malformed", "a number is malformed")
    need(text == "0" or text[0] != "0", "not_canonical", "a number has leading zeros")
    need((len(text), text) <= (20, "18446744073709551615"), "receipt_malformed", "a number is above 2^64")
    return int(text)


def check_name(name, code):
    bad = any(c == "+" or c < " " or c.isspace() for c in name)
    need(name and not bad, code, "a key name is empty or has a space or plus in it")


def field(text, key):
    line, _, rest = text.partition("\n")
    need(line.startswith(key), "receipt_malformed", "the line '%s' is missing" % key.strip())
    return line[len(key):], rest


def parse_receipt(data):
    """-> entry, index, path, signed text, [(name, key id, signature)], origin, size, root"""
    need(len(data) <= RECEIPT_MAX, "receipt_malformed", "the receipt is too large")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("receipt_malformed", "the receipt is not utf-8") from None
    need(all(c >= " " or c == "\n" for c in text), "receipt_malformed", "control character")
    header, rest = field(text, "c2sp.org/tlog-proof@v1")
    need(header == "", "receipt_malformed", "the first line is not that of a tlog-proof")
    entry, rest = field(rest, "extra ")
    entry = from_base64(entry)
    index, rest = field(rest, "index ")
    index, path = from_decimal(index), []
    line, _, rest = rest.partition("\n")
    while line:  # an empty line ends the path
        path.append(from_hash(line))
        line, _, rest = rest.partition("\n")
    need(rest.endswith("\n"), "receipt_malformed", "the last line does not end")
    gap = rest.rfind("\n\n")  # the last empty line parts text and signatures
    body, lines = rest[: gap + 1], rest[gap + 2 : -1].split("\n")
    need(len(lines) <= 64, "receipt_malformed", "too many signatures")
    signatures = [parse_signature(line) for line in lines]
    parts = body[:-1].split("\n")
    need(len(parts) >= 3 and all(parts[3:]), "receipt_malformed", "malformed checkpoint")
    size, root = from_decimal(parts[1]), from_hash(parts[2])
    need(len(path) == path_length(index, size), "inclusion_bad", "the path has the wrong length")
    return entry, index, path, body, signatures, parts[0], size, root


def parse_signature(line):
    need(line.startswith("\u2014 "), "receipt_malformed", "a line among the signatures is none")
    name, _, encoded = line[2:].partition(" ")
    check_name(name, "receipt_malformed")
    data = from_base64(encoded)
    need(len(data) > 4, "receipt_malformed", "a signature is too short")
    return name, data[:4], data[4:]


# ---- Strict JSON and its canonical form (RFC 8785, integers only)


def json_strict(data, size_max, depth_max):
    """The value; ValueError on all that two readers could read differently."""

    def members(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    def number(text):  # exact; 1.0 is an integer that the canonical form spells otherwise
        value = Decimal(text if re.search("^[^eE]*[1-9]", text) else 0)
        if value != value.to_integral_value():
            raise ValueError("a number is not an integer")
        if not -(2**53) <= value <= 2**53:
            raise ValueError("a number is beyond 2^53")
        return int(value)

    def depth(value):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, (dict, list)) else 0

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=members, parse_int=number,
                           parse_float=number)
        canonical(value)  # refuses NaN, infinity and lone surrogates
    except (RecursionError, ArithmeticError):
        raise ValueError("too deep, or too large a number") from None
    if len(data) > size_max:
        raise ValueError("too large")
    if depth(value) > depth_max:
        raise ValueError("too deep")
    return value


def canonical(value):
    def text(v):
        if isinstance(v, dict):
            keys = sorted(v, key=lambda key: key.encode("utf-16-be"))
            return "{" + ",".join(text(k) + ":" + text(v[k]) for k in keys) + "}"
        if isinstance(v, list):
            return "[" + ",".join(map(text, v)) + "]"
        if isinstance(v, float):
            raise ValueError("not a number of JSON")
        return json.dumps(v, ensure_ascii=False)

    return text(value).encode("utf-8")


# ---- Trust: pinned keys


def parse_trust(data):
    """-> {(name, key id): (public key, from_size, to_size or None, status)}"""
    bad = "trust_malformed"
    try:
        top = json_strict(data, TRUST_MAX, 8)
    except ValueError as error:
        raise Refused(bad, "not strict json: %s" % error) from None
    need(isinstance(top, dict) and set(top) == {"v", "keys"} and type(top["v"]) is int
         and top["v"] == 1 and isinstance(top["keys"], list), bad, "not version 1 with keys")
    trust = {}
    for item in top["keys"]:
        need(isinstance(item, dict) and set(item) | {"to_size"} == {"vkey", "from_size", "to_size", "status"}
             and isinstance(item["vkey"], str) and item["status"] in STATUSES, bad, "malformed key")
        sizes = [item[key] for key in ("from_size", "to_size") if key in item]
        need(all(type(size) is int and size >= 0 for size in sizes), bad, "malformed size")
        need(sizes == sorted(sizes), bad, "from_size is above to_size")
        need(len(sizes) == 2 or item["status"] != "retired", bad, "a retired key without to_size")
        name, _, rest = item["vkey"].partition("+")
        hex_id, _, encoded = rest.partition("+")
        check_name(name, bad)
        key = from_base64(encoded, bad)
        need(len(key) == 33 and key[0] == 1, bad, "a vkey is not an ed25519 key")
        key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        need(key_id.hex() == hex_id, bad, "a key id does not belong to its key")
        need((name, key_id) not in trust, bad, "a key occurs twice")
        trust[name, key_id] = (key[1:], sizes[0], sizes[1] if len(sizes) == 2 else None, item["status"])
    return trust


def check_signatures(body, signatures, origin, size, trust):
    """The id of a pinned key of the origin that counts; every pinned key's signature must be good."""
    known = any(name == origin for name, _ in trust)
    counted, refusals = None, {"unknown_key" if known else "unknown_origin"}
    for name, key_id, signature in signatures if known else ():
        if (name, key_id) not in trust:
            continue  # unknown signatures are legal: witnesses, rotation
        public, low, high, status = trust[name, key_id]
        need(ed25519_verify(public, body.encode(), signature), "signature_bad",
             "the signature is not that of the pinned key")
        if name != origin:
            continue
        if status == "revoked":
            refusals.add("key_revoked")
        elif size < low or (high is not None and size > high):
            refusals.add("key_out_of_range")
        else:
            counted = counted or key_id
    if counted is None:
        code = next(code for code in WHY_NO_KEY if code in refusals)
        raise Refused(code, WHY_NO_KEY[code])
    return counted


WHY_NO_KEY = {
    "key_revoked": "the key that signed is revoked",
    "key_out_of_range": "the key that signed is not pinned for this tree size",
    "unknown_origin": "no key is pinned for the log",
    "unknown_key": "no pinned key of the log signed the checkpoint",
}


# ---- The receipt as a whole


def check_entry(entry, origin):
    bad = "entry_malformed"
    try:
        statement = json_strict(entry, ENTRY_MAX, 64)
    except ValueError as error:
        raise Refused(bad, "not strict json: %s" % error) from None
    need(canonical(statement) == entry, "not_canonical", "the entry is not canonical json")
    need(isinstance(statement, dict) and set(statement) == {"_type", "subject", "predicateType", "predicate"}
         and statement["_type"] == "https://in-toto.io/Statement/v1"
         and isinstance(statement["subject"], list), bad, "not an in-toto statement")
    need(statement["predicateType"] == "urn:placet:event:1", bad, "not a placet event")
    event = statement["predicate"]
    need(isinstance(event, dict) and type(event.get("v")) is int and event["v"] == 1
         and isinstance(event.get("workspace"), str), bad, "not an event of version 1")
    parts = origin.split("/")
    need(len(parts) == 3 and parts[0] == "placet" and all(parts) and parts[2] == event["workspace"],
         "workspace_mismatch", "the entry belongs to another workspace than the log")
    return statement


def verify(receipt, trust):
    """-> what was proven, as a dict; Refused otherwise."""
    entry, index, path, body, signatures, origin, size, root = parse_receipt(receipt)
    key_id = check_signatures(body, signatures, origin, size, trust)
    need(root_from_path(entry, index, size, path) == root, "inclusion_bad",
         "the entry is not in the signed tree at this index")
    statement = check_entry(entry, origin)
    return {"origin": origin, "index": index, "size": size, "root": root.hex(),
            "key_id": key_id.hex(), "statement": statement}


def outcome_of(event):
    """What an entry says about executing: a decision its outcome, the collected permit of an approved
    hold PERMIT, everything else nothing that could be executed."""
    if event.get("type") == "permit.collected":
        return "PERMIT"
    data = event.get("data")
    return data.get("outcome") if event.get("type") == "decision" and isinstance(data, dict) else None


def check_digest(statement, digest, salt):
    """The first subject commits to the action digest: HMAC-SHA-256(salt, its 32 bytes)."""
    try:
        held = statement["subject"][0]["digest"]["placetCommitment"]
    except (LookupError, TypeError):
        raise Refused("digest_mismatch", "the entry commits to no digest") from None
    made = hmac.new(salt, digest, hashlib.sha256).hexdigest()
    need(made == held, "digest_mismatch", "the entry does not commit to this digest under this salt")


def judge(receipt, trust, expect=None, digest=None, salt=None):
    """All that the command line asks: verify, then the outcome and the digest if they are asked for."""
    proven = verify(receipt, parse_trust(trust))
    if expect:
        need(outcome_of(proven["statement"]["predicate"]) == expect, "outcome_mismatch",
             "the outcome is not %s" % expect)
    if digest:
        check_digest(proven["statement"], digest, salt)
    return proven


def self_test():
    """RFC 8032 section 7.1, tests 1 to 3, each also with one bit altered."""
    vectors = [
        ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"),
        ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"),
        ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"),
    ]
    for public, message, signature in [tuple(map(bytes.fromhex, vector)) for vector in vectors]:
        s = int.from_bytes(signature[32:], "little")
        again = signature[:32] + (s + L).to_bytes(32, "little")  # the same scalar, written otherwise
        flipped = bytes([signature[0] ^ 1]) + signature[1:]
        assert ed25519_verify(public, message, signature)
        assert not ed25519_verify(public, message + b"x", signature)
        assert not ed25519_verify(public, message, flipped)
        assert not ed25519_verify(public, message, again)
        assert not ed25519_verify(point_encode(IDENTITY), message, signature)
    # Nobody can sign under these two: y above the field's prime, y of no point of the curve.
    assert point_decode((P + 3).to_bytes(32, "little")) is None
    assert point_decode((2).to_bytes(32, "little")) is None
    print("self-test: ok")


def hex_bytes(prefix):
    def parse(text):
        if not re.fullmatch(prefix + "[0-9a-f]{64}", text):
            raise argparse.ArgumentTypeError("expected %s64 lower-case hex digits" % prefix)
        return bytes.fromhex(text[len(prefix):])

    return parse


def main():
    parser = argparse.ArgumentParser(description="Verify a Placet receipt offline.")
    parser.add_argument("receipt", nargs="?")
    parser.add_argument("--trust", help="trust file with the pinned keys")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--expect", choices=OUTCOMES, help="refuse any other outcome")
    parser.add_argument("--digest", type=hex_bytes("sha256:"),
                        help="action digest to compare with the entry's commitment")
    parser.add_argument("--salt", type=hex_bytes(""), help="salt of that commitment, in hex")
    parser.add_argument("--self-test", action="store_true", help="run the RFC 8032 vectors")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    if not args.receipt or not args.trust or bool(args.digest) != bool(args.salt):
        parser.error("RECEIPT and --trust are required; --digest and --salt go together")
    try:
        with open(args.receipt, "rb") as file:
            receipt = file.read(RECEIPT_MAX + 1)
        with open(args.trust, "rb") as file:
            trust = file.read(TRUST_MAX + 1)
    except OSError as error:
        parser.error(str(error))
    try:
        proven = judge(receipt, trust, args.expect, args.digest, args.salt)
    except Refused as refused:
        if args.json:
            print(json.dumps({"verified": False, "code": refused.code, "why": refused.why}))
        else:
            print("refused: %s: %s" % (refused.code, refused.why))
        return 1
    if args.json:
        print(json.dumps(dict(verified=True, code="verified", **proven)))
        return 0
    print("verified")
    event = proven["statement"]["predicate"]
    data = event["data"] if isinstance(event.get("data"), dict) else {}
    shown = [(key, proven[key]) for key in ("origin", "index", "size", "root", "key_id")]
    shown += [(key, event[key]) for key in ("type", "time_ms") if key in event]
    shown += [(key, data[key]) for key in ("decision", "outcome", "rules", "policy") if key in data]
    for key, value in shown:  # as JSON, so that an entry cannot send escape sequences to a terminal
        print("  %-9s %s" % (key, json.dumps(value)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
