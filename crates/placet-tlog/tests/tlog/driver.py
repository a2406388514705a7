"""Runs the corpus through placet_verify.py: as it is, or with one check after the other off."""
import contextlib, glob, io, os, sys
script, folder, mode = sys.argv[1:]
source = open(script, encoding="utf-8").read()
corpus = []
for path in sorted(glob.glob(os.path.join(folder, "*.receipt"))):
    parts = [open(path[:-7] + kind, "rb").read() for kind in ("receipt", "trust", "expected")]
    corpus.append((os.path.basename(path)[:-8], parts[0], parts[1], parts[2].decode()))

def load(text):
    module = {"__name__": "verifier"}
    exec(compile(text, script, "exec"), module)
    return module

plain, seen = load(source)["ed25519_verify"], {}
def cached(*key):
    if key not in seen:
        seen[key] = plain(*key)
    return seen[key]

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

if mode == "agree":
    for line in differences(load(source)):
        print(line)
    sys.exit()

# Each check in turn is switched off; a case must notice.
start, end = source.index("def from_base64"), source.index("def check_digest")
mutants, at = [], start
while True:
    at = source.find("need(", at)
    if at < 0 or at >= end:
        break
    line = source.count("\n", 0, at) + 1
    mutants.append(("check in line %d" % line, source[:at] + "(lambda *_: None)" + source[at + 4:]))
    at += 5
for old, new in [
    ("if y >= P:", "if False:"),
    ("s >= L", "False"),
    ("small_order(key)", "False"),
    ("small_order(nonce)", "False"),
    ("len(public) != 32 or len(signature) != 64", "False"),
    ("== signature[:32]", "!= b''"),
    ("if len(dict(pairs)) != len(pairs)", "if False"),
    ("len(text) > 17 or abs(int(text)) > 2**53", "False"),
    ("if not float(text).is_integer()", "if False"),
    ("raise ValueError(text)", "return text"),
    ("canonical(value)  # refuses", "pass  # refuses"),
    ("len(data) > size_max", "False"),
    ("depth(value) > depth_max", "False"),
    ('key.encode("utf-16-be")', "key"),
    ("if (name, key_id) not in trust:", "if False:"),
    ("if name != origin:", "if False:"),
    ('if status == "revoked":', "if False:"),
    ("size < low or", ""),
    ("size > high", "False"),
    ("if node & 1 or node == last:", "if node & 1:"),
    ('b"\\x00" + entry', "entry"),
    ('type(top["v"]) is int', "True"),
    ('type(event.get("v")) is int', "True"),
]:
    assert source.count(old) == 1, old
    mutants.append((old, source.replace(old, new)))
for name, text in mutants:
    module = load(text)
    body = text[text.index("P = 2**255"):text.index("# ---- Merkle")]
    if body in source:
        module["ed25519_verify"] = cached
    if next(differences(module), None) is None:
        print("no case needs: " + name)
print("%d mutants" % len(mutants), file=sys.stderr)
