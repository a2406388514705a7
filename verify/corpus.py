#!/usr/bin/env python3
"""Generate receipts that every verifier must accept and altered ones that every verifier must refuse.

    corpus.py DIRECTORY [--seed NUMBER]

Writes DIRECTORY/good, DIRECTORY/bad and DIRECTORY/manifest.json. All of it follows from the seed: keys,
logs, entries. This file signs, hashes and encodes by itself and shares no code with any verifier. Most
alterations are signed by the log's own key, so that only the one check they are meant for can refuse them.
"""
import argparse

import corpus_form
import corpus_good
import corpus_json
from corpus_kit import Corpus


def build(seed):
    corpus = Corpus(seed)
    # Base64 comes first: it settles on a key whose own base64 has another spelling in every alphabet.
    for part in (corpus_form.PARTS[:1] + corpus_good.PARTS + corpus_form.PARTS[1:] + corpus_json.PARTS):
        part(corpus)
    return corpus


def main():
    parser = argparse.ArgumentParser(description="Generate the corpus of good and altered receipts.")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    manifest = build(args.seed).write(args.directory)
    good = sum(case["good"] for case in manifest)
    print("%d good, %d bad in %s" % (good, len(manifest) - good, args.directory))


if __name__ == "__main__":
    main()
