"""Altered trust files and entries, wrong answers to questions, single bytes: one alteration each."""
import hashlib
import hmac
import json
from corpus_kit import entry_of, times, encode, challenge, Key, b64, sha, canonical, key_id, vkey, pin, trust, raw, BASE, L


def bad_trust(c):
    code = "trust_malformed"
    base, origin = c.receipt(), c.origin
    good = pin(origin, c.key)
    spare = pin("placet/0/spare", c.other_key)
    plain = c.trust.decode()

    def document(name, text):
        c.bad("trust file " + name, code, base, text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    def whole(name, value):
        document(name, json.dumps(value))

    def key(name, **members):
        altered = {member: value for member, value in dict(spare, **members).items() if value is not Ellipsis}
        whole("key: " + name, {"v": 1, "keys": [good, altered]})

    for name, text in (("empty", ""), ("no json", "x"), ("cut", plain[:-1]), ("with more after it", plain + "x"),
                       ("twice", plain + plain), ("with a comma too many", plain[:-2] + ",]}"), ("with a comment", "//\n" + plain),
                       ("in single quotes", plain.replace('"', "'")), ("with a byte order mark", "\ufeff" + plain),
                       ("with a form feed", "\f" + plain), ("not utf-8", plain.replace("active", "acti\udcffve")),
                       ("with a control character", plain.replace("active", "act\tive")),
                       ("with a lone surrogate", plain.replace("placet/", "placet\\ud800/")),
                       ("with a wrong escape", plain.replace("active", "\\active")),
                       ("with an escape of another letter", plain.replace("active", "\\x0061ctive")),
                       ("with a short escape", plain.replace("active", "\\u61ctive")),
                       ("without a colon", plain.replace('"v":1', '"v" 1')), ("with a bare key", plain.replace('"v"', "v")),
                       ("with its version twice", plain.replace('"v":1', '"v":1,"v":1')),
                       ("with its keys twice", plain[:-1] + ',"keys":[]}'),
                       ("with a duplicate behind an escape", plain.replace('"v":1', '"v":1,"\\u0076":1')),
                       ("with a status twice", plain.replace('"status"', '"status":"revoked","status"')),
                       ("with a from_size twice", plain.replace('"from_size":0', '"from_size":0,"from_size":1')),
                       ("with a word cut short", plain.replace(":0,", ":fals,")),
                       ("with only the first key missing its comma", plain.replace(',"status', '"status'))):
        document(name, text)
    for number in ("01", "+0", ".0", "0.", "0.5", "1e-1", "1.00000000000000001", "1e-400", "0x0", "NaN", "Infinity", "-Infinity",
                   "-1", "1e400", "9007199254740993", "9007199254740994", "18446744073709551615", "1e16", "1e17", "--0", "0e", "0e+",
                   "1e99999999999999999999", "1e-99999999999999999999", "0.11e-9223372036854775807", "-", "1" + "0" * 5000, "4503599627370496.5"):
        document("with from_size %.24s" % number, plain.replace(":0,", ":%s," % number))
    for value in ("[]", "null", "1", '"x"', "{}", '["v","keys"]', '{"v":1}', '{"keys":[]}'):
        document("that is " + value, value)
    for version in (0, 2, -1, True, "1", None, [1], 1.5):
        whole("version %r" % (version,), {"v": version, "keys": [good]})
    whole("with a further member", {"v": 1, "keys": [good], "x": 1})
    for keys in ({}, None, 1, "x", {"vkey": 1}, True):
        whole("keys %r" % (keys,), {"v": 1, "keys": keys})
    for item in (None, 1, "x", [], ["vkey", "from_size", "status"], {}, [good], True):
        whole("with %r for a key" % (item if item != [good] else "a list",), {"v": 1, "keys": [good, item]})
    for member in ("vkey", "from_size", "status"):
        key("without " + member, **{member: Ellipsis})
    key("with a further member", extra=1)
    key("with a misspelt to_size", tosize=5)
    for value in (None, 1, ["x"], {}, True, ""):
        key("vkey %r" % (value,), vkey=value)
    for value in ("Active", "", "unknown", None, 1, ["active"], True, "active ", "activ"):
        key("status %r" % (value,), status=value)
    for value in (-1, True, False, "0", None, [], 0.5):
        key("from_size %r" % (value,), from_size=value)
        key("to_size %r" % (value,), to_size=value)
    key("range reversed", from_size=5, to_size=4)
    key("range reversed, other digits", from_size=10, to_size=9)
    key("retired without to_size", status="retired")
    whole("the key itself retired without to_size", {"v": 1, "keys": [dict(good, status="retired")]})
    whole("a key twice", {"v": 1, "keys": [good, good]})
    whole("a key twice, revoked first", {"v": 1, "keys": [dict(good, status="revoked"), good]})
    whole("a key twice, revoked last", {"v": 1, "keys": [good, dict(good, status="revoked")]})
    public = c.other_key.public
    name, identity, text = spare["vkey"].split("+", 2)
    for label, altered in (("without a name", vkey("", public)), ("with a space in the name", vkey("a b", public)),
                           ("with a no-break space", vkey("a\u00a0b", public)), ("with an ideographic space", vkey("\u3000", public)),
                           ("with a line end", vkey("a\nb", public)), ("with a nul", vkey("a\0b", public)),
                           ("with a next-line character", vkey("a\u0085", public)),
                           ("with a line separator", vkey("a\u2028", public)),
                           ("with a wrong id", "%s+%08x+%s" % (name, int(identity, 16) ^ 1, text)),
                           ("with an id in capitals", None), ("with a short id", "%s+%s+%s" % (name, identity[1:], text)),
                           ("with a long id", "%s+0%s+%s" % (name, identity, text)),
                           ("without an id", "%s++%s" % (name, text)), ("without a key", "%s+%s+" % (name, identity)),
                           ("with another separator", "%s+%s-%s" % (name, identity, text)),
                           ("with a key of 34 bytes", vkey(name, public + b"\0")),
                           ("of two parts", "%s+%s" % (name, identity)), ("of one part", name),
                           ("of four parts", spare["vkey"] + "+"), ("with a plus in front", "+" + spare["vkey"]),
                           ("with the id of another name", "%sx+%s+%s" % (name, identity, text))):
        if altered is None:
            other = next(k for k in (Key(c.bytes(32)) for _ in range(99)) if not key_id(name, k.public).hex().isdigit())
            altered = "%s+%s+%s" % (name, key_id(name, other.public).hex().upper(), b64(b"\x01" + other.public))
        key("vkey " + label, vkey=altered)
    # What a reader that lets half a surrogate pair pass could make of it.
    for label, spelt, read in (("a low one", "\\udc00", "\udc00"), ("a high one", "\\ud800", "\ud800"),
                               ("a high one as U+2400", "\\ud800", "\u2400")):
        altered = dict(spare, vkey="NAME" + vkey("x", public)[1:])
        half = sha(("placet/0/" + read).encode("utf-8", "surrogatepass"), b"\n\1", public)[:4].hex()
        text_ = json.dumps({"v": 1, "keys": [good, altered]}).replace("NAME", "placet/0/" + spelt)
        document("with half a surrogate pair in a name, " + label, text_.replace(key_id("x", public).hex(), half))
    for kind in (b"\x00", b"\x02", b"\x04", b"\x06", b"\xff"):
        signature = "\u2014 %s %s" % (origin, b64(key_id(origin, c.key.public, kind) + c.key.sign(raw(base.body))))
        c.bad("key of type %d" % kind[0], code, base.but(lines=[signature]),
              trust({"vkey": vkey(origin, c.key.public, kind), "from_size": 0, "status": "active"}))
    for label, data in (("one byte more", c.key.public + b"\0"), ("one byte less", c.key.public[:-1]), ("no byte", b"")):
        nonce = encode(times(11, BASE))
        s = (11 + challenge(nonce, data, raw(base.body)) * c.key.scalar) % L
        signature = "\u2014 %s %s" % (origin, b64(key_id(origin, data) + nonce + s.to_bytes(32, "little")))
        c.bad("key with " + label, code, base.but(lines=[signature]),
              trust({"vkey": vkey(origin, data), "from_size": 0, "status": "active"}))
    document("above 1 MiB", plain + " " * (1024 * 1024 + 1 - len(plain)))
    document("nested too deep", plain.replace('"v":1', '"v":' + "[" * 8 + "]" * 8))
    document("nested far too deep", "[" * 200000)
    document("nested too deep, then fine", plain[:-1] + ',"x":' + "[" * 9 + "]" * 9 + "}")


def bad_entries(c):
    """Entries that the log did sign, which makes each the business of one check alone."""
    malformed, other = "entry_malformed", "not_canonical"

    def signed(name, codes, text, **question):
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        c.bad("entry " + name, codes, c.receipt(data), **question)

    statement = c.statement(data=c.decision(constraints={"a": 1, "b": [1, {"c": 2, "d": "\u00e9/\n\x01"}], "e": "xyz", "n": 7}))
    plain = canonical(statement)

    def swap(old, new):
        assert old in plain, old
        return plain.replace(old, new, 1)

    # Not strict JSON.
    for name, text in (
            ("empty", ""), ("of one byte", "x"), ("cut", plain[:-1]), ("with more after it", plain + "x"), ("twice", plain * 2),
            ("with a comma too many", swap('"n":7}', '"n":7,}')), ("with a trailing comma in a list", swap('"\u00e9/\\n\\u0001"}]', '"\u00e9/\\n\\u0001"},]')),
            ("with a byte order mark", "\ufeff" + plain), ("with NaN", swap('"n":7', '"n":NaN')),
            ("with Infinity", swap('"n":7', '"n":Infinity')), ("with -Infinity", swap('"n":7', '"n":-Infinity')),
            ("with True", swap('"n":7', '"n":True')), ("with nul", swap('"n":7', '"n":nul')), ("with nulls", swap('"n":7', '"n":nulls')),
            ("with a raw line end in a string", swap("xyz", "x\nz")), ("with a raw nul in a string", swap("xyz", "x\0z")),
            ("with a raw nul outside", swap('"n":7', '"n":\x007')), ("with a raw control in a string", swap("xyz", "x\x1fz")),
            ("with an unknown escape", swap("xyz", "\\x41")), ("with an escape cut off", swap("xyz", "\\u004")),
            ("with an escape of no hex", swap("xyz", "\\u00g1")), ("with a signed escape", swap("xyz", "\\u+041")),
            ("with a spaced escape", swap("xyz", "\\u 041")), ("with an escape at the end", plain[:-2] + '\\"'),
            ("with a lone high surrogate", swap("xyz", "\\ud800")), ("with a lone low surrogate", swap("xyz", "\\udc00")),
            ("with a high surrogate and a letter", swap("xyz", "\\ud800a")), ("with two high surrogates", swap("xyz", "\\ud800\\ud800")),
            ("with a high surrogate and an escape", swap("xyz", "\\ud800\\u0041")), ("with surrogates in the wrong order", swap("xyz", "\\ude00\\ud83d")),
            ("with a number with a zero before it", swap('"n":7', '"n":07')), ("with a number with a plus", swap('"n":7', '"n":+7')),
            ("with a number cut", swap('"n":7', '"n":7.')), ("with a hex number", swap('"n":7', '"n":0x7')), ("with a minus alone", swap('"n":7', '"n":-')),
            ("with 7.5", swap('"n":7', '"n":7.5')), ("with 7e-1", swap('"n":7', '"n":7e-1')), ("with 1e400", swap('"n":7', '"n":1e400')),
            ("with 1e-400", swap('"n":7', '"n":1e-400')), ("with 1.00000000000000001", swap('"n":7', '"n":1.00000000000000001')),
            ("with 2^53 + 1", swap('"n":7', '"n":9007199254740993')), ("with -2^53 - 1", swap('"n":7', '"n":-9007199254740993')),
            ("with 2^53 + 2", swap('"n":7', '"n":9007199254740994')), ("with 10^16", swap('"n":7', '"n":10000000000000000')),
            ("with 2^64", swap('"n":7', '"n":18446744073709551616')), ("with 10^5000", swap('"n":7', '"n":1' + "0" * 5000)),
            ("with 9e15 and a bit", swap('"n":7', '"n":9007199254740992.5')), ("without a colon", swap('"n":7', '"n"7')),
            ("with a semicolon", swap('"n":7', '"n";7')), ("with a key that is none", swap('"n":7', "n:7")), ("with another quote before a key", swap('"n":7', "'n\":7")),
            ("without a comma in a list", swap("[1,{", "[1{")), ("cut in a string", plain[:-9]),
            ("with a number for a key", swap('"n":7', "1:7")), ("without a comma", swap(',"n":7', '"n":7')), ("without a value", swap('"n":7', '"n":')),
            ("with the wrong bracket", swap("[1,", "[1,]")), ("with a brace for a bracket", plain[:-1] + "]"),
            ("with a comment", swap('"n":7', '"n":/**/7')), ("with single quotes", swap('"n"', "'n'")),
            ("with a vertical tab", swap('"n":7', '"n":\v7')), ("with a no-break space", swap('"n":7', '"n":\u00a07'))):
        signed(name, malformed, text)
    for data in (b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
                 b"\xf0\x80\x80\xaf", b"\xe2\x82", b"\xf0\x9f\x98"):
        signed("not utf-8: " + data.hex(), malformed, plain.encode().replace(b"xyz", data))
        if data in (b"\xff", b"\xc3"):
            signed("not utf-8 in a key: " + data.hex(), malformed, plain.encode().replace(b'"n":7', b'"n' + data + b'":7'))
    signed("not utf-8 outside a string", malformed, plain.encode() + b"\xff")
    # Duplicate keys, at every depth.
    for name, text in (("at the top", plain[:-1] + ',"_type":"https://in-toto.io/Statement/v1"}'),
                       ("at the top, the first the good one", plain[:-1] + ',"subject":[]}'),
                       ("in the predicate", swap('"epoch":3', '"epoch":3,"epoch":3')),
                       ("in the predicate: the workspace", swap('"workspace":"bank"', '"workspace":"bakery","workspace":"bank"')),
                       ("in the data: the outcome", swap('"outcome":"PERMIT"', '"outcome":"DENY","outcome":"PERMIT"')),
                       ("in the data: equal values", swap('"surface":', '"surface":"payments.refund","surface":')),
                       ("in the constraints", swap('"n":7', '"n":7,"n":7')), ("in a list", swap('{"c":2,', '{"c":2,"c":2,')),
                       ("in the subject", swap('"name":', '"name":"x","name":')),
                       ("in the digest", swap('"placetCommitment":', '"placetCommitment":"00","placetCommitment":')),
                       ("behind an escape", swap('"n":7', '"n":7,"\\u006e":7')),
                       ("behind an escape, first", swap('"n":7', '"\\u006e":6,"n":7')),
                       ("of the empty name", swap('"n":7', '"n":7,"":1,"":1')),
                       ("of three", swap('"n":7', '"n":7,"n":8,"n":9')),
                       ("not side by side", swap('"a":1', '"a":1,"aa":1,"a":1'))):
        signed("with duplicate keys " + name, malformed, text)
    # The same value in another spelling.
    name_escape = {"slash": ("\u00e9/", "\u00e9\\/"), "letter": ("xyz", "\\u0078yz"), "accent": ("\u00e9", "\\u00e9"),
                   "line end": ("\\n", "\\u000a"), "control in capitals": ("\\u0001", "\\u0001"), "key": ('"n"', '"\\u006e"')}
    for name, (old, new) in name_escape.items():
        if old != new:
            signed("with an escaped " + name, other, swap(old, new))
    hexed = canonical(c.statement(data=c.decision(trace="\x1f\"\\\u2028\U0001f600")))
    for name, (old, new) in {"control": ("\\u001f", "\\u001F"), "quote": ('\\"', "\\u0022"), "backslash": ("\\\\", "\\u005c"),
                             "separator": ("\u2028", "\\u2028"), "pair": ("\U0001f600", "\\ud83d\\ude00"),
                             "pair in capitals": ("\U0001f600", "\\uD83D\\uDE00")}.items():
        assert old in hexed, name
        signed("with another escape: " + name, other, hexed.replace(old, new, 1))
    dull = canonical(c.statement(data=c.decision(trace="\b\t\n\f\r\x7f")))
    for old, new in (("\\b", "\\u0008"), ("\\t", "\\u0009"), ("\\f", "\\u000c"), ("\\r", "\\u000d"), ("\x7f", "\\u007f")):
        signed("with %r as %s" % (old, new), other, dull.replace(old, new, 1))
    for number in ("7.0", "7e0", "7E0", "70e-1", "0.7e1", "7.00", "0.07e+2", "7000000000000000000000e-21"):
        signed("with 7 as " + number, other, swap('"n":7', '"n":' + number))
    for number in ("-0", "0.0", "0e5", "-0.0", "1e3", "1E3", "1e15", "9007199254740992.0", "-1.0", "1.5e1", "9.007199254740992e15",
                   "0e9223372036854775807"):
        signed("with the number " + number, other, swap('"n":7', '"n":' + number))
    for name, text in (("space after a colon", swap('"n":7', '"n": 7')), ("space before a colon", swap('"n":7', '"n" :7')),
                       ("space after a comma", swap(',"n"', ', "n"')), ("space before a comma", swap(',"n"', ' ,"n"')),
                       ("a line end after it", plain + "\n"), ("a line end before it", "\n" + plain),
                       ("a tab in an object", "{\t" + plain[1:]), ("a return at the end of an object", plain[:-1] + "\r}"),
                       ("space in a list", swap("[1,", "[ 1,")), ("space at the end of a list", swap('"}]', '"} ]')),
                       ("space in an empty list", canonical(c.statement(data=c.decision(rules=[]))).replace("[]", "[ ]")),
                       ("space in an empty object", canonical(c.statement(data=c.decision(constraints={"a": {}}))).replace("{}", "{ }"))):
        signed("with " + name, other, text)
    signed("indented", other, json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False))
    signed("with ascii escapes", other, json.dumps(statement, separators=(",", ":"), sort_keys=True))
    reverse = json.dumps({key: statement[key] for key in sorted(statement, reverse=True)}, separators=(",", ":"), ensure_ascii=False)
    signed("with its keys in another order", other, reverse)
    signed("with two keys swapped in the constraints", other, swap('"a":1,"b":', '"b":').replace(',"e":"xyz"', ',"a":1,"e":"xyz"'))
    signed("with two keys swapped in a list", other, swap('{"c":2,"d":"\u00e9/\\n\\u0001"}', '{"d":"\u00e9/\\n\\u0001","c":2}'))
    for first, second in (("\ue000", "\U0001f600"), ("\uffff", "\U00010000"), ("a\uff00", "a\U0001f600"), ("aa", "a"), ("b", "a"), ("a", ""),
                          ("a", "B"), ("\u00e9", "z"), ("10", "1"), ("2", "10")):
        text = canonical(c.statement(data=c.decision(constraints={"@@": 1})))
        pair = "%s:1,%s:2" % (json.dumps(first, ensure_ascii=False), json.dumps(second, ensure_ascii=False))
        signed("with the keys %r, %r" % (first, second), other, text.replace('"@@":1', pair))
    # Bounds.
    signed("of 16385 bytes", malformed, entry_of(c, 16385))
    signed("of 65535 bytes", malformed, entry_of(c, 65535))
    signed("of 65536 bytes", malformed + " receipt_malformed", entry_of(c, 65536))
    deep = 1
    for _ in range(61):
        deep = [deep]
    signed("of depth 65", malformed, c.entry(data=c.decision(constraints={"d": deep})))
    objects = 1
    for _ in range(61):
        objects = {"a": objects}
    signed("of depth 65 in objects", malformed, c.entry(data=c.decision(constraints={"d": objects})))
    signed("of depth 16000", malformed, "[" * 8000 + "]" * 8000)
    signed("of depth 16000, open", malformed, "[" * 16000)
    # Another shape.
    for name, text in (("a list", "[]"), ("a string", '"x"'), ("null", "null"), ("a number", "1"), ("an empty object", "{}"),
                       ("a list of its keys", '["_type","predicate","predicateType","subject"]')):
        signed("that is " + name, malformed, text)
    for member in statement:
        signed("without " + member, malformed, canonical({key: statement[key] for key in statement if key != member}))
    signed("with a further member", malformed, canonical(dict(statement, x=1)))
    for member, values in {"_type": ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1/", "", 1, None, ["x"]],
                           "predicateType": ["urn:placet:event:2", "urn:placet:event:1x", "URN:placet:event:1", "", 1, None],
                           "subject": [{}, None, "x", 1, {"a": 1}, True],
                           "predicate": [[], None, "x", 1, ["v"], {}]}.items():
        for value in values:
            signed("with %s %s" % (member, json.dumps(value)), malformed, canonical(dict(statement, **{member: value})))
    for value in (0, 2, -1, 10, True, "1", None, [1]):
        predicate = dict(statement["predicate"], v=value)
        signed("of version %s" % json.dumps(value), malformed, canonical(dict(statement, predicate=predicate)))
    for member in ("v", "workspace"):
        predicate = {key: value for key, value in statement["predicate"].items() if key != member}
        signed("whose event has no " + member, malformed, canonical(dict(statement, predicate=predicate)))
    for value in (None, 1, ["bank"], {"bank": 1}, True):
        predicate = dict(statement["predicate"], workspace=value)
        signed("of workspace %s" % json.dumps(value), malformed, canonical(dict(statement, predicate=predicate)))
    # Another workspace than the origin names.
    for value in ("bakery", "Bank", "bank ", "ban", "bankk", "/bank", "x/bank"):
        predicate = dict(statement["predicate"], workspace=value)
        signed("of the workspace %s" % value, "workspace_mismatch", canonical(dict(statement, predicate=predicate)))
    predicate = dict(statement["predicate"], workspace="")
    signed("of the workspace of no name", "workspace_mismatch", canonical(dict(statement, predicate=predicate)))
    for origin, workspace in (("placet/i/bakery", "bank"), ("placet/i/x/bank", "bank"), ("placet/bank", "bank"), ("bank", "bank"),
                              ("Placet/i/bank", "bank"), ("x/i/bank", "bank"), ("placet//bank", "bank"), ("/i/bank", "bank"),
                              ("placet/i/bank/", "bank"), ("placet/i/", ""), ("placet/i//bank", "bank"), ("placet/i/bank/x", "bank"), ("placet/i/b", "bank")):
        entry = canonical(dict(statement, predicate=dict(statement["predicate"], workspace=workspace))).encode()
        c.bad("origin %s, workspace %r" % (origin, workspace), "workspace_mismatch",
              c.receipt(entry, origin=origin), trust(pin(origin, c.key)))


def bad_questions(c):
    outcomes = ("PERMIT", "REQUIRE_APPROVAL", "THROTTLE", "DENY", "SILENCE")
    for said in outcomes:
        for asked in outcomes:
            if said != asked:
                c.bad("said %s, asked for %s" % (said, asked), "outcome_mismatch",
                      c.receipt(c.entry(data=c.decision(said))), args=["--expect", asked])
    events = dict(c.events())
    for event in ("permit.consumed", "permit.expired", "permit.revoked", "genesis", "approval.voted", "outcome.reported"):
        c.bad("expected PERMIT of a %s" % event, "outcome_mismatch", c.receipt(c.entry(event, events[event])),
              args=["--expect", "PERMIT"])
    c.bad("expected DENY of a permit.collected", "outcome_mismatch",
          c.receipt(c.entry("permit.collected", events["permit.collected"])), args=["--expect", "DENY"])
    digest, salt = c.bytes(32), c.bytes(32)
    receipt = c.receipt(c.entry(commitment=hmac.new(salt, digest, hashlib.sha256).hexdigest()))
    flipped = bytes([digest[0] ^ 1]) + digest[1:]
    for name, asked, key in (("another digest", c.bytes(32), salt), ("one bit of the digest", flipped, salt),
                             ("another salt", digest, c.bytes(32)), ("digest and salt swapped", salt, digest)):
        c.bad("asked for " + name, "digest_mismatch", receipt, args=["--digest", "sha256:" + asked.hex(), "--salt", key.hex()])
    c.bad("the digest itself as commitment", "digest_mismatch", c.receipt(c.entry(commitment=digest.hex())),
          args=["--digest", "sha256:" + digest.hex(), "--salt", salt.hex()])
    for name, subject in (("no subject", []), ("a subject without digest", [{"name": "x"}]), ("a subject that is null", [None]),
                          ("a digest that is a string", [{"digest": "x", "name": "x"}]),
                          ("a commitment that is a number", [{"digest": {"placetCommitment": 1}, "name": "x"}])):
        c.bad("asked for a digest of " + name, "digest_mismatch entry_malformed",
              c.receipt(canonical(dict(c.statement(), subject=subject)).encode()),
              args=["--digest", "sha256:" + digest.hex(), "--salt", salt.hex()])


def bad_bytes(c):
    """Single bytes, everywhere in a receipt."""
    base = c.receipt()
    data = raw(base.text())
    step = max(1, len(data) // 24)
    for at in range(c.random.randrange(step), len(data), step):
        for name, byte in (("nul", 0), ("ff", 0xFF), ("return", 13)):
            c.bad("byte %d made %s" % (at, name), "receipt_malformed", data[:at] + bytes([byte]) + data[at + 1 :])
    start, end = data.index(b"extra ") + 6, data.index(b"\nindex")
    for at in sorted(c.random.sample(range(start, end - 4), 24)):
        other = data[at] ^ 1 if bytes([data[at] ^ 1]).isalnum() else ord("A") if data[at] != ord("A") else ord("B")
        c.bad("letter %d of the entry" % (at - start), "inclusion_bad", data[:at] + bytes([other]) + data[at + 1 :])


PARTS = [bad_trust, bad_entries, bad_questions, bad_bytes]
