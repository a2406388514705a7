"""Receipts altered in form, base64, place in the tree, signature or key: one alteration each."""
import base64
from corpus_kit import (
    add, times, encode, challenge, Key, SmallKey, torsion_points, b64, sha, canonical, key_id, vkey,
    pin, trust, line, sides, climb, Tree, Receipt, raw, byte_text, BASE, P, L
)


def bad_form(c):
    base = c.receipt()
    malformed = "receipt_malformed"
    room = 512 * 1024 - len(raw(base.text())) - len(raw("\u2014 big \n"))
    text = b64(bytes(room // 4 * 3))
    c.bad("receipt above 512 KiB", malformed, base.but(
        lines=base.lines + ["\u2014 bigg%s %s" % ("g" * (room - len(text)), text)]))
    c.bad("empty receipt", malformed, b"\n")
    for header in ("c2sp.org/tlog-proof@v2", "c2sp.org/tlog-proof@v1 ", "c2sp.org/tlog-proof@v1x", "C2SP.org/tlog-proof@v1",
                   "", " c2sp.org/tlog-proof@v1", "\ufeffc2sp.org/tlog-proof@v1"):
        c.bad("first line %r" % header, malformed, base.but(header=header))
    encoded = base.entry[6:]
    for name, entry in (("extra missing", base.path[0]), ("Extra", "Extra " + encoded), ("extra_", "extra_" + encoded),
                        ("extra:", "extra:" + encoded), ("an empty line", "")):
        c.bad("entry line: " + name, malformed, base.but(entry=entry))
    c.bad("entry line doubled", malformed, base.but(entry=base.entry + "\n" + base.entry))
    c.bad("entry line and index line swapped", malformed, base.but(entry=base.index, index=base.entry))
    for name, index in (("missing", base.path[0]), ("Index", "Index 5"), ("indexx", "index\u00a05"), ("index=", "index=5")):
        c.bad("index line: " + name, malformed, base.but(index=index))
    numbers = {"+5": malformed, "-5": malformed, "": malformed, " 5": malformed, "5 ": malformed, "0x5": malformed,
               "5_0": malformed, "\u0665": malformed, "\uff15": malformed, "5.0": malformed, "5e0": malformed,
               "05": "not_canonical", "00005": "not_canonical", "000000000000000000000005": "not_canonical",
               "18446744073709551616": malformed, "99999999999999999999": malformed, "1" + "0" * 5000: malformed,
               "18446744073709551621": malformed, "36893488147419103237": malformed}
    for number, code in numbers.items():
        c.bad("index spelt %.30r" % number, code, base.but(index="index " + number))
        index, size = (50, 60) if number == "5_0" else (4, 5)
        entry, path = c.entry(), None
        path = [c.bytes(32) for _ in sides(index, size)]
        if number == "5_0":
            c.bad("index spelt 5_0 at leaf 50", malformed,
                  c.receipt(entry, index, size, path=path).but(index="index 5_0"))
        if number == "18446744073709551616":
            index, size = 7, 2**64
            path = [c.bytes(32) for _ in sides(index, size)]
        body = "%s\n%s\n%s\n" % (c.origin, number, b64(climb(entry, index, size, path)))
        c.bad("size spelt %.30r" % number, code, c.receipt(entry, index, path=path, body=body))
    for byte in (b"\0", b"\t", b"\r", b"\x1b", b"\x1f"):
        text = byte_text(byte)
        c.bad("control character %r in the checkpoint" % text, malformed, c.receipt(further=["x" + text]))
        c.bad("control character %r in an unknown name" % text, malformed,
              base.but(lines=base.lines + ["\u2014 a%sb AAAAAAA=" % text]))
    c.bad("carriage returns", malformed, raw(base.text()).replace(b"\n", b"\r\n"))
    for data in (b"\xff", b"\x80", b"\xc3", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
                 b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
                 b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\x28", b"\xe2\x28\xa1", b"\xf8\x88\x80\x80\x80"):
        c.bad("not utf-8 in the checkpoint: " + data.hex(), malformed, c.receipt(further=[byte_text(b"x" + data + b"x")]))
    c.bad("not utf-8 in an unknown name", malformed, base.but(lines=base.lines + ["\u2014 \udcff AAAAAAA="]))
    c.bad("utf-8 cut off at the end", malformed, raw(base.text())[:-1] + b"\xe2\x80")
    whole = raw(base.text())
    for name, data in (("without its last line end", whole[:-1]), ("with x for its last line end", whole[:-1] + b"x"),
                       ("with an empty line after it", whole + b"\n"), ("with two more line ends", whole + b"\n\n"),
                       ("with text after it", whole + b"x"), ("with a line after it", whole + b"x\n"),
                       ("twice", whole + whole)):
        c.bad("receipt " + name, malformed, data)
    lines = whole.split(b"\n")
    for count in range(1, len(lines) - 1):
        c.bad("receipt cut after line %d" % count, malformed, b"\n".join(lines[:count]) + b"\n")
    for cut in range(40, len(whole) - 1, max(1, len(whole) // 12)):
        c.bad("receipt cut at byte %d" % cut, malformed + " not_canonical", whole[:cut])
    c.bad("no empty line before the signatures", malformed + " not_canonical",
          whole.replace(raw("\n\n\u2014"), raw("\n\u2014")))
    c.bad("no empty line after the path", malformed + " not_canonical", whole.replace(b"\n\n", b"\n", 1))
    c.bad("65 hashes in the path", malformed + " inclusion_bad", base.but(path=(base.path * 20)[:65]))
    # Lines of signatures.
    own = base.lines[0]
    c.bad("no signature", malformed, base.but(lines=[]))
    c.bad("an empty line for a signature", malformed, base.but(lines=[""]))
    c.bad("65 signatures", malformed, base.but(lines=["\u2014 x AAAAAAA="] * 64 + [own]))
    for dash in ("- ", "\u2013 ", "\u2014\u00a0", "\u2014", " \u2014 ", "", "\u2015 ", "--"):
        c.bad("dash %r" % dash, malformed, base.but(lines=[dash + own[2:]]))
    signature = b64(c.bytes(68))
    for name in ("", "a+b", "a\u00a0b", "a\u2028b", "\u3000", "a\u0085b", "\u1680", "\u2003", "\u202f", "\u205f", "+", "\u2029",
                 "\u2000", "\u200a"):
        c.bad("unknown name %r" % name, malformed, base.but(lines=[own, "\u2014 %s %s" % (name, signature)]))
    c.bad("a name with a space", "not_canonical", base.but(lines=[own, "\u2014 a b " + signature]))
    c.bad("a signature without a name", malformed, base.but(lines=[own, "\u2014 " + signature]))
    for length in (0, 1, 3, 4):
        c.bad("unknown signature of %d bytes" % length, malformed, base.but(lines=[own, "\u2014 x " + b64(bytes(length))]))
    # The checkpoint.
    root = base.body.split("\n")[2]
    for name, body in (("of one line", c.origin + "\n"), ("of two lines", "%s\n13\n" % c.origin),
                       ("with an empty extension line", "%s\n13\n%s\n\nx\n" % (c.origin, root)),
                       ("with two empty extension lines", "%s\n13\n%s\n\n\nx\n" % (c.origin, root)),
                       ("without size", "%s\n%s\n" % (c.origin, root)),
                       ("with the size last", "%s\n%s\n13\n" % (c.origin, root)),
                       ("that begins with an empty line", "\n%s\n13\n%s\n" % (c.origin, root))):
        c.bad("checkpoint " + name, malformed + " not_canonical",
              c.receipt(body=body).but(entry=base.entry, path=base.path))
    c.bad("checkpoint without origin", malformed + " unknown_origin", c.receipt(body="\n13\n%s\n" % root, origin="x").but(
        entry=base.entry, path=base.path))


def other_base64(data):
    """Texts that some decoder takes for the same bytes, or once took."""
    text = b64(data)
    if text.endswith("="):
        yield "without padding", text.rstrip("=")
        yield "with too much padding", text + "="
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        body, pads = text.rstrip("="), text.count("=")
        for bits in (1, 2, 3) if pads == 1 else (1, 2, 8, 15):
            yield "with unused bits %d" % bits, body[:-1] + digits[digits.index(body[-1]) | bits] + "=" * pads
        yield "with more after the padding", text + "AAAA"
    else:
        yield "with padding after the end", text + "===="
        yield "with a dot for an A", text.replace("A", ".", 1)
    urlsafe = text.replace("+", "-").replace("/", "_")
    if urlsafe != text:
        yield "in the url alphabet", urlsafe
    yield "with a space in it", text[:4] + " " + text[4:]
    yield "with a space after it", text + " "
    yield "with a space before it", " " + text
    yield "with a foreign character", text[:8] + "." + text[8:]
    yield "with a letter beyond ascii", text[:8] + "\u00e9" + text[8:]
    yield "with padding in the middle", text[:4] + "=" + text[4:]
    yield "cut by one", text.rstrip("=")[:-1]


def bad_base64(c):
    code = "not_canonical"
    statement = c.statement()
    entries = []
    while len(entries) < 3:  # one for each number of padding characters, with + and / in its base64
        statement["subject"][0]["name"] += "?>~\u00fb\u00ff"[len(entries) % 3]
        entry = canonical(statement).encode()
        if len(entry) % 3 == len(entries) and set("+/") & set(b64(entry)):
            entries.append(entry)
    for number, entry in enumerate(entries):
        receipt = c.receipt(entry)
        for name, text in other_base64(entry):
            c.bad("entry %d in base64 %s" % (number, name), code, receipt.but(entry="extra " + text))
    base = c.receipt()
    while "+" not in base.path[1] and "/" not in base.path[1]:
        base = c.receipt()
    node = base64.b64decode(base.path[1])
    for name, text in other_base64(node):
        c.bad("path in base64 " + name, code, base.but(path=[base.path[0], text] + base.path[2:]))
    signature = base.lines[0].split(" ")[2]
    while "+" not in signature and "/" not in signature:
        base = c.receipt()
        signature = base.lines[0].split(" ")[2]
    for name, text in other_base64(base64.b64decode(signature)):
        c.bad("signature in base64 " + name, code, base.but(lines=["\u2014 %s %s" % (c.origin, text)]))
        c.bad("unknown signature in base64 " + name, code, base.but(lines=base.lines + ["\u2014 x " + text]))
    entry = c.entry()
    while True:
        path = [c.bytes(32) for _ in sides(5, 13)]
        root = climb(entry, 5, 13, path)
        if set("+/") & set(b64(root)):
            break
    for name, text in other_base64(root):
        body = "%s\n13\n%s\n" % (c.origin, text)
        c.bad("signed root in base64 " + name, code, c.receipt(entry, path=path, body=body))
    while not set("+/") & set(b64(b"\x01" + c.key.public)):
        c.key = Key(c.bytes(32))
    c.trust = trust(pin(c.origin, c.key))
    receipt = c.receipt()
    for name, text in other_base64(b"\x01" + c.key.public):
        pinned = pin(c.origin, c.key)
        pinned["vkey"] = pinned["vkey"].rpartition("+")[0].rpartition("+")[0]
        pinned["vkey"] = "%s+%s+%s" % (c.origin, key_id(c.origin, c.key.public).hex(), text)
        c.bad("vkey in base64 " + name, "trust_malformed", receipt, trust(pinned))


def bad_inclusion(c):
    code = "inclusion_bad"
    base = c.receipt()
    for index in (0, 1, 4, 6, 7, 8, 11):
        c.bad("index 5 said to be %d" % index, code, base.but(index="index %d" % index))
    for index in (12, 13, 14, 100, 2**32 + 5, 2**53, 2**64 - 1):
        c.bad("index 5 said to be %d, out of the tree" % index, code, base.but(index="index %d" % index))
    c.bad("another entry", code, base.but(entry=c.receipt().entry))
    nodes = [base64.b64decode(text) for text in base.path]
    for number, node in enumerate(nodes):
        for bit in (0, 7, 128, 255):
            flipped = bytearray(node)
            flipped[bit // 8] ^= 1 << bit % 8
            path = base.path[:number] + [b64(bytes(flipped))] + base.path[number + 1 :]
            c.bad("hash %d of the path, bit %d" % (number, bit), code, base.but(path=path))
    c.bad("path reversed", code, base.but(path=base.path[::-1]))
    c.bad("path with two swapped", code, base.but(path=[base.path[1], base.path[0]] + base.path[2:]))
    c.bad("path without its first", code, base.but(path=base.path[1:]))
    c.bad("path without its last", code, base.but(path=base.path[:-1]))
    c.bad("path empty", code, base.but(path=[]))
    c.bad("path with one more", code, base.but(path=base.path + [b64(c.bytes(32))]))
    c.bad("path with one more before", code, base.but(path=[b64(c.bytes(32))] + base.path))
    c.bad("path with its last twice", code, base.but(path=base.path + base.path[-1:]))
    # The root that a verifier without the check of the length would compute.
    entry, longer = c.entry(), [c.bytes(32) for _ in range(5)]
    node = sha(b"\0", entry)
    for sibling, left in zip(longer, [True, False, True, False, False]):
        node = sha(b"\1", sibling, node) if left else sha(b"\1", node, sibling)
    c.bad("path too long, its root signed", code, c.receipt(entry, path=longer, root=node))
    shorter = longer[:2]
    node = sha(b"\1", sha(b"\1", shorter[0], sha(b"\0", entry)), shorter[1])
    c.bad("path too short, its root signed", code, c.receipt(entry, path=shorter, root=node))
    only = c.receipt(entry, index=0, size=1, path=[longer[0]], root=sha(b"\1", longer[0], sha(b"\0", entry)))
    c.bad("a path in a tree of one, its root signed", code, only)
    for index, size in ((4, 4), (2, 2), (8, 8), (1, 1), (5, 4), (13, 13), (2**63, 2**63)):
        c.bad("leaf %d of a tree of %d, its root signed" % (index, size), code, c.receipt(index=index, size=size))
    c.bad("a tree of 0 leaves", code, c.receipt(index=0, size=0))
    c.bad("a tree of 0 leaves, no path", code, c.receipt(index=0, size=0, path=[], root=sha()))
    c.bad("entry as root", code, c.receipt(entry, index=0, size=1, root=sha(entry)))
    for length in (0, 1, 31, 33, 64):
        path = [c.bytes(32) for _ in sides(5, 13)]
        path[1] = c.bytes(length) if length else path[1]
        if length:
            c.bad("a hash of %d bytes in the path, its root signed" % length, "receipt_malformed",
                  c.receipt(entry, path=path))
        body = "%s\n13\n%s\n" % (c.origin, b64(c.bytes(length)))
        c.bad("a signed root of %d bytes" % length, "receipt_malformed", c.receipt(body=body, path=nodes))
    left, right = sha(b"\0", entry), sha(b"\0", c.entry())
    c.bad("an inner node as entry", code, c.receipt(left + right, index=0, size=1, root=sha(b"\1", left, right)))
    # Real logs: truncated, forked, of another workspace.
    leaves = [c.entry() for _ in range(12)]
    tree = Tree(leaves)
    forked = Tree(leaves[:6] + [c.entry() for _ in range(6)])

    def at(log, size, key=c.key, origin=c.origin):
        body = "%s\n%d\n%s\n" % (origin, size, b64(log.root(0, size)))
        return {"body": body, "lines": [line(origin, key, raw(body))]}

    def real(log, index, size, **head):
        head = head or at(log, size)
        return Receipt(log.leaves[index], index, log.path(index, 0, size), head["body"], head["lines"])

    for index, size in ((11, 11), (11, 8), (9, 9), (7, 7)):
        c.bad("truncated log: leaf %d, %d of 12 signed" % (index, size), code, real(tree, index, 12, **at(tree, size)))
    for index, size in ((3, 5), (7, 9), (0, 11)):
        c.bad("leaf %d of 12 under the checkpoint of %d" % (index, size), code, real(tree, index, 12, **at(tree, size)))
    for index in (7, 11):
        c.bad("forked log: leaf %d by a key that is not pinned" % index, "unknown_key",
              real(forked, index, 12, **at(forked, 12, c.fork_key)))
        c.bad("forked log: leaf %d under the signed root" % index, code, real(forked, index, 12, **at(tree, 12)))
        c.bad("forked log: leaf %d, its root under the signature of the log" % index, "signature_bad",
              real(forked, index, 12, **dict(at(forked, 12), lines=at(tree, 12)["lines"])))
        c.bad("forked log: its root under leaf %d of the log" % index, code, real(tree, index, 12, **at(forked, 12)))
    c.bad("forked log: a key with the name of the log's", "unknown_key",
          c.receipt(signers=[(c.origin, c.fork_key)]))
    c.bad("forked log: its key claims the pinned id", "signature_bad",
          c.receipt(signers=[]).but(lines=["\u2014 %s %s" % (c.origin, b64(key_id(c.origin, c.key.public) + c.fork_key.sign(b"x")))]))


def bad_signatures(c):
    base = c.receipt()
    data = base64.b64decode(base.lines[0].split(" ")[2])

    def signed(data, receipt=base, name=c.origin):
        return receipt.but(lines=["\u2014 %s %s" % (name, b64(data))])

    for bit in (0, 9, 18, 31):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        c.bad("bit %d of the key id" % bit, "unknown_key", signed(bytes(flipped)))
    for bit in [32 + 8 * byte + byte % 8 for byte in range(0, 64, 5)] + [32 + 511]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        c.bad("bit %d of the signature" % bit, "signature_bad", signed(bytes(flipped)))
    for name, altered in (("R and s swapped", data[:4] + data[36:] + data[4:36]), ("all zero", data[:4] + bytes(64)),
                          ("all ones", data[:4] + b"\xff" * 64), ("one byte more", data + b"\0"),
                          ("one byte more before", data[:4] + b"\0" + data[4:]), ("one byte less", data[:-1]),
                          ("of one byte", data[:5]), ("R alone", data[:36]), ("of 128 bytes", data + data[4:])):
        c.bad("signature " + name, "signature_bad", signed(altered))
    while True:
        short = c.receipt()
        bytes_ = base64.b64decode(short.lines[0].split(" ")[2])
        if bytes_[-1] == 0:
            break
    c.bad("signature without its last byte, a zero", "signature_bad", signed(bytes_[:-1], short))
    c.bad("signature of another checkpoint", "signature_bad", base.but(lines=c.receipt().lines))
    c.bad("signature of the checkpoint with its empty line", "signature_bad",
          signed(data[:4] + c.key.sign(raw(base.body + "\n"))))
    c.bad("signature of the checkpoint without its line end", "signature_bad",
          signed(data[:4] + c.key.sign(raw(base.body[:-1]))))
    c.bad("name of the signature altered", "unknown_key", signed(data, name=c.origin + "x"))
    c.bad("name of the signature in capitals", "unknown_key", signed(data, name=c.origin.upper()))
    c.bad("a bad signature beside the good one", "signature_bad",
          base.but(lines=base.lines + ["\u2014 %s %s" % (c.origin, b64(data[:4] + bytes(64)))]))
    c.bad("a bad signature before the good one", "signature_bad",
          base.but(lines=["\u2014 %s %s" % (c.origin, b64(data[:4] + bytes(64)))] + base.lines))
    body = base.body.split("\n")
    c.bad("checkpoint: origin altered", "unknown_origin", base.but(body="\n".join([body[0] + "x"] + body[1:])))
    c.bad("checkpoint: size altered", "signature_bad inclusion_bad", base.but(body="\n".join([body[0], "14", body[2], ""])))
    for size in (11, 15, 16):
        c.bad("checkpoint: size %d" % size, "signature_bad inclusion_bad",
              base.but(body="\n".join([body[0], str(size), body[2], ""])))
    c.bad("checkpoint: root altered", "signature_bad", base.but(body="\n".join([body[0], "13", b64(c.bytes(32)), ""])))
    c.bad("checkpoint: extension line added", "signature_bad", base.but(body=base.body + "x\n"))
    extended = c.receipt(further=["a", "b"])
    c.bad("checkpoint: extension line removed", "signature_bad", extended.but(body=extended.body[:-2]))
    c.bad("checkpoint: extension line altered", "signature_bad", extended.but(body=extended.body[:-2] + "c\n"))
    c.bad("checkpoint: space after the origin", "unknown_origin", base.but(body=base.body.replace("\n", " \n", 1)))
    # Ed25519: what a lax implementation accepts.
    torsion = torsion_points()

    def pinned_as(public):
        return trust({"vkey": vkey(c.origin, public), "from_size": 0, "status": "active"})

    s = int.from_bytes(data[36:], "little")
    for factor in (1, 2, 8, 15):
        if s + factor * L < 2**256:
            c.bad("s + %d L" % factor, "signature_bad", signed(data[:36] + (s + factor * L).to_bytes(32, "little")))
    while s + L >= 2**253:
        base = c.receipt()
        data = base64.b64decode(base.lines[0].split(" ")[2])
        s = int.from_bytes(data[36:], "little")
    c.bad("s + L below 2^253", "signature_bad", signed(data[:36] + (s + L).to_bytes(32, "little"), base))
    c.bad("s with its top bit set", "signature_bad", signed(data[:-1] + bytes([data[-1] | 0x80]), base))
    for number, point_ in enumerate(torsion):
        order = [1, 8, 4, 8, 2, 8, 4, 8][number]
        small = SmallKey(encode(point_), order)
        c.bad("key of small order %d, %d" % (order, number), "signature_bad",
              c.receipt(signers=[(c.origin, small)]), pinned_as(small.public))
    top = 1 << 255
    for name, y, order in (("1 with a sign", 1 | top, 1), ("p + 1", P + 1, 1), ("p + 1 with a sign", P + 1 | top, 1),
                           ("p", P, 4), ("p with a sign", P | top, 4), ("p - 1 with a sign", P - 1 | top, 2)):
        small = SmallKey(y.to_bytes(32, "little"), order)
        c.bad("key of small order, y = " + name, "signature_bad",
              c.receipt(signers=[(c.origin, small)]), pinned_as(small.public))
    for name, y in (("on no point", 2), ("on no point, with a sign", 2 | top), ("above p", P + 3), ("2^255 - 1", 2**255 - 1),
                    ("all ones", 2**256 - 1)):
        public = y.to_bytes(32, "little")
        signature = "\u2014 %s %s" % (c.origin, b64(key_id(c.origin, public) + data[4:]))
        c.bad("key with a y " + name, "signature_bad", c.receipt().but(lines=[signature]), pinned_as(public))
    # s*B - k*A is a point of small order: with A = a*B + T, s = k*a and R = -k*T.
    mixed = Key(c.bytes(32), torsion[1])
    for number, point_ in enumerate(torsion):
        nonce, count = encode(point_), 0
        while True:
            receipt = c.receipt(further=["%d" % count], signers=[])
            k = challenge(nonce, mixed.public, raw(receipt.body))
            if encode(times((8 - k) % 8, torsion[1])) == nonce:
                break
            count += 1
        signature = nonce + (k * mixed.scalar % L).to_bytes(32, "little")
        c.bad("R of small order %d" % number, "signature_bad",
              signed(key_id(c.origin, mixed.public) + signature, receipt), pinned_as(mixed.public))
    k = challenge(encode(torsion[0]), c.key.public, raw(base.body))
    c.bad("R the identity, a good key", "signature_bad",
          signed(data[:4] + encode(torsion[0]) + (k * c.key.scalar % L).to_bytes(32, "little"), base))
    nonce = (P + 1).to_bytes(32, "little")
    k = challenge(nonce, c.key.public, raw(base.body))
    c.bad("R the identity as p + 1", "signature_bad",
          signed(data[:4] + nonce + (k * c.key.scalar % L).to_bytes(32, "little"), base))
    nonce = encode(add(times(7, BASE), torsion[3]))  # equal only when both sides are multiplied by eight
    k = challenge(nonce, c.key.public, raw(base.body))
    c.bad("R with a part of small order", "signature_bad",
          signed(data[:4] + nonce + ((7 + k * c.key.scalar) % L).to_bytes(32, "little"), base))


def bad_keys(c):
    """Pinned keys that do not count, or not here."""
    origin, key = c.origin, c.key
    base = c.receipt()
    c.bad("no key is pinned", "unknown_origin", base, trust())
    c.bad("only another log is pinned", "unknown_origin", base, trust(pin(c.other_origin, c.key)))
    c.bad("only another key is pinned", "unknown_key", base, trust(pin(origin, c.other_key)))
    c.bad("only the witness is pinned", "unknown_origin",
          c.receipt(signers=[(origin, key), (c.witness, c.witness_key)]), trust(pin(c.witness, c.witness_key)))
    c.bad("only the pinned witness signed", "unknown_key", c.receipt(signers=[(c.witness, c.witness_key)]),
          trust(pin(origin, key), pin(c.witness, c.witness_key)))
    c.bad("the key of another log signed under its name", "unknown_key",
          c.receipt(signers=[(c.other_origin, c.other_key)]), trust(pin(origin, key), pin(c.other_origin, c.other_key)))
    c.bad("revoked", "key_revoked", base, trust(pin(origin, key, status="revoked")))
    c.bad("revoked, with a range", "key_revoked", base, trust(pin(origin, key, 0, 100, "revoked")))
    c.bad("revoked, out of its range", "key_revoked", base, trust(pin(origin, key, 100, 200, "revoked")))
    c.bad("revoked, beside an unused active key", "key_revoked", base,
          trust(pin(origin, key, status="revoked"), pin(origin, c.new_key)))
    c.bad("below from_size", "key_out_of_range", base, trust(pin(origin, key, 14)))
    c.bad("far below from_size", "key_out_of_range", base, trust(pin(origin, key, 2**53)))
    c.bad("above to_size", "key_out_of_range", base, trust(pin(origin, key, 0, 12)))
    c.bad("retired, above to_size", "key_out_of_range", base, trust(pin(origin, key, 0, 12, "retired")))
    c.bad("above 2^53 with a to_size", "key_out_of_range", c.receipt(index=9, size=2**64 - 1), trust(pin(origin, key, 0, 2**53)))
    c.bad("size of more digits than to_size", "key_out_of_range", c.receipt(index=9, size=100), trust(pin(origin, key, 0, 99)))
    c.bad("size of fewer digits than from_size", "key_out_of_range", c.receipt(index=5, size=9), trust(pin(origin, key, 10)))
    rotation = trust(pin(origin, c.old_key, 0, 100, "retired"), pin(origin, c.new_key, 90))
    for size, signer in ((101, c.old_key), (89, c.new_key), (1, c.new_key), (1000, c.old_key)):
        c.bad("rotation: size %d by the %s key" % (size, "old" if signer is c.old_key else "new"), "key_out_of_range",
              c.receipt(index=size - 1, size=size, signers=[(origin, signer)]), rotation)
    both = c.receipt(signers=[(origin, c.old_key), (origin, key)])
    c.bad("revoked and out of range", "key_revoked", both, trust(pin(origin, c.old_key, 100), pin(origin, key, status="revoked")))
    c.bad("revoked beside one unpinned", "key_revoked", both, trust(pin(origin, c.old_key, status="revoked")))
    witnessed = c.receipt(signers=[(origin, key), (c.witness, c.witness_key)])
    broken = "\u2014 %s %s" % (c.witness, b64(key_id(c.witness, c.witness_key.public) + bytes(64)))
    c.bad("the pinned witness's signature is bad", "signature_bad", witnessed.but(lines=[witnessed.lines[0], broken]),
          trust(pin(origin, key), pin(c.witness, c.witness_key)))
    broken = "\u2014 %s %s" % (origin, b64(key_id(origin, c.old_key.public) + bytes(64)))
    c.bad("the revoked key's signature is bad", "signature_bad", base.but(lines=[base.lines[0], broken]),
          trust(pin(origin, c.old_key, status="revoked"), pin(origin, key)))


PARTS = [bad_base64, bad_form, bad_inclusion, bad_signatures, bad_keys]
