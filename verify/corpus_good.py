"""Receipts that must be accepted."""
import hashlib
import hmac
import json
from corpus_kit import b64, canonical, pin, trust, line, Tree, Receipt, raw, entry_of


def good_trees(c):
    """Real logs at many sizes; the tree by the recursive definition, not by the path."""
    leaves = [c.entry(*event) for event in list(c.events())[:1]]
    leaves += [c.entry(data=c.decision(outcome)) for outcome in
               (c.random.choice(("PERMIT", "DENY", "SILENCE")) for _ in range(259))]
    tree = Tree(leaves)
    for size in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 260):
        body = "%s\n%d\n%s\n" % (c.origin, size, b64(tree.root(0, size)))
        signature = line(c.origin, c.key, raw(body))
        chosen = {0, size - 1, size // 2, c.random.randrange(size), c.random.randrange(size)}
        for index in sorted(chosen):
            c.good("tree of %d, leaf %d" % (size, index),
                   Receipt(leaves[index], index, tree.path(index, 0, size), body, [signature]))
    top = 2**64 - 1
    for size in (1000, 2**20, 2**20 + 1, 2**31 - 1, 2**32, 2**32 + 1, 2**40 + 12345, 2**53 - 1, 2**53, 2**53 + 1,
                 2**62, 2**63 - 1, 2**63, 2**63 + 1, top - 1, top, 0xAAAAAAAAAAAAAAAA, 12345678901234567890):
        for index in {0, size - 1, size // 2, c.random.randrange(size)}:
            c.good("sparse tree of %d, leaf %d" % (size, index), c.receipt(index=index, size=size))


def good_entries(c):
    for round_ in range(2):
        for number, (event, data) in enumerate(c.events()):
            flags = [{}, {"dev": True}, {"solo": True}, {"dev": True, "solo": True}][(number + round_) % 4]
            c.good("event %s %d.%d" % (event, number, round_), c.receipt(c.entry(event, data, **flags)))
    for name, constraints in constraint_forms(c):
        c.good("entry with " + name, c.receipt(c.entry(data=c.decision(constraints=constraints))))
    for text in ("\u00e9", "\u20ac", "\U0001f600", "a\"b\\c/d", "\b\t\n\f\r", "\0\x01\x1f\x7f", "\u2028\u2029\u0085"):
        c.good("topic %r" % text, c.receipt(c.entry(data=c.decision(topic=text, trace=text * 3), name=text)))
    c.good("entry of 16384 bytes", c.receipt(entry_of(c, 16384)))
    c.good("entry of 16383 bytes", c.receipt(entry_of(c, 16383)))


def constraint_forms(c):
    deep = 1
    for _ in range(60):
        deep = [deep]
    yield "keys in the order of utf-16", {"\ue000": 1, "\U0001f600": 2, "\ud7ff": 3, "\uffff": 4, "z": 5}
    yield "keys in the order of utf-16, longer", {"a\U0001f600b": 1, "a\uff00": 2, "a": 3, "": 4, "a\U00010000": 5}
    yield "keys that need escapes", {"\"": 1, "\\": 2, "\n": 3, "\x01": 4, "!": 5, "\x7f": 6, "#": 7, "]": 8}
    yield "the largest integers", {"a": 2**53, "b": -(2**53), "c": 0, "d": -1, "e": 10**15, "f": 999999999999999}
    yield "all types", {"a": None, "b": True, "c": False, "d": [], "e": {}, "f": "", "g": [{}, [], "", 0]}
    yield "depth 64", {"d": deep}
    yield "equal keys in different objects", {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}
    yield "keys that are prefixes", {"a": 1, "aa": 2, "aaa": 3, "ab": 4, "a b": 5, "A": 6, "a\0": 7}
    yield "utf-8 of each length", {"k": "\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"}


def good_signatures(c):
    base = c.receipt()
    own = base.lines[0]
    unknown = ["\u2014 %s %s" % (name, b64(c.bytes(length))) for name, length in
               (("w.example/1", 68), ("w.example/2", 76), ("x", 5), ("y", 2424), (c.origin, 68), ("\u00fc\u4e2d", 68),
                ("a/b-c_d.e~f:g", 40), ("\u200b", 6), (c.origin + "x", 68), ("\x7f", 7))]
    for number, other in enumerate(unknown):
        c.good("unknown signature after, %d" % number, base.but(lines=[own, other]))
        c.good("unknown signature before, %d" % number, base.but(lines=[other, own]))
    c.good("64 signatures", base.but(lines=unknown * 6 + unknown[:3] + [own]))
    c.good("its own signature twice", base.but(lines=[own, own]))
    c.good("unknown signatures around", base.but(lines=unknown[:4] + [own] + unknown[4:]))
    room = 512 * 1024 - len(raw(base.text())) - len(raw("\u2014 big \n"))
    text = b64(bytes(room // 4 * 3))
    padding = "\u2014 big%s %s" % ("g" * (room - len(text)), text)
    c.good("receipt of 512 KiB", base.but(lines=[own, padding]))
    for number, further in enumerate((["x"], ["a", "b", "c"], ["\u2014 not a signature"], ["timestamp 1795219199999"],
                                      [" "], ["\u00e9\U0001f600"], ["extra AAAA", "index 5"], ["x" * 4000])):
        c.good("extension lines %d" % number, c.receipt(further=further))


def good_trusts(c):
    old, new, origin = c.old_key, c.new_key, c.origin
    rotation = trust(pin(origin, old, 0, 100, "retired"), pin(origin, new, 90))
    for size, signers in ((1, [old]), (50, [old]), (89, [old]), (90, [old]), (90, [new]), (95, [old, new]),
                          (95, [new, old]), (100, [old]), (100, [new]), (101, [new]), (101, [old, new]),
                          (50, [old, new]), (2**53 + 1, [new])):
        names = "+".join("old" if key is old else "new" for key in signers)
        receipt = c.receipt(index=size - 1, size=size, signers=[(origin, key) for key in signers])
        c.good("rotation: size %d by %s" % (size, names), receipt, rotation)
    both = c.receipt(signers=[(origin, old), (origin, c.key)])
    c.good("a revoked key beside one that counts", both,
           trust(pin(origin, old, status="revoked"), pin(origin, c.key)))
    c.good("a key out of range beside one that counts", both, trust(pin(origin, old, 14), pin(origin, c.key)))
    c.good("an unpinned key beside one that counts", both)
    c.good("a retired key in its range", c.receipt(), trust(pin(origin, c.key, 13, 13, "retired")))
    c.good("an active key with a to_size", c.receipt(), trust(pin(origin, c.key, 0, 13)))
    c.good("a witness that is pinned too", c.receipt(signers=[(origin, c.key), (c.witness, c.witness_key)]),
           trust(pin(origin, c.key), pin(c.witness, c.witness_key)))
    c.good("a revoked witness beside the log", c.receipt(signers=[(c.witness, c.witness_key), (origin, c.key)]),
           trust(pin(origin, c.key), pin(c.witness, c.witness_key, status="revoked")))
    c.good("the same key pinned for two logs", c.receipt(),
           trust(pin(c.other_origin, c.key, status="revoked"), pin(origin, c.key)))
    c.good("many pinned keys", c.receipt(),
           trust(*[pin("placet/x/%d" % n, c.other_key) for n in range(20)], pin(origin, c.key)))
    c.good("the largest range", c.receipt(), trust(pin(origin, c.key, 0, 2**53)))
    document = json.loads(c.trust)
    texts = {"indented": json.dumps(document, indent=4), "with tabs and line ends": json.dumps(document, indent="\t")
             .replace("\n", "\r\n"), "with space around": " \n\t\r" + c.trust.decode() + "\n\n"}
    plain = c.trust.decode()
    texts.update({
        "version 1.0": plain.replace('"v":1', '"v":1.0'), "version 1e0": plain.replace('"v":1', '"v":1e0'),
        "version 10e-1": plain.replace('"v":1', '"v":10E-1'), "from_size -0": plain.replace(":0,", ":-0,"),
        "from_size 0e5": plain.replace(":0,", ":0e5,"), "from_size 1.2e1": plain.replace(":0,", ":1.2e+1,"),
        "from_size 0.0": plain.replace(":0,", ":0.0e-7,"),
        "from_size 0 with a vast exponent": plain.replace(":0,", ":0e9223372036854775807,"),
        "from_size 0 with a vaster exponent": plain.replace(":0,", ":0.0e-99999999999999999999,"),
        "other order": json.dumps({"keys": [dict(reversed(document["keys"][0].items()))], "v": 1}),
        "escaped key": plain.replace('"status"', '"\\u0073tatus"'),
        "escaped slashes": plain.replace("/", "\\/"),
        "escaped everything": plain.replace("placet", "\\u0070\\u006C\\u0061\\u0063\\u0065\\u0074")})
    for name, text in texts.items():
        c.good("trust file " + name, c.receipt(), text.encode())
    for workspace in ("a", "0", "x-1", "b" * 63):
        origin = "placet/\u00fc\"\\%s/%s" % (c.bytes(4).hex(), workspace)
        c.good("workspace " + workspace, c.receipt(c.entry(workspace=workspace), origin=origin),
               trust(pin(origin, c.key)))


def good_questions(c):
    for outcome in ("PERMIT", "REQUIRE_APPROVAL", "THROTTLE", "DENY", "SILENCE"):
        c.good("expected " + outcome, c.receipt(c.entry(data=c.decision(outcome))), args=["--expect", outcome])
    data = dict(c.events())["permit.collected"]
    c.good("expected PERMIT, collected", c.receipt(c.entry("permit.collected", data)), args=["--expect", "PERMIT"])
    for number in range(3):
        digest, salt = c.bytes(32), c.bytes(32)
        entry = c.entry(commitment=hmac.new(salt, digest, hashlib.sha256).hexdigest())
        args = ["--digest", "sha256:" + digest.hex(), "--salt", salt.hex()]
        c.good("digest %d" % number, c.receipt(entry), args=args + ["--expect", "PERMIT"] * (number % 2))


PARTS = [good_trees, good_entries, good_signatures, good_trusts, good_questions]
