#!/usr/bin/env python3
"""Property tests of the API from its own OpenAPI document, with schemathesis against real servers.

One server in development mode and one with keys. Every operation is called with what the document
describes and with what it rules out. No answer may be a 5xx but 503, bodies must be of the described
type and shape, and every operation must have answered at least once with a 2xx.

    python3 verify/api_properties.py --placet target/ci/placet [--seconds 60] [--seed N]

Needs schemathesis (PyPI) in the interpreter that runs it; `cargo xtask ci` makes one in `target/`.
Within schemathesis the same file is loaded again, as its hooks.
"""

import argparse
import atexit
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve()
BUNDLE = HERE.parent.parent / "examples" / "bank"
# The bank of the examples runs nothing; here anybody may.
EXECUTIONS = """version: v1
rules:
  - { id: runs, match: { surfaces: [execution] }, decision: allow, owner: tests }
"""
CONTEXT = "PLACET_API_CONTEXT"
NONCE = "5f0c2a9b7e1d4c38"
USER = {"type": "user", "id": "alice"}
READ = {"name": "read"}
RECORD = {"type": "record", "id": "record-1"}
# Questions of AuthZEN.
ACCESS = {
    "evaluateAccess": {"subject": USER, "action": READ, "resource": RECORD},
    "evaluateAccesses": {"subject": USER, "action": READ, "evaluations": [{"resource": RECORD}]},
    "searchSubjects": {"subject": {"type": "user"}, "action": READ, "resource": RECORD},
    "searchResources": {"subject": USER, "action": READ, "resource": {"type": "record"}},
    "searchActions": {"subject": USER, "resource": RECORD},
}
# Never ends; it is asked by this script.
STREAMS = {"streamEvents": "/api/v1/events", "streamOverrides": "/api/v1/overrides/stream"}
# In development mode one person is all people, and what they did in an emergency needs no review.
# Rights are handed on from a key or a session.
WITH_KEYS = {"reviewPolicy", "openSession", "closeSession"}
# Where schemathesis reads what there is; it does not test that itself.
DOCUMENT = "getOpenApi"


# Its own: hypothesis sets the common one anew for each example, so that a draw is the same every time.
CHANCE = random.Random()


class Server:
    """A running server, and what valid calls to it need."""

    def __init__(self, url, keys):
        self.url = url
        self.keys = keys
        self.count = random.getrandbits(40)
        self.bundle = None

    def authorization(self, key):
        """In development mode most callers have no key."""
        return {"Authorization": "Bearer " + self.keys[key]} if key in self.keys else {}

    def call(self, method, path, body=None, key="admin"):
        headers = {"content-type": "application/json", **self.authorization(key)}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text[:1] == b"{" else text
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def good(self, method, path, body=None, key="admin"):
        status, document = self.call(method, path, body, key)
        if status >= 300:
            raise SystemExit(f"{method} {path}: status {status}: {document}")
        return document

    def unique(self):
        self.count += 1
        return f"{self.count:x}"

    def lift(self):
        """Nothing is permitted under a tripped kill switch; with keys it takes two people."""
        tripped = self.good("GET", "/api/v1/kill")
        for scope in ("workspace", "everything"):
            if tripped[scope]:
                for key in ("admin", "second"):
                    self.call("POST", "/api/v1/lift", {"scope": scope}, key)
        for stopped in self.good("GET", "/api/v1/overrides")["overrides"]:
            for key in ("admin", "second"):
                self.call("POST", "/api/v1/overrides:lift", {"scope": stopped["scope"]}, key)

    def policy(self):
        """What is in force, what waits for a review, whose signatures count."""
        return self.good("GET", "/api/v1/policies/current")

    def restore(self):
        """Where one person suffices, whatever the test published is replaced by what it began with."""
        if "second" in self.keys:
            return
        current = self.policy()
        # While an author counts, unsigned bundles neither come nor come back.
        for author in current.get("authors") or []:
            self.call("POST", "/api/v1/policies/authors/revoke", {"key": author["key"]})
        if current.get("bundle") != self.bundle:
            self.good("POST", "/api/v1/policies", {"sources": sources()})

    def approved(self, held):
        """The other admin approves what is held, if it is."""
        decision = held.get("decision") if isinstance(held, dict) else None
        if isinstance(decision, dict) and decision.get("approval"):
            path = f"/api/v1/approvals/{decision['approval']['id']}/approve"
            self.call("POST", path, {"action_digest": decision["action_digest"]}, "second")

    def agreed(self, path, body):
        """A call that takes two people where there are two."""
        self.approved(self.call("POST", path, body)[1])
        self.call("POST", path, body)

    def vkey(self, at=0):
        return self.good("GET", "/.well-known/placet-keys")["keys"][at]["vkey"]

    def request(self, name="refund-small", **more):
        body = json.loads((BUNDLE / "requests" / f"{name}.json").read_text())
        body.pop("attempt_nonce", None)
        return {**body, "idempotency_key": self.unique(), **more}

    def decide(self, name="refund-small", **more):
        return self.good("POST", "/api/v1/decisions", self.request(name, **more), "bot")

    def keys_of(self, *actors):
        listed = self.good("GET", "/api/v1/keys")["keys"]
        return [key["id"] for key in listed if not actors or key["actor"] in actors]

    def valid(self, operation):
        """Path, body and key with which `operation` succeeds; what it works on is made first."""
        self.lift()
        self.restore()
        if operation in ("getDecision", "getReceipt"):
            return {"id": self.decide()["id"]}, None, "bot"
        if operation == "consume":
            made = self.decide(audience="service:gate")
            return {"id": made["id"]}, {"attempt_nonce": NONCE}, "gate"
        if operation == "reportOutcome":
            made = self.decide(attempt_nonce=NONCE)
            return {"id": made["id"]}, {"result": "succeeded"}, "bot"
        if operation == "withdraw":
            return {"id": self.decide("refund-large")["id"]}, None, "bot"
        if operation in ("getApproval", "getApprovalStatus", "getGovernanceRequest"):
            return {"id": self.decide("refund-large")["approval"]["id"]}, None, "operator"
        if operation == "submitJob":
            return {}, {"topic": "job.read", "idempotency_key": self.unique()}, "bot"
        if operation == "askApproval":
            return {}, {"run_id": self.unique(), "phase_id": "p", "timeout_seconds": 60}, "bot"
        if operation in ("approve", "reject", "approveAsked", "rejectAsked"):
            held = self.decide("refund-large")
            body = {"action_digest": held["action_digest"], "note": "seen"}
            return {"id": held["approval"]["id"]}, body, "operator"
        if operation == "getTrace":
            trace = self.unique()
            self.decide(trace_id=trace)
            return {"trace_id": trace}, None, "admin"
        if operation == "reportPassage":
            return {}, {"surface": "payments.refund", "action": "create"}, "gate"
        if operation == "decide":
            return {}, self.request(), "bot"
        if operation == "decideBatch":
            return {}, {"requests": [self.request(), self.request("refund-large")]}, "bot"
        if operation in ACCESS:
            # Subjects of records are nobody here; searches find nothing, which is an answer.
            return {}, ACCESS[operation], "pep"
        if operation == "releaseHold":
            body = {"scope": "subject", "subject": self.unique(), "reason": "litigation"}
            return {"id": self.good("POST", "/api/v1/holds", body)["id"]}, None, "admin"
        if operation == "placeHold":
            body = {"scope": "subject", "subject": self.unique(), "reason": "litigation"}
            return {}, body, "admin"
        if operation == "createKey":
            return {}, {"actor": "agent:x", "environment": "production", "roles": []}, "admin"
        if operation == "revokeKey":
            return {"id": CHANCE.choice(self.keys_of("agent:spare"))}, None, "admin"
        if operation == "getSession":
            return {"id": "current"}, None, "admin"
        if operation == "openSession":
            return {}, {"actor": "agent:child", "roles": []}, "bot"
        if operation == "closeSession" and "bot" in self.keys:
            made = self.good("POST", "/api/v1/sessions", {"actor": "agent:child"}, "bot")
            return {"id": made["id"]}, None, "bot"
        if operation == "closeSession":
            # Without keys there are no sessions to close.
            return {"id": "none"}, None, "admin"
        if operation in ("delegate", "endDelegation"):
            until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            role = "refund_approver" if "operator" in self.keys else "operator"
            body = {"to": "human:dana", "roles": [role], "until": until}
            if operation == "delegate":
                return {}, body, "operator"
            made = self.good("POST", "/api/v1/delegations", body, "operator")
            return {"id": made["id"]}, None, "operator"
        if operation in ("openException", "getException", "closeException", "reviewException"):
            body = {"surface": "x." + self.unique(), "actor": "agent:x", "waives": ["floor"], "reason": "drill",
                    "duration": "1m"}
            if operation == "openException":
                return {}, body, "admin"
            self.agreed("/api/v1/exceptions", dict(body, idempotency_key=self.unique()))
            opened = self.good("GET", "/api/v1/exceptions?limit=1")["exceptions"][0]
            path = "/api/v1/exceptions/" + opened["id"]
            if operation == "reviewException":
                self.good("POST", path + "/close", {})
                return {"id": opened["id"]}, {"justified": True, "note": "seen"}, "second"
            return {"id": opened["id"]}, None, "admin"
        if operation in ("addEvidence", "getEvidence", "revokeEvidence"):
            digest = "sha256:" + self.unique().rjust(64, "0")
            body = {"type": "review", "digest": digest, "subject": digest}
            if operation == "addEvidence":
                return {}, body, "bot"
            made = self.good("POST", "/api/v1/evidence", body, "bot")
            reason = {"reason": "case-1"} if operation == "revokeEvidence" else None
            return {"id": made["id"]}, reason, "bot"
        if operation in ("registerRelease", "getRelease"):
            body = {"name": "r" + self.unique(), "subject": "sha256:" + "0" * 64}
            if operation == "registerRelease":
                return {}, body, "bot"
            self.good("POST", "/api/v1/releases", body, "bot")
            return {"name": body["name"]}, None, "bot"
        if operation in ("setAlias", "getAlias"):
            body = {"name": "assistant", "to": "model:small-1"}
            if operation == "setAlias":
                return {}, body, "bot"
            self.good("POST", "/api/v1/aliases", body, "bot")
            return {"name": "assistant"}, None, "bot"
        if operation in ("trustIssuerKey", "revokeIssuerKey"):
            # A key that was revoked is never trusted again: each has one of its own.
            body = {"issuer": "service:ci", "key": self.vkey(int(operation == "revokeIssuerKey"))}
            if operation == "revokeIssuerKey":
                self.agreed("/api/v1/evidence/keys", dict(body, idempotency_key=self.unique()))
            return {}, body, "admin"
        if operation == "createWorkspace":
            name = "w" + self.unique()
            return {}, {"name": name, "admin": "human:ann"}, "admin"
        if operation == "erase":
            return {}, {"subject": "customer-4711", "dry_run": True}, "admin"
        if operation == "lift":
            self.good("POST", "/api/v1/kill", {"scope": "workspace"})
        if operation in ("getOverride", "acknowledgeOverride"):
            made = self.good("POST", "/api/v1/overrides:drill", {"scope": "workspace"})
            key = "bot" if operation == "acknowledgeOverride" and "bot" in self.keys else "admin"
            body = None if operation == "getOverride" else {"stopped": 1}
            return {"index": str(made["index"])}, body, key
        if operation in ("kill", "lift", "drillOverride"):
            return {}, {"scope": "workspace"}, "admin"
        if operation == "startExecution":
            return {}, {"capability": "crm-writer", "idempotency_key": self.unique()}, "bot"
        if operation in ("getExecution", "endExecution"):
            body = {"capability": "crm-writer", "idempotency_key": self.unique()}
            made = self.good("POST", "/api/v1/executions", body, "bot")
            return {"id": made["id"]}, {"state": "succeeded"} if operation == "endExecution" else None, "bot"
        if operation == "stop":
            return {}, {"scope": "capability:x", "mode": "kill"}, "admin"
        if operation == "liftOverride":
            self.good("POST", "/api/v1/overrides", {"scope": "model:x", "mode": "disable"})
            return {}, {"scope": "model", "value": "x"}, "admin"
        if operation == "publishPolicy":
            return {}, {"sources": sources()}, "admin"
        if operation == "replayDelivery":
            return {"id": self.good("GET", "/api/v1/outbox")["deliveries"][0]["id"]}, None, "admin"
        if operation == "getPolicy":
            return {"digest": self.policy()["bundle"]}, None, "admin"
        if operation == "releasePolicy":
            # What is in force already was released: asking again is answered with it.
            newest = self.good("GET", "/api/v1/policies?limit=1")["policies"][0]
            return {}, {"decision": newest.get("decision", "none")}, "admin"
        if operation == "rollbackPolicy":
            # By name, which takes two people; going back in an emergency is done for reviews.
            listed = self.good("GET", "/api/v1/policies?limit=100")["policies"]
            current = self.policy()["bundle"]
            old = [it for it in listed if it["bundle"] != current and not it["withdrawn"]]
            return {}, {"bundle": old[0]["bundle"] if old else current, "reason": "drill"}, "admin"
        if operation == "withdrawPolicy":
            # The oldest that was published and is neither in force nor the one before.
            listed = self.good("GET", "/api/v1/policies?limit=100")["policies"]
            old = [it["bundle"] for it in listed if it["how"] == "published"][-1]
            return {"digest": old}, {"reason": "drill"}, "admin"
        if operation == "reviewPolicy":
            if not self.policy().get("reviews"):
                self.call("POST", "/api/v1/policies/rollback", {"reason": "drill"})
            due = self.policy().get("reviews") or [{"decision": "none"}]
            return {"decision": due[0]["decision"]}, {"note": "seen"}, "second"
        if operation == "trustAuthor":
            return {}, {"key": self.vkey()}, "admin"
        if operation == "revokeAuthor":
            # One that counts, and gone in the end: while one does, unsigned bundles do not come back.
            key = self.vkey()
            self.agreed("/api/v1/policies/authors", {"key": key, "idempotency_key": self.unique()})
            body = {"key": key, "idempotency_key": self.unique()}
            if "second" in self.keys:
                self.approved(self.call("POST", "/api/v1/policies/authors/revoke", body)[1])
            return {}, body, "admin"
        if operation == "clearShadow":
            bundle = {"type": "placet/bundle/1", "rules": []}
            self.call("POST", "/api/v1/policies/shadow", {"bundle": bundle})
        if operation == "revokeSigner":
            # A former key: one admin alone has rotated before there were two.
            listed = self.good("GET", "/.well-known/placet-keys")["keys"]
            listed = [key for key in listed if "/default+" in key["vkey"]]
            former = [key for key in listed if key.get("to_size") is not None]
            return {}, {"vkey": former[0]["vkey"]}, "admin"
        if operation == "getPublished":
            return {"workspace": "default"}, None, "admin"
        if operation == "getTile":
            return {"workspace": "default", "tile": "entries/000.p/1"}, None, "admin"
        if operation == "getConsistency":
            return {"workspace": "default", "old": "0", "new": "1"}, None, "admin"
        return {}, None, "admin"


def sources(more=None):
    """The documents of the bundle that the server began with, and perhaps one more."""
    found = [{"name": path.name, "text": path.read_text()} for path in sorted(BUNDLE.glob("*.yaml"))]
    found.append({"name": "executions.yaml", "text": EXECUTIONS})
    rule = "{ id: releases, match: { surfaces: [release.register, alias.change] }, decision: allow }"
    found.append({"name": "releases.yaml", "text": f"version: v1\nrules: [{rule}]\n"})
    if more is not None:
        channel = f"{{ id: {more}, kind: webhook, to: 'https://example.com/', secret: none }}"
        told = f"{{ id: {more}, on: [policy.published], channels: [{more}] }}"
        text = f"version: v1\nchannels: [{channel}]\nnotify: [{told}]\n"
        found.append({"name": "more.yaml", "text": text})
    return found


def hooks(context):
    """What happens inside schemathesis."""
    import schemathesis

    server = Server(context["url"], context["keys"])
    server.bundle = context["bundle"]
    CHANCE.seed(context["seed"])
    answered = collections.defaultdict(collections.Counter)
    faults = []
    mine = set(server.keys_of()) - set(server.keys_of("agent:spare"))

    @schemathesis.hook
    def before_call(context, case, kwargs):
        del context, kwargs
        operation = case.operation.definition.raw["operationId"]
        succeeded = any(status < 300 for status in answered[operation])
        # Links lead from the list of keys to revoking them: not the ones that call.
        suicide = operation == "revokeKey" and (case.path_parameters or {}).get("id") in mine
        if suicide or CHANCE.random() < (0.2 if succeeded else 0.7):
            path, body, key = server.valid(operation)
            case.path_parameters = path
            case.query = {}
            case.headers = server.authorization(key)
            if body is not None:
                case.body = body
                case.media_type = "application/json"
        elif CHANCE.random() < 0.9:
            case.headers = {**(case.headers or {}), **server.authorization("admin")}
        # A held decision is waited for as long as asked, which is longer than this test has.
        wait = (case.query or {}).get("wait")
        if isinstance(wait, str | int) and re.fullmatch(r"[0-9]+(ms|s|m|h|d)?", str(wait)):
            case.query["wait"] = "100ms"

    @schemathesis.hook
    def after_call(context, case, response):
        del context
        operation = case.operation.definition.raw["operationId"]
        answered[operation][response.status_code] += 1
        if response.status_code >= 500 and response.status_code != 503:
            text = response.content[:500].decode("utf-8", "replace")
            faults.append(f"{case.as_curl_command()}: {response.status_code} {text}")

    def report():
        document = {"answered": answered, "faults": faults}
        Path(context["report"]).write_text(json.dumps(document))

    atexit.register(report)


def start(binary, home, dev):
    """A server, the lines it began with, and keys for everybody who calls."""
    bundle = home / "bundle"
    bundle.mkdir()
    for source in sources():
        (bundle / source["name"]).write_text(source["text"])
    command = [binary, "up", "--data", str(home / "data"), "--bundle", str(bundle)]
    command += ["--listen", "127.0.0.1:0", "--admission", "1000000", "--public-log"]
    command += ["--dev"] if dev else []
    said = open(home / "stderr", "wb")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    key = None
    for line in child.stdout:
        if line.startswith("admin key: "):
            key = line.removeprefix("admin key: ").strip()
        if "listening on " in line:
            server = Server(line.split("listening on ")[1].strip(), {})
            break
    else:
        raise SystemExit(f"the server does not start: {(home / 'stderr').read_text()}")
    if not dev:
        server.keys = {"admin": key}

    def make(actor, roles):
        body = {"actor": actor, "environment": "production", "roles": roles}
        return server.good("POST", "/api/v1/keys", body)["key"]

    server.good("POST", "/api/v1/signers/rotate", {})
    # Bundles to go back to and to withdraw; in the end the first one is in force again.
    for more in ("x2", "x3", None):
        server.good("POST", "/api/v1/policies", {"sources": sources(more)})
        # A delivery that never leaves, since its channel has no secret.
        for _ in range(400):
            if not more or server.good("GET", "/api/v1/outbox")["deliveries"]:
                break
            time.sleep(0.05)
        else:
            raise SystemExit("nothing is in the outbox")
    for _ in range(20):
        make("agent:spare", [])
    server.keys["gate"] = make("service:gate", [])
    make("human:dana", ["refund_approver"])
    if not dev:
        server.keys["bot"] = make("agent:bot", [])
        server.keys["pep"] = make("service:pep", ["gate"])
        server.keys["operator"] = make("human:otto", ["refund_approver"])
        # From here on there are two admins: what is governed waits for the other one (202).
        server.keys["second"] = make("human:olga", ["admin"])
    return child, server


def stream(server, path):
    """A stream of events, which schemathesis would wait for the end of."""
    headers = server.authorization("admin")
    seen = collections.Counter()
    for query in ("", "?from=0", "?from=-1", "?from=x", "?from=18446744073709551615", "?nothing=1"):
        request = urllib.request.Request(server.url + path + query, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                seen[answer.status] += 1
        except urllib.error.HTTPError as error:
            seen[error.code] += 1
    return seen


def run(binary, dev, seconds, seed):
    mode = "dev" if dev else "keys"
    with tempfile.TemporaryDirectory(prefix="placet-api-") as directory:
        home = Path(directory)
        child, server = start(binary, home, dev)
        try:
            report = home / "report.json"
            context = {"url": server.url, "keys": server.keys, "seed": seed, "report": str(report)}
            context["bundle"] = server.policy()["bundle"]
            environment = {
                **os.environ,
                CONTEXT: json.dumps(context),
                "SCHEMATHESIS_HOOKS": HERE.stem,
                "PYTHONPATH": str(HERE.parent),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            command = [sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"]
            command += ["--checks", "content_type_conformance,response_schema_conformance"]
            command += ["--phases", "examples,coverage,fuzzing,stateful"]
            for operation in STREAMS:
                command += ["--exclude-operation-id", operation]
            command += ["--seed", str(seed), "--no-color"]
            command += ["--max-time", str(seconds), "--request-timeout", "20", "--warnings", "off"]
            command += ["--continue-on-failure", "--generation-database", "none"]
            ran = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
            if not report.exists():
                raise SystemExit(f"schemathesis did not run:\n{ran.stdout}\n{ran.stderr}")
            found = json.loads(report.read_text())
            answered = {op: collections.Counter(seen) for op, seen in found["answered"].items()}
            for operation, path in STREAMS.items():
                answered[operation] = collections.Counter(
                    {str(status): count for status, count in stream(server, path).items()}
                )
            document = server.good("GET", "/openapi.json")
            answered[DOCUMENT] = collections.Counter({"200": 1})
            operations = [
                operation["operationId"]
                for methods in document["paths"].values()
                for operation in methods.values()
            ]
            problems = list(found["faults"])
            for operation in operations:
                if dev and operation in WITH_KEYS:
                    continue
                if not any(status.startswith("2") for status in answered.get(operation, {})):
                    seen = dict(answered.get(operation, {}))
                    problems.append(f"{operation} never answered with a 2xx: {seen}")
            if ran.returncode != 0:
                problems.append(f"schemathesis ended with {ran.returncode}:\n{ran.stdout[-6000:]}{ran.stderr[-2000:]}")
            said = (home / "stderr").read_text()
            if "panicked" in said or child.poll() is not None:
                problems.append(f"the server: {said[-2000:]}")
            calls = sum(sum(seen.values()) for seen in answered.values())
            good = sum(
                count
                for seen in answered.values()
                for status, count in seen.items()
                if status.startswith("2")
            )
            print(f"api ({mode}): {len(operations)} operations, {calls} calls, {good} with a 2xx, "
                  f"{len(problems)} problems", flush=True)
            return problems
        finally:
            child.kill()
            child.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placet", required=True)
    parser.add_argument("--seconds", type=int, default=60, help="for both servers together")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    options = parser.parse_args()
    print(f"api: seed {options.seed}", flush=True)
    problems = []
    for dev in (True, False):
        binary = str(Path(options.placet).resolve())
        problems += run(binary, dev, max(options.seconds // 2, 1), options.seed)
    for problem in problems:
        print(f"api: {problem}")
    if problems:
        sys.exit(1)
    print("api: no 5xx, every operation succeeded at least once")


if __name__ == "__main__":
    main()
elif CONTEXT in os.environ:
    hooks(json.loads(os.environ[CONTEXT]))
