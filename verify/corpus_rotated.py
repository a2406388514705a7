"""Receipts from logs whose signing key has changed: which key counts at which size, and what a revocation leaves.

The log hands over at two entries, of index FIRST and SECOND. A tree of as many entries as stand before a handover
is signed by the key before, every larger one by the key after it. Trees are real here: one entry has a receipt
under each of the keys that ever sealed it.
"""
from corpus_kit import Receipt, Tree, b64, line, pin, raw, trust, vkey

FIRST, SECOND, END = 7, 20, 26


class Log:
    def __init__(self, c):
        self.c, self.keys = c, [c.old_key, c.key, c.new_key]
        leaves = []
        for index in range(END):
            if index in (FIRST, SECOND):
                old = self.keys[index == SECOND]
                leaves.append(c.entry("signer.rotated", rotated(c, old, self.keys[1 + (index == SECOND)], index),
                                      name=c.id("evt")))
            else:
                leaves.append(c.entry())
        self.leaves, self.tree = leaves, Tree(leaves)

    def receipt(self, index, size, *numbers):
        """The entry at an index in the tree of a size, signed by the keys with these numbers."""
        c = self.c
        body = "%s\n%d\n%s\n" % (c.origin, size, b64(self.tree.root(0, size)))
        lines = [line(c.origin, self.keys[number], raw(body)) for number in numbers]
        return Receipt(self.leaves[index], index, self.tree.path(index, 0, size), body, lines)

    def trust(self, *revoked, **last):
        """The trust file that the log gives; the numbers of keys revoked, and last sizes that differ."""
        ranges = [(0, FIRST, "retired"), (FIRST + 1, SECOND, "retired"), (SECOND + 1, None, "active")]
        pins = []
        for number, (low, high, status) in enumerate(ranges):
            if number in revoked:
                status = "revoked"
            high = last.get("key%d" % number, high)
            pins.append(pin(self.c.origin, self.keys[number], low, high, status))
        return trust(*pins)


def rotated(c, old, new, size):
    """What the entry of a handover holds: a note signed by both keys."""
    old_key, new_key = vkey(c.origin, old.public), vkey(c.origin, new.public)
    body = "placet/handover/1\norigin %s\nsize %d\nold %s\nnew %s\n" % (c.origin, size, old_key, new_key)
    note = body + "\n" + "".join(line(c.origin, key, raw(body)) + "\n" for key in (old, new))
    person = "human:" + c.bytes(32).hex()
    return {"by": person, "decision": c.id("dec"), "new": new_key, "note": note, "old": old_key}


def in_force(size):
    return 0 if size <= FIRST else 1 if size <= SECOND else 2


def rotated_logs(c):
    log = Log(c)
    pinned = log.trust()
    for size in (1, FIRST - 1, FIRST, FIRST + 1, FIRST + 2, SECOND - 1, SECOND, SECOND + 1, END):
        for number in range(3):
            name = "rotated log: %d entries by key %d" % (size, number)
            receipt = log.receipt(min(2, size - 1), size, number)
            if number == in_force(size):
                c.good(name, receipt, pinned)
            else:
                c.bad(name, "key_out_of_range", receipt, pinned)
    # The handover itself stands in trees of the new key alone.
    c.good("rotated log: the first handover", log.receipt(FIRST, FIRST + 1, 1), pinned)
    c.good("rotated log: the first handover, by the last key", log.receipt(FIRST, END, 2), pinned)
    c.good("rotated log: the second handover", log.receipt(SECOND, SECOND + 1, 2), pinned)
    c.bad("rotated log: the handover by the key that ceases", "key_out_of_range", log.receipt(FIRST, FIRST + 1, 0), pinned)
    c.bad("rotated log: the handover is no permit", "outcome_mismatch", log.receipt(FIRST, END, 2), pinned,
          ["--expect", "PERMIT"])
    # Several keys under one checkpoint: one that counts is enough, and each has to be good.
    c.good("rotated log: all three keys signed", log.receipt(3, 12, 0, 1, 2), pinned)
    c.bad("rotated log: both keys that do not count signed", "key_out_of_range", log.receipt(3, 12, 0, 2), pinned)
    # Who pinned one key only believes what that key may sign.
    origin = c.origin
    c.good("rotated log: the first key pinned alone", log.receipt(3, 5, 0), trust(pin(origin, c.old_key)))
    c.bad("rotated log: only the first key is pinned", "unknown_key", log.receipt(3, 12, 1), trust(pin(origin, c.old_key)))
    c.bad("rotated log: a pinned key of another log", "unknown_origin", log.receipt(3, 12, 1),
          trust(pin(c.other_origin, c.key)))


def stolen_keys(c):
    log = Log(c)
    # The second key was stolen: nothing that it signed counts, and what the others signed does.
    gone = log.trust(1)
    c.good("stolen key: before it", log.receipt(2, FIRST, 0), gone)
    c.good("stolen key: after it", log.receipt(2, SECOND + 1, 2), gone)
    c.good("stolen key: what it had signed, signed again", log.receipt(12, END, 2), gone)
    for size in (FIRST, FIRST + 1, 15, SECOND, END):
        c.bad("stolen key: %d entries" % size, "key_revoked", log.receipt(2, size, 1), gone)
    # From a size on: what it signed before stays good.
    partly = log.trust(key1=14)
    c.good("stolen key: its last good size", log.receipt(2, 14, 1), partly)
    for size in (15, SECOND, END):
        c.bad("stolen key: %d entries, revoked from 15 on" % size, "key_out_of_range", log.receipt(2, size, 1), partly)
    c.good("stolen key: the next key, revoked from 15 on", log.receipt(2, SECOND + 1, 2), partly)
    c.bad("stolen key: nobody signs between", "key_out_of_range", log.receipt(2, 16, 2), partly)
    # A fork that the thief signs, in a tree larger than his key may sign, and in one that it might.
    fork = c.receipt(index=3, size=SECOND + 5, signers=[(c.origin, log.keys[1])])
    c.bad("stolen key: a fork", "key_out_of_range", fork, log.trust())
    fork = c.receipt(index=3, size=15, signers=[(c.origin, log.keys[1])])
    c.bad("stolen key: a fork of a size that it signed", "key_revoked", fork, gone)
    c.bad("stolen key: a fork from the size on", "key_out_of_range", fork, partly)
    every = log.trust(0, 1)
    c.bad("stolen key: both former keys revoked", "key_revoked", log.receipt(2, 5, 0, 1), every)
    c.good("stolen key: the key in force beside revoked ones", log.receipt(2, END, 0, 1, 2), every)


PARTS = [rotated_logs, stolen_keys]
