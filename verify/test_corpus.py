#!/usr/bin/env python3
"""Run the verifiers over a generated corpus, and show that no check of theirs is idle.

    test_corpus.py [--placet PATH] [--quick] [--seed NUMBER] [--keep DIRECTORY]

1. Every good receipt is accepted and every altered one refused with its code, by the Python verifier, by the
   shell verifier and, with --placet, by that binary.
2. The shell verifier says the same over a sample with each awk that is installed: mawk, gawk, busybox, and
   the one of BSD and macOS.
3. Every check of the Python and of the shell verifier is switched off by itself. A check is the only one to
   catch something when an altered receipt is then accepted. What remains is listed: a check may also keep
   the verifier from failing in another way, or, as one part of a check, only choose the code.

--quick gives the shell verifier a sample and leaves out its third part. The exit status is 0 if all holds.
"""
import argparse
import ast
import json
import os
import resource
import shutil
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON, SHELL = os.path.join(HERE, "placet_verify.py"), os.path.join(HERE, "placet_verify.sh")
sys.path.insert(0, HERE)
import corpus  # noqa: E402

WORKERS, SECONDS_MAX = 2, 60
# What `awk` is, by system.
AWKS = {"mawk": ["mawk"], "gawk": ["gawk", "--posix"], "original-awk": ["original-awk"], "busybox": ["busybox", "awk"]}
SAMPLE = 150
# Checks of the shell verifier that OpenSSL repeats, in the versions that the tests have met.
REPEATED = {"the scalar is not below the order of the group", "a signature is not of 64 bytes"}


def bounded():
    """A check that is switched off may let a program eat the machine: one GiB is enough for all."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


class Test:
    def __init__(self, directory, manifest):
        self.directory, self.manifest, self.failures = directory, manifest, 0
        for case in manifest:
            case["bytes"] = [self.read(case[part]) for part in ("receipt", "trust")]

    def read(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def fail(self, text):
        self.failures += 1
        print("FAILED: " + text)

    def expect(self, who, case, got):
        if got != "verified" if case["good"] else got not in case["codes"]:
            wanted = "verified" if case["good"] else " or ".join(case["codes"])
            self.fail("%s: %s (%s): %s, not %s" % (who, case["name"], case["receipt"], got, wanted))

    # ---- The verifiers over the corpus

    def python(self):
        """Also notes for each altered receipt which lines took part in refusing it."""
        module, started = load(ast.parse(source(PYTHON))), time.monotonic()
        for case in self.manifest:
            got, case["lines"] = ask(module, case)
            self.expect("python", case, got)
        self.done("placet_verify.py", self.manifest, started)

    def program(self, who, cases, command, read):
        started, slow = time.monotonic(), []

        def run(case):
            begun = time.monotonic()
            result = self.run(command + [case["receipt"], "--trust", case["trust"]] + case["args"])
            slow.append(time.monotonic() - begun)
            return case, read(*result)

        with ThreadPoolExecutor(WORKERS) as pool:
            for case, (got, why) in pool.map(run, cases):
                case[who] = why
                self.expect(who, case, got)
        slow.sort()
        self.done(who, cases, started, ", median %.0f ms" % (1000 * slow[len(slow) // 2]))

    def awks(self, sample):
        """The shell verifier with each awk that is here, by a directory before all others."""
        found = [name for name in AWKS if shutil.which(name)]
        for name in found:
            front = os.path.join(self.directory, "awk-" + name)
            os.makedirs(front, exist_ok=True)
            with open(os.path.join(front, "awk"), "w") as file:
                file.write('#!/bin/sh\nexec %s "$@"\n' % " ".join([shutil.which(name)] + AWKS[name][1:]))
            os.chmod(file.name, 0o755)
            command = ["env", "PATH=%s:%s" % (front, os.environ["PATH"]), "sh", SHELL]
            self.program("shell with " + name, sample, command, read_shell)
        missing = sorted(set(AWKS) - set(found))
        print("awk: %s%s" % (", ".join(found), "; not here: " + ", ".join(missing) if missing else ""))
        if missing and os.environ.get("PLACET_EVERY_AWK"):
            self.fail("PLACET_EVERY_AWK is set, and there is no " + ", ".join(missing))

    def run(self, command):
        process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=bounded)
        try:
            out, error = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the programs that the shell has started
            process.communicate()
            return None, "", "no end"
        return process.returncode, out.decode("utf-8", "replace"), error.decode("utf-8", "replace")

    def done(self, who, cases, started, more=""):
        good = sum(case["good"] for case in cases)
        print("%s: %d good, %d bad in %.1f s%s" % (who, good, len(cases) - good, time.monotonic() - started, more))

    def usage(self):
        """What is no question gets 2, from both."""
        receipt, trust = self.manifest[0]["receipt"], self.manifest[0]["trust"]
        ask_ = [receipt, "--trust", trust]
        for words in ([], [receipt], ["--trust", trust], ask_ + ["--expect", "permit"], ask_ + ["--expect"],
                      ask_ + ["--unknown"], ask_ + ["--digest", "sha256:" + "0" * 64], ask_ + ["--salt", "0" * 64],
                      ask_ + ["--digest", "0" * 64, "--salt", "0" * 64], ask_ + ["--digest", "sha256:" + "A" * 64, "--salt", "0" * 64],
                      ask_ + ["--digest", "sha256:" + "0" * 64, "--salt", "0" * 63], ["none"] + ask_[1:], [receipt, "--trust", "none"]):
            for command in ([sys.executable, PYTHON], ["sh", SHELL]):
                status, out, _ = self.run(command + words)
                if status != 2 or out:
                    self.fail("%s %s: exit %s, not 2" % (command[-1], " ".join(words), status))

    # ---- Each check of the Python verifier switched off

    def python_checks(self):
        text, started = source(PYTHON), time.monotonic()
        count = len(sites(ast.parse(text)))
        found = {"accepts": [], "crashes": [], "self-test": [], "code": []}
        for number in range(count):
            tree = ast.parse(text)
            site = sites(tree)[number]
            site.switch_off()
            kind = self.python_check(load(tree), site)
            if kind is None or (kind == "code" and site.whole):
                self.fail("python: nothing shows that this is needed: " + site.text)
            else:
                found[kind].append(site.text)
        return self.report("python", found, started)

    def python_check(self, module, site):
        kinds = set()
        for case in self.manifest:
            if case["good"] or not (site.lines & case["lines"] or site.function in case["lines"]):
                continue
            got, _ = ask(module, case)
            if got == "verified":
                return "accepts"
            kinds.add("crashes" if got.startswith("crash") else "same" if got in case["codes"] else "code")
        try:
            with open(os.devnull, "w") as null:
                sys.stdout, kept = null, sys.stdout
                module.self_test()
        except AssertionError:
            kinds.add("self-test")
        finally:
            sys.stdout = kept
        return next((kind for kind in ("crashes", "self-test", "code") if kind in kinds), None)

    # ---- Each check of the shell verifier switched off

    def shell_checks(self):
        text, started = source(SHELL), time.monotonic()
        found = {"accepts": [], "crashes": [], "repeated": [], "code": []}
        path = os.path.join(self.directory, "switched-off.%d.sh")

        def check(numbered):
            number, (why, start, end, replacement) = numbered
            with open(path % number, "w", encoding="utf-8") as file:
                file.write(text[:start] + replacement + text[end:])
            kinds = set()
            cases = [case for case in self.manifest if not case["good"] and case["shell"].startswith(why)]
            cases += [case for case in self.manifest if not case["good"] and ": " + why in case["shell"]]
            random.Random(number).shuffle(cases)
            for case in cases[:150]:
                got, _ = read_shell(*self.run(["sh", path % number, case["receipt"], "--trust", case["trust"]] + case["args"]))
                if got == "verified":
                    return why, "accepts"
                kinds.add("crashes" if got.startswith("crash") else "same" if got in case["codes"] else "code")
                if "no end" in got:
                    break
            if why in REPEATED:
                return why, "repeated"
            return why, next((kind for kind in ("crashes", "code") if kind in kinds), "none of %d" % len(cases))

        with ThreadPoolExecutor(WORKERS) as pool:
            for why, kind in pool.map(check, enumerate(shell_sites(text))):
                if kind in found:
                    found[kind].append(why)
                else:
                    self.fail("shell: nothing shows that this is needed: %s (%s)" % (why, kind))
        return self.report("shell", found, started)

    def report(self, who, found, started):
        words = {"accepts": "let something through", "crashes": "keep it from failing otherwise",
                 "self-test": "shown by --self-test (nobody can sign under such a key)",
                 "repeated": "repeated by OpenSSL", "code": "choose the code"}
        counts = ", ".join("%d %s" % (len(found[kind]), words[kind]) for kind in found)
        print("%s checks, in %.1f s: %s" % (who, time.monotonic() - started, counts))
        for kind in found:
            if kind != "accepts":
                for text in found[kind]:
                    print("  %s: %s" % (kind, text))
        return len(found["accepts"])


def source(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def load(tree):
    module = types.ModuleType("switched")
    exec(compile(ast.fix_missing_locations(tree), "switched", "exec"), module.__dict__)
    return module


def ask(module, case):
    """What the verifier says, and the functions and lines that took part in refusing."""
    words = dict(zip(case["args"][::2], case["args"][1::2]))
    digest, salt = words.get("--digest"), words.get("--salt")
    try:
        module.judge(*case["bytes"], words.get("--expect"), digest and bytes.fromhex(digest[7:]), salt and bytes.fromhex(salt))
        return "verified", set()
    except Exception as error:  # whatever it is: that is the question
        lines, cause = set(), error
        while cause is not None:  # a handler that raises anew took part as well
            trace = cause.__traceback__
            while trace is not None:
                lines |= {trace.tb_lineno, trace.tb_frame.f_code.co_name}
                trace = trace.tb_next
            cause = cause.__context__
        return error.code if isinstance(error, module.Refused) else "crash", lines


# What refuses for these functions is the function that called them.
CALLERS = {"point_decode": "check_signatures", "small_order": "check_signatures", "ed25519_verify": "check_signatures",
           "path_length": "parse_receipt"}


class Site:
    """One condition of one check. `whole` if it is all of the check."""

    def __init__(self, function, node, owner, index, off, whole):
        self.owner, self.index, self.off, self.whole = owner, index, off, whole
        self.function = None if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise) or not isinstance(
            node, (ast.If, ast.Return)) else CALLERS.get(function, function)
        self.lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        self.text = "line %d, %s: %s" % (node.lineno, function, ast.unparse(owner[index]).split("\n")[0])

    def switch_off(self):
        self.owner[self.index] = ast.copy_location(self.off, self.owner[self.index])


def sites(tree):
    found = []

    def condition(function, node, holder, attribute, good):
        """The test of a check: as a whole, and each of its parts. `good` is its value when it holds."""
        test, constant = getattr(holder, attribute), ast.Constant(good)
        joint = ast.And if good else ast.Or
        parts = isinstance(test, ast.BoolOp) and isinstance(test.op, joint)
        box = Box(holder, attribute)
        found.append(Site(function, node, box, 0, constant, True))
        if parts:
            for index in range(len(test.values)):
                found.append(Site(function, node, test.values, index, ast.Constant(good), False))

    def statement(function, body, index):
        found.append(Site(function, body[index], body, index, ast.Pass(), True))

    def walk(function, body, handler=False):
        for index, node in enumerate(body):
            if isinstance(node, ast.If) and refuses(node.body[0]):
                condition(function, node, node, "test", False)
                walk(function, node.orelse)
            elif isinstance(node, ast.Raise):
                if handler:
                    found.append(Site(function, node, body, index, ast.Raise(None, None), True))
                else:
                    statement(function, body, index)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
                if node.value.func.id == "need":
                    condition(function, node, Box(node.value.args, 0), "only", True)
                elif node.value.func.id == "canonical":
                    statement(function, body, index)
            elif function == "ed25519_verify" and isinstance(node, ast.Return):
                condition(function, node, node, "value", True)
            elif isinstance(node, ast.FunctionDef):
                walk(node.name if function == "" else function, node.body)
            elif isinstance(node, ast.Try):
                walk(function, node.body)
                for one in node.handlers:
                    walk(function, one.body, True)
            else:
                for inner in ("body", "orelse"):
                    if isinstance(node, (ast.For, ast.While, ast.If)):
                        walk(function, getattr(node, inner))

    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in ("need", "main", "hex_bytes", "self_test"):
            walk(node.name, node.body)
    return found


class Box:
    """A place in the tree, as a list of one and as an attribute."""

    def __init__(self, holder, key):
        self.holder, self.key = holder, key

    def get(self):
        return self.holder[self.key] if isinstance(self.key, int) else getattr(self.holder, self.key)

    def set(self, node):
        if isinstance(self.key, int):
            self.holder[self.key] = node
        else:
            setattr(self.holder, self.key, node)

    def __getitem__(self, _):
        return self.get()

    def __setitem__(self, _, node):
        self.set(node)

    only = property(get, set)


def refuses(node):
    """Whether a statement under an `if` leads to a refusal."""
    if isinstance(node, ast.Return):
        text = ast.unparse(node)
        return text in ("return None", "return False", "return -1")
    if isinstance(node, ast.Expr):
        return ast.unparse(node).startswith("refusals.add")
    return isinstance(node, (ast.Raise, ast.Continue))


def shell_sites(text):
    """Each check: its message, and what to put where it stands."""
    for found in re.finditer(r"(?:return )?\b(?:refuse|bad_trust|bad_entry|fail)\((?=[^)])", text):
        if "function " in text[text.rfind("\n", 0, found.start()) + 1 : found.start()]:
            continue
        depth, end = 1, found.end()
        while depth:
            quoted = re.compile(r'"(?:\\.|[^"\\])*"').match(text, end)
            if quoted:
                end = quoted.end()
                continue
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        literals = re.findall(r'"((?:\\.|[^"\\])*)"', text[found.start():end])
        skip = 1 if text[found.start():end].startswith("refuse") else 0
        yield literals[-1] if len(literals) > 2 else literals[skip], found.start(), end, "wrong = wrong"
    for found in re.finditer(r'\|\| refuse \w+ "([^"]*)"', text):
        yield found.group(1), found.start(), found.end(), "|| :"


def read_shell(status, out, error):
    refused = re.fullmatch(r"refused: (\w+): ([^\n]*)\n", out)
    if status == 0 and out.startswith("verified\n") and not error:
        return "verified", ""
    if status == 1 and refused and not error:
        return refused.group(1), refused.group(2)
    return "crash: exit %s %s" % (status, error.strip()[:80]), ""


def read_placet(status, out, error):
    try:
        code = json.loads(out)["code"]
    except (ValueError, LookupError):
        return "crash: exit %s %s" % (status, error.strip()[:80]), ""
    return code if status == (code != "verified") else "crash: exit %s" % status, ""


def main():
    parser = argparse.ArgumentParser(description="Run the verifiers over a generated corpus.")
    parser.add_argument("--placet", metavar="PATH", help="also run this binary")
    parser.add_argument("--quick", action="store_true", help="a sample for the shell verifier")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIRECTORY", help="write the corpus here and leave it there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = os.path.abspath(args.keep or scratch)
        test = Test(directory, corpus.build(args.seed).write(directory))
        good = sum(case["good"] for case in test.manifest)
        bad = len(test.manifest) - good
        if min(good, bad) < 300:
            test.fail("the corpus is too small")
        test.python()
        sample = random.Random(args.seed).sample(test.manifest, SAMPLE)
        cases = sample if args.quick else test.manifest
        test.awks(sample)
        test.program("shell", cases, ["sh", SHELL], read_shell)
        if args.placet:
            test.program("placet", test.manifest, [os.path.abspath(args.placet), "verify", "--json"], read_placet)
        test.usage()
        checks = test.python_checks()
        if not args.quick:
            checks += test.shell_checks()
    if test.failures:
        print("verifiers: %d deviations" % test.failures)
        return 1
    print("verifiers: %d good accepted, %d bad refused by %d verifiers, %d checks each the only one to catch something"
          % (good, bad, 3 if args.placet else 2, checks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
