#!/bin/sh
# Verify a Placet receipt offline, with nothing but a POSIX shell, awk, coreutils and OpenSSL 3.
#
#     placet_verify.sh RECEIPT --trust TRUST.json [--expect PERMIT] [--digest sha256:HEX --salt HEX]
#
# Exit status: 0 verified, 1 refused, 2 usage. Keys come from the trust file alone, never from the receipt.
#
# It has two halves. The awk program reads both files and judges all that is text: spelling, JSON, places in
# the tree, which keys count. What takes a hash or a signature it leaves to the shell, as a plan of one
# instruction a line, in the order of the checks. The shell carries the plan out with sha256sum and openssl;
# the first instruction that fails refuses, and only the last one verifies.
#
#     key ID BYTES           the SHA-256 of BYTES begins with ID
#     signature KEY SIGN     SIGN is the Ed25519 signature of KEY over the checkpoint
#     leaf                   the node is the leaf hash of the entry
#     left HASH              the node so far becomes the hash of HASH and itself; right: of itself and HASH
#     root HASH              the node so far is HASH
#     commitment SALT DIGEST HELD    HELD is HMAC-SHA-256 of DIGEST under SALT
#     refuse CODE WHY        what came before held, and this is refused
#     show NAME VALUE        a line to print, once all is verified
#     verified               the end
#
# In the plan and throughout awk, bytes are hex with a space before each: " 70 6c 61". So a pattern can never
# match across two bytes, and texts of bytes compare as the bytes do.
set -u
LC_ALL=C
export LC_ALL

usage() {
    echo "placet_verify.sh: $1" >&2
    echo "usage: placet_verify.sh RECEIPT --trust TRUST.json [--expect OUTCOME] [--digest sha256:HEX --salt HEX]" >&2
    exit 2
}

refuse() {
    echo "refused: $1: $2"
    exit 1
}

receipt='' trust='' EXPECT='' DIGEST='' SALT=''
while [ $# -gt 0 ]; do
    option=$1 value=$1
    case $1 in --*)
        [ $# -ge 2 ] || usage "$1 needs a value"
        value=$2
        shift
        ;;
    esac
    case $option in
    --trust) trust=$value ;;
    --expect) EXPECT=$value ;;
    --digest) DIGEST=$value ;;
    --salt) SALT=$value ;;
    -*) usage "unknown option $option" ;;
    *)
        [ -z "$receipt" ] || usage "more than one receipt"
        receipt=$value
        ;;
    esac
    shift
done
case $EXPECT in
'' | PERMIT | REQUIRE_APPROVAL | THROTTLE | DENY | SILENCE) ;;
*) usage "$EXPECT is no outcome" ;;
esac
hex64() { # 64 lower-case hex digits
    case $1 in *[!0-9a-f]*) return 1 ;; esac
    [ ${#1} -eq 64 ]
}
if [ -n "$DIGEST$SALT" ]; then
    [ "${DIGEST#sha256:}" != "$DIGEST" ] && hex64 "${DIGEST#sha256:}" || usage "--digest takes sha256: and 64 hex digits"
    hex64 "$SALT" || usage "--salt takes 64 hex digits"
fi
[ -n "$receipt" ] && [ -n "$trust" ] || usage "RECEIPT and --trust are required"
[ -r "$receipt" ] && [ ! -d "$receipt" ] || usage "$receipt cannot be read"
[ -r "$trust" ] && [ ! -d "$trust" ] || usage "$trust cannot be read"

# Everything below reads private copies, cut one byte above the largest size that is legal.
WORK=$(mktemp -d) || exit 2
trap 'rm -rf "$WORK"' EXIT && trap 'exit 2' HUP INT TERM
head -c 524289 "$receipt" >"$WORK/receipt" && head -c 1048577 "$trust" >"$WORK/trust" || usage "cannot copy the files"
od -An -v -tu1 "$WORK/receipt" >"$WORK/receipt.bytes" && od -An -v -tu1 "$WORK/trust" >"$WORK/trust.bytes" ||
    usage "od does not work"
export WORK EXPECT DIGEST SALT

awk '
# ---- Bytes
function start(   i) {
    for (i = 0; i < 256; i++) {
        hex[i] = sprintf(" %02x", i)
        value_of[hex[i]] = i
        if (i) { char[i] = sprintf("%c", i); byte[char[i]] = i }
    }
    escaped["b"] = 8; escaped["t"] = 9; escaped["n"] = 10; escaped["f"] = 12; escaped["r"] = 13
    escaped["\""] = 34; escaped["/"] = 47; escaped["\\"] = 92
    for (i = 0; i < 64; i++)
        digit64[substr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", i + 1, 1)] = i
}

function bytes_of(text,   i, out) {            # a text as hex
    for (i = 1; i <= length(text); i++) out = out hex[byte[substr(text, i, 1)]]
    return out
}
function text_of(bytes,   i, out) {            # hex as a text, without nul
    for (i = 1; i <= length(bytes); i += 3) out = out char[value_of[substr(bytes, i, 3)]]
    return out
}
function reversed(bytes,   i, out) {           # a little-endian number as big-endian hex without spaces
    for (i = length(bytes) - 1; i > 0; i -= 3) out = out substr(bytes, i, 2)
    return out
}
function packed(bytes) { gsub(/ /, "", bytes); return bytes }

# Reads a file of od into B[1] to B[n].
function load(file,   line, count, parts, i) {
    split("", B)
    n = 0
    while ((getline line < file) > 0) {
        count = split(line, parts, " ")
        for (i = 1; i <= count; i++) B[++n] = parts[i] + 0
    }
    close(file)
}

# Length of the UTF-8 character at B[i], 0 if there is none (RFC 3629: shortest form, no surrogates).
function utf8(i,   b, low, high, more, k) {
    b = B[i]
    if (b < 128) return 1
    low = 128; high = 191
    if (b >= 194 && b <= 223) more = 1
    else if (b >= 224 && b <= 239) { more = 2; if (b == 224) low = 160; if (b == 237) high = 159 }
    else if (b >= 240 && b <= 244) { more = 3; if (b == 240) low = 144; if (b == 244) high = 143 }
    else return 0
    for (k = 1; k <= more; k++) {
        if (i + k > n || B[i + k] < low || B[i + k] > high) return 0
        low = 128; high = 191
    }
    return more + 1
}

function refuse(code, why) { print "refuse", code, why; exit 0 }

# ---- Strict JSON from B[1] to B[n]
#
# Node k of the tree has kind[k]; a string text[k] in hex; a number number[k], an integer as canonical text;
# an object members[k] and child[k, key]; a list items[k] and child[k, 1] and so on. What is no strict JSON
# puts the reason into wrong. What is, but is not spelt as RFC 8785 says, clears plain.

function json(depth_limit,   top) {
    at = 1; wrong = ""; plain = 1; depth_max = depth_limit
    space()
    top = value(0)
    space()
    if (at <= n) fail("something follows the document")
    return top
}
function fail(why) { if (wrong == "") wrong = why; return "" }
function space() {
    while (at <= n && (B[at] == 32 || B[at] == 9 || B[at] == 10 || B[at] == 13)) { at++; plain = 0 }
}
function next_is(b) { if (at > n || B[at] != b) return 0; at++; return 1 }

function value(depth,   k) {
    k = ++nodes
    if (wrong != "") return k
    if (B[at] == 34) { kind[k] = "string"; text[k] = string() }
    else if (B[at] == 123) object(k, depth + 1)
    else if (B[at] == 91) list(k, depth + 1)
    else if (B[at] == 45 || (B[at] >= 48 && B[at] <= 57)) read_number(k)
    else word(k)
    return k
}

function word(k,   out) {
    while (at <= n && B[at] >= 97 && B[at] <= 122 && length(out) < 6) out = out char[B[at++]]
    if (out !~ /^(true|false|null)$/) fail("a value is missing")
    kind[k] = out
}

function object(k, depth,   key, last) {
    kind[k] = "object"; members[k] = 0
    if (depth > depth_max) return fail("nested too deep")
    at++; space()
    if (next_is(125)) return
    while (wrong == "") {
        if (at > n || B[at] != 34) return fail("a key is missing")
        key = string()
        if ((k, key) in child) return fail("a key occurs twice")
        if (members[k]++ && utf16(key) "" < utf16(last) "") plain = 0
        last = key
        space()
        if (!next_is(58)) return fail("a colon is missing")
        space()
        child[k, key] = value(depth)
        space()
        if (next_is(125)) return
        if (!next_is(44)) return fail("a comma or brace is missing")
        space()
    }
}

function list(k, depth) {
    kind[k] = "list"; items[k] = 0
    if (depth > depth_max) return fail("nested too deep")
    at++; space()
    if (next_is(93)) return
    while (wrong == "") {
        child[k, ++items[k]] = value(depth)
        space()
        if (next_is(93)) return
        if (!next_is(44)) return fail("a comma or bracket is missing")
        space()
    }
}

# Keys are ordered by UTF-16 code units: as UTF-8 but for U+E000 to U+FFFF, which come after all pairs.
function utf16(key) { gsub(/ ee/, " fe", key); gsub(/ ef/, " ff", key); return key }

function string(   out, part, size) {
    for (at++; ; ) {
        if (B[at] == 34) { at++; return out part }
        if (at > n || B[at] < 32) return fail("a string with a control character or without an end")
        if (B[at] == 92) part = part escape()
        else {
            size = utf8(at)
            if (!size) { fail("not utf-8 in a string"); size = 1 }
            for (; size > 0; size--) part = part hex[B[at++]]
        }
        if (wrong != "") return ""
        if (length(part) > 300) { out = out part; part = "" }
    }
}

function escape(   c, code, low) {
    at++
    c = at <= n ? char[B[at]] : ""
    at++
    if (c == "/") plain = 0
    if (c in escaped) return hex[escaped[c]]
    if (c != "u") return fail("an unknown escape")
    code = hex4()
    # The one character that is spelt with u: a control without an escape of its own, in lower case.
    if (code >= 32 || code == 8 || code == 9 || code == 10 || code == 12 || code == 13) plain = 0
    if (code >= 55296 && code <= 56319) {
        low = next_is(92) && next_is(117) ? hex4() : 0
        if (low < 56320 || low > 57343) return fail("half a surrogate pair")
        code = 65536 + (code - 55296) * 1024 + low - 56320
    }
    else if (code >= 56320 && code <= 57343) return fail("half of a surrogate pair")
    if (code < 128) return hex[code]
    if (code < 2048) return hex[192 + int(code / 64)] hex[128 + code % 64]
    if (code < 65536) return hex[224 + int(code / 4096)] hex[128 + int(code / 64) % 64] hex[128 + code % 64]
    return hex[240 + int(code / 262144)] hex[128 + int(code / 4096) % 64] hex[128 + int(code / 64) % 64] hex[128 + code % 64]
}

function hex4(   i, c, code) {
    for (i = 0; i < 4; i++) {
        c = at <= n && B[at] ? char[B[at]] : "?"
        if (c !~ /^[0-9A-Fa-f]$/) { fail("an escape without four hex digits"); return 0 }
        if (c ~ /[A-F]/) plain = 0
        code = code * 16 + index("0123456789abcdef", tolower(c)) - 1
        at++
    }
    return code
}

# A number must be an integer up to 2^53 in magnitude, exactly, however it is spelt.
function read_number(k,   literal, minus, digits, power) {
    kind[k] = "number"
    while (at <= n && char[B[at]] ~ /^[-+.0-9eE]$/) literal = literal char[B[at++]]
    if (literal !~ /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$/) return fail("a malformed number")
    minus = literal ~ /^-/ ? "-" : ""
    digits = substr(literal, length(minus) + 1)
    if (match(digits, /[eE]/)) { power = substr(digits, RSTART + 1) + 0; digits = substr(digits, 1, RSTART - 1) }
    if (match(digits, /\./)) { power -= length(digits) - RSTART; sub(/\./, "", digits) }
    sub(/^0+/, "", digits)
    if (match(digits, /0+$/)) { power += RLENGTH; digits = substr(digits, 1, RSTART - 1) }
    if (digits == "") { minus = ""; power = 0; digits = "0" }
    if (power < 0) return fail("a number is not an integer")
    for (; power > 0 && length(digits) < 17; power--) digits = digits "0"
    if (above(digits, "9007199254740992")) return fail("a number is beyond 2^53")
    number[k] = minus digits
    if (number[k] "" != literal "") plain = 0
}

function above(a, b) {                         # of two decimals without leading zeros
    return length(a) > length(b) || (length(a) == length(b) && a "" > b "")
}

function member(k, name) { return child[k, bytes_of(name)] + 0 }   # 0 if there is none
function is_text(k, name) { return kind[k] == "string" && text[k] == bytes_of(name) }

# ---- Base64, decimals, names

# With the length a multiple of four, this is each legal spelling once: the unused bits are zero.
function canonical64(text) {
    return length(text) % 4 == 0 && text ~ /^[A-Za-z0-9+\/]*([AQgw]==|[AEIMQUYcgkosw048]=)?$/
}
function size64(text) { return length(text) / 4 * 3 - (text ~ /=$/) - (text ~ /==$/) }
function from64(text,   i, part, out) {        # into hex
    for (i = 1; i <= length(text); i += 4) {
        part = digit64[substr(text, i, 1)] * 262144 + digit64[substr(text, i + 1, 1)] * 4096 \
            + digit64[substr(text, i + 2, 1)] * 64 + digit64[substr(text, i + 3, 1)]
        out = out hex[int(part / 65536)] hex[int(part / 256) % 256] hex[part % 256]
    }
    return substr(out, 1, 3 * size64(text))
}
function check_hash(text) {
    if (!canonical64(text)) refuse("not_canonical", "a hash is not canonical base64")
    if (size64(text) != 32) refuse("receipt_malformed", "a hash is not 32 bytes long")
}
function check_decimal(text) {
    if (text !~ /^[0-9]+$/) refuse("receipt_malformed", "a number is malformed")
    if (text ~ /^0./) refuse("not_canonical", "a number has leading zeros")
    if (above(text, "18446744073709551615")) refuse("receipt_malformed", "a number is above 2^64")
}

# Empty, a control character, a plus, or a character that Unicode calls white space.
function bad_name(name) {
    return name == "" || name ~ / (0.|1.|20|2b)/ || name ~ / c2 (85|a0)| e1 9a 80| e2 81 9f| e3 80 80/ \
        || name ~ / e2 80 (8[0-9a]|a[89f])/
}

# ---- Trust: pinned keys
function bad_trust(why) { refuse("trust_malformed", why) }

function read_trust(   top, keys, k) {
    if (n > 1048576) bad_trust("above 1 MiB")
    top = json(8)
    if (wrong != "") bad_trust("the trust file is not strict json: " wrong)
    if (kind[top] != "object" || members[top] != 2) bad_trust("not an object of two members")
    if (number[member(top, "v")] != "1") bad_trust("not version 1")
    keys = member(top, "keys")
    if (kind[keys] != "list") bad_trust("keys is not a list")
    for (k = 1; k <= items[keys]; k++) read_key(child[keys, k])
}

function read_key(item,   vkey, status, from, to, has_to, pinned, name, key) {
    vkey = member(item, "vkey"); status = member(item, "status"); from = member(item, "from_size")
    to = member(item, "to_size"); has_to = to > 0
    if (members[item] != 3 + has_to) bad_trust("a key has a missing or unknown member")
    if (!is_text(status, "active") && !is_text(status, "retired") && !is_text(status, "revoked")) bad_trust("an unknown status")
    if (number[from] !~ /^[0-9]/) bad_trust("a from_size is malformed")
    if (has_to && number[to] !~ /^[0-9]/) bad_trust("a to_size is malformed")
    if (has_to && above(number[from], number[to])) bad_trust("from_size is above to_size")
    if (!has_to && is_text(status, "retired")) bad_trust("a retired key without to_size")
    vkey = text[vkey]
    name = vkey; sub(/ 2b.*/, "", name)
    if (bad_name(name)) bad_trust("a vkey has a bad name")
    vkey = substr(vkey, length(name) + 4)
    if (vkey !~ /^( 3[0-9]| 6[1-6])* 2b/ || index(vkey, " 2b") != 25) bad_trust("a vkey without an id of eight hex digits")
    key = substr(vkey, 28)
    key = key ~ / 00/ ? "?" : text_of(key)
    if (!canonical64(key)) bad_trust("a vkey is not canonical base64")
    if (size64(key) != 33) bad_trust("a vkey is not of 33 bytes")
    key = from64(key)
    if (key !~ /^ 01/) bad_trust("a vkey is not an ed25519 key")
    pinned = name SUBSEP id_bytes(text_of(substr(vkey, 1, 24)))
    if (pinned in public) bad_trust("a key occurs twice")
    public[pinned] = substr(key, 4); status_of[pinned] = text_of(text[status]); low[pinned] = number[from]
    high[pinned] = has_to ? number[to] : ""; known[name] = 1
    print "key", text_of(substr(vkey, 1, 24)), packed(name " 0a" key)
}

function id_bytes(digits) { return " " substr(digits, 1, 2) " " substr(digits, 3, 2) " " substr(digits, 5, 2) " " substr(digits, 7, 2) }

# ---- The receipt: lines of text, after its bytes are known to be text
function next_line(key,   line) {
    getline line < (WORK "/receipt")           # nothing at the end
    if (substr(line, 1, length(key)) != key) refuse("receipt_malformed", "a line is missing: " key)
    return substr(line, length(key) + 1)
}

function read_receipt(   i, k, size, line, lines, hashes, gap) {
    if (n > 524288) refuse("receipt_malformed", "the receipt is above 512 KiB")
    for (i = 1; i <= n; i += size) {
        if (B[i] < 32 && B[i] != 10) refuse("receipt_malformed", "a control character")
        size = utf8(i)
        if (!size) { refuse("receipt_malformed", "not utf-8"); size = 1 }
    }
    if (B[n] != 10) refuse("receipt_malformed", "the last line does not end")
    if (next_line("c2sp.org/tlog-proof@v1") != "") refuse("receipt_malformed", "the first line is not that of a tlog-proof")
    entry64 = next_line("extra ")
    if (!canonical64(entry64)) refuse("not_canonical", "the entry is not canonical base64")
    leaf = next_line("index ")
    check_decimal(leaf)
    while ((line = next_line("")) != "") { check_hash(line); path[++hashes] = line }
    # The last empty line parts the text of the checkpoint and its signatures.
    while ((getline line < (WORK "/receipt")) > 0) { note[++lines] = line; if (line == "") gap = lines }
    if (lines - gap > 64) refuse("receipt_malformed", "too many signatures")
    if (lines == gap) refuse("receipt_malformed", "no signature")
    for (k = gap + 1; k <= lines; k++) read_signature(note[k])
    for (k = 1; k < gap; k++) {
        if (note[k] == "") refuse("receipt_malformed", "an empty line in the checkpoint")
        print note[k] > (WORK "/body")
    }
    origin = note[1]
    tree = note[2]; check_decimal(tree); check_hash(note[3])
    place(hashes + 0)
}

function read_signature(line,   name, blank, encoded) {
    if (substr(line, 1, 4) != "\342\200\224 ") refuse("receipt_malformed", "a line among the signatures is none")
    line = substr(line, 5)
    blank = index(line, " ")
    name = bytes_of(blank ? substr(line, 1, blank - 1) : line)
    encoded = blank ? substr(line, blank + 1) : ""
    if (bad_name(name)) refuse("receipt_malformed", "a signature has a bad name")
    if (!canonical64(encoded)) refuse("not_canonical", "a signature is not canonical base64")
    if (size64(encoded) <= 4) refuse("receipt_malformed", "a signature is too short")
    signer[++signatures] = name SUBSEP substr(from64(substr(encoded, 1, 8)), 1, 12)
    sign[signatures] = encoded
}

# ---- The place in the tree (RFC 9162, section 2.1.3.2), in bits, since sizes go up to 2^64

# The 64 bits of a decimal, lowest first.
function bits(decimal,   i, k, rest, digit, out, half) {
    for (k = 0; k < 64; k++) {
        rest = 0; half = ""
        for (i = 1; i <= length(decimal); i++) {
            digit = rest * 10 + substr(decimal, i, 1)
            half = half int(digit / 2); rest = digit % 2
        }
        out = out rest
        decimal = half; sub(/^0+/, "", decimal)
    }
    return out
}

# Sets left[1] to left[levels]: whether that hash of the path stands on the left. Below the level at which
# the ways to the leaf and to the last leaf part, each level has a sibling, on the side that the bit of the
# index says; above it the ways are one, and there is a sibling, on the left, where they turn right.
function place(hashes,   index_bits, last_bits, one, level, inner) {
    if (!above(tree, leaf)) refuse("inclusion_bad", "the index is not below the size of the tree")
    index_bits = bits(leaf); last_bits = bits(tree)
    one = match(last_bits, /1/)                # size - 1: the zeros below the lowest one become ones
    last_bits = substr("1111111111111111111111111111111111111111111111111111111111111111", 1, one - 1) "0" substr(last_bits, one + 1)
    for (inner = 64; inner > 0 && substr(index_bits, inner, 1) == substr(last_bits, inner, 1); ) inner--
    for (level = 1; level <= 64; level++)
        if (level <= inner || substr(index_bits, level, 1) == "1") left[++levels] = substr(index_bits, level, 1) == "1"
    if (hashes != levels + 0) refuse("inclusion_bad", "the path has the wrong length")
}

# ---- Signatures
function check_signatures(   k, counted, revoked, elsewhere, name) {
    name = bytes_of(origin)
    if (!(name in known)) refuse("unknown_origin", "no key is pinned for the log")
    for (k = 1; k <= signatures; k++) {
        if (!(signer[k] in public)) continue   # unknown signatures are legal: witnesses, rotation
        check_signature(public[signer[k]], sign[k])
        if (substr(signer[k], 1, index(signer[k], SUBSEP) - 1) != name) continue
        if (status_of[signer[k]] == "revoked") { revoked = 1; continue }
        if (above(low[signer[k]], tree)) { elsewhere = 1; continue }
        if (high[signer[k]] != "" && above(tree, high[signer[k]])) { elsewhere = 1; continue }
        if (counted == "") counted = packed(substr(signer[k], index(signer[k], SUBSEP) + 1))
    }
    if (counted == "") refuse(revoked ? "key_revoked" : elsewhere ? "key_out_of_range" : "unknown_key", "no pinned key that counts signed the checkpoint")
    key_id = counted
}

# What OpenSSL does not refuse, or not in each version: second encodings and points of small order.
function check_signature(key, encoded,   bytes, s, y) {
    if (size64(encoded) != 64 + 4) refuse("signature_bad", "a signature is not of 64 bytes")
    bytes = substr(from64(encoded), 13)
    s = reversed(substr(bytes, 97))
    if (s "" >= "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed") refuse("signature_bad", "the scalar is not below the order of the group")
    y = y_of(key)
    if (y "" >= "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed") refuse("signature_bad", "the key is not the one encoding of a point")
    if (y in small) refuse("signature_bad", "the key is of small order")
    if (y_of(substr(bytes, 1, 96)) in small) refuse("signature_bad", "the nonce point is of small order")
    print "signature", packed(key), packed(bytes)
}

function y_of(point,   out) {                  # without the top bit, which is the sign of x
    out = reversed(point)
    return (index("0123456789abcdef", substr(out, 1, 1)) - 1) % 8 substr(out, 2)
}
function small_order(   k, known, count) {      # the y of the eight points: 0, 1, p - 1 and two of order eight
    count = split("0000000000000000000000000000000000000000000000000000000000000000 " \
        "0000000000000000000000000000000000000000000000000000000000000001 " \
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec " \
        "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826 " \
        "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", known, " ")
    for (k = 1; k <= count; k++) small[known[k] ""] = 1
}

# ---- The entry
function load64(text,   parts, i) {            # into B[1] to B[n]
    split("", B)
    n = split(from64(text), parts, " ")
    for (i = 1; i <= n; i++) B[i] = value_of[" " parts[i]]
}
function bad_entry(why) { refuse("entry_malformed", why) }

function check_entry(   top, event, workspace, parts) {
    if (size64(entry64) > 16384) bad_entry("the entry is above 16 KiB")
    load64(entry64)
    top = json(64)
    if (wrong != "") bad_entry("the entry is not strict json: " wrong)
    if (!plain) refuse("not_canonical", "the entry is not canonical json")
    if (kind[top] != "object" || members[top] != 4) bad_entry("not a statement of four members")
    if (!is_text(member(top, "_type"), "https://in-toto.io/Statement/v1")) bad_entry("not an in-toto statement")
    if (kind[member(top, "subject")] != "list") bad_entry("subject is not a list")
    if (!is_text(member(top, "predicateType"), "urn:placet:event:1")) bad_entry("not a placet event")
    event = member(top, "predicate")
    if (number[member(event, "v")] != "1") bad_entry("not an event of version 1")
    workspace = member(event, "workspace")
    if (kind[workspace] != "string") bad_entry("an event without a workspace")
    if (split(origin, parts, "/") != 3 || parts[1] != "placet" || parts[2] == "" || parts[3] == "" || bytes_of(parts[3]) != text[workspace])
        refuse("workspace_mismatch", "the entry belongs to another workspace than the log")
    check_questions(top, event)
}

# A decision says its outcome, the collected permit of an approved hold PERMIT, anything else nothing.
function check_questions(top, event,   type, outcome, held) {
    type = member(event, "type")
    if (is_text(type, "decision")) outcome = text[member(member(event, "data"), "outcome")]
    if (is_text(type, "permit.collected")) outcome = bytes_of("PERMIT")
    if (EXPECT != "" && outcome != bytes_of(EXPECT)) refuse("outcome_mismatch", "the outcome is not " EXPECT)
    if (DIGEST != "") {
        held = text_of(text[member(member(child[member(top, "subject"), 1], "digest"), "placetCommitment")])
        print "commitment", SALT, substr(DIGEST, 8), held !~ /^[0-9a-f]+$/ ? "none" : held
    }
    show("type", text[type]); show("outcome", outcome)
}

function show(name, bytes) {                   # nothing that a terminal would act on
    gsub(/ ([01]|[89a-f]).| 7f| 25| 5c/, " 3f", bytes)
    if (bytes != "") print "show", name, text_of(bytes)
}

BEGIN {
    WORK = ENVIRON["WORK"]; EXPECT = ENVIRON["EXPECT"]; DIGEST = ENVIRON["DIGEST"]; SALT = ENVIRON["SALT"]
    start(); small_order()
    load(WORK "/trust.bytes"); read_trust()
    load(WORK "/receipt.bytes"); read_receipt()
    check_signatures()
    print "leaf"
    for (k = 1; k <= levels; k++) print left[k] ? "left" : "right", packed(from64(path[k]))
    print "root", packed(from64(note[3]))
    show("origin", bytes_of(origin)); print "show index", leaf; print "show size", tree; print "show key_id", key_id
    check_entry()
    print "verified"
}
' >"$WORK/plan" || usage "awk does not work"

# ---- Hashes and signatures

raw() { # hex digits as bytes
    escapes='' rest=$1
    while [ -n "$rest" ]; do
        pair=${rest%"${rest#??}"}
        rest=${rest#??}
        pair=$((0x$pair))
        escapes="$escapes\\$((pair >> 6))$((pair >> 3 & 7))$((pair & 7))"
    done
    printf "$escapes"
}

sha256_of() { hash=$(raw "$1" | sha256sum) && hash=${hash%% *}; }

ed25519() { # key, signature: over the checkpoint. The prefix says "a public key of Ed25519" (RFC 8410).
    raw "302a300506032b6570032100$1" >"$WORK/key"
    raw "$2" >"$WORK/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key" -rawin -in "$WORK/body" \
        -sigfile "$WORK/signature" >"$WORK/openssl" 2>&1 && return 0
    case $(openssl version 2>&1) in
    OpenSSL\ [3-9]*) return 1 ;;
    *) usage "OpenSSL 3 is needed" ;;
    esac
}

shown='' node='' done=no
while read -r verb a b c; do
    case $verb in
    key)
        sha256_of "$b"
        [ "${hash%"${hash#????????}"}" = "$a" ] || refuse trust_malformed "a key id does not belong to its key"
        ;;
    signature) ed25519 "$a" "$b" || refuse signature_bad "the signature is not that of the pinned key" ;;
    leaf)
        node=$({ printf '\0' && sed -n '2s/^extra //p' "$WORK/receipt" | base64 -d; } | sha256sum)
        node=${node%% *}
        ;;
    left) sha256_of "01$a$node" && node=$hash ;;
    right) sha256_of "01$node$a" && node=$hash ;;
    root) [ "$node" = "$a" ] || refuse inclusion_bad "the entry is not in the signed tree at this index" ;;
    commitment)
        made=$(raw "$b" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$a" -r)
        [ "${made%% *}" = "$c" ] || refuse digest_mismatch "the entry does not commit to this digest under this salt"
        ;;
    show) shown="$shown\n  $a $b${c:+ $c}" ;;
    refuse) refuse "$a" "$b $c" ;;
    verified) done=yes ;;
    *) usage "the plan is broken: $verb" ;;
    esac
done <"$WORK/plan"
[ "$done" = yes ] || usage "the plan has no end"
printf "verified$shown\n" # nothing in it is special to printf
