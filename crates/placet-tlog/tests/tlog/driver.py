"""Runs the corpus through placet_verify.py."""
import contextlib, glob, io, os, sys
script, folder = sys.argv[1:]
source = open(script, encoding="utf-8").read()
corpus = []
for path in sorted(glob.glob(os.path.join(folder, "*.receipt"))):
    parts = [open(path[:-7] + kind, "rb").read() for kind in ("receipt", "trust", "expected")]
    corpus.append((os.path.basename(path)[:-8], parts[0], parts[1], parts[2].decode()))

def load(text):
    module = {"__name__": "verifier"}
    exec(compile(text, script, "exec"), module)
    return module

def differences(module):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            module["self_test"]()
    except AssertionError:
        yield "the self-test fails"
    for name, receipt, trust, expected in corpus:
        try:
            module["verify"](receipt, module["parse_trust"](trust))
            got = "verified"
        except module["Refused"] as refused:
            got = refused.code
        except Exception as error:
            got = "crash: %r" % error
        if got != expected:
            yield "%s: want %s, got %s" % (name, expected, got)

for line in differences(load(source)):
    print(line)
