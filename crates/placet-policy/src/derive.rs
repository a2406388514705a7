//! Derivers: what the server itself finds out about a request before any rule is asked. Owns what is
//! read and how it is tested; adds tags and facts and never removes one.
//!
//! Whatever cannot be told counts against the request: a condition that fails, a value that cannot be read and
//! values of which only some pass add tags, a tier of at least high and no fact, and two derivers that disagree
//! on a fact leave none, so whoever asks for it restricts.

use crate::bundle::Scratch;
use crate::condition::Facts;
use crate::index::{Build, Index};
use crate::model::{Deriver, RiskTier};
use crate::pattern::{Dialect, Pattern, matches};
use placet_types::json::{Number, Object, Value};
use placet_types::{Caller, Request};
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What a deriver reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    text: String,
    root: Root,
    path: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Target,
    Topic,
    Action,
    Model,
    Arguments,
    Context,
}

impl Probe {
    /// Parses `target`, `arguments.host` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut segments = text.split('.');
        let root = match segments.next()? {
            "target" => Root::Target,
            "topic" => Root::Topic,
            "action" => Root::Action,
            "model" => Root::Model,
            "arguments" => Root::Arguments,
            "context" => Root::Context,
            _ => return None,
        };
        let path: Vec<String> = segments.map(str::to_owned).collect();
        let structured = matches!(root, Root::Arguments | Root::Context);
        let fits = path.iter().all(|it| !it.is_empty()) && path.len() <= 16 && text.len() <= 512;
        (fits && structured != path.is_empty()).then(|| Self { text: text.to_owned(), root, path })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The texts that stand there: one, or the elements of a list; nothing where there is nothing. `None`
    /// for what is there and is not text, an integer or a Boolean: it can be told apart from nothing, so
    /// that nobody hides a value behind one that cannot be read.
    pub(crate) fn values<'a>(&self, request: &'a Request) -> Vec<Option<Cow<'a, str>>> {
        let single = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed).map(Some);
        match self.root {
            Root::Target => single(&request.target).into_iter().collect(),
            Root::Topic => single(&request.topic).into_iter().collect(),
            Root::Model => single(&request.model).into_iter().collect(),
            Root::Action => vec![Some(Cow::Borrowed(request.action.as_str()))],
            Root::Arguments => {
                request.arguments.as_ref().map_or(Vec::new(), |it| walk(it, &self.path))
            }
            Root::Context => {
                let (first, rest) = self.path.split_first().map_or(("", &[][..]), |(a, b)| (a, b));
                let value = request.context.as_ref().and_then(|context| context.get(first));
                value.map_or(Vec::new(), |value| walk(value, rest))
            }
        }
    }
}

/// Follows the path: what is no object on the way stands there and cannot be read.
fn walk<'a>(value: &'a Value, path: &[String]) -> Vec<Option<Cow<'a, str>>> {
    match (path.split_first(), value) {
        (None, Value::Array(items)) => items.iter().map(scalar).collect(),
        (None, value) => vec![scalar(value)],
        (Some((first, rest)), Value::Object(object)) => {
            object.get(first).map_or(Vec::new(), |value| walk(value, rest))
        }
        (Some(_), _) => vec![None],
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Bool(value) => Some(Cow::Owned(value.to_string())),
        Value::Number(Number::Int(value)) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}

/// What is read and what is asked of it, by kind; a value passes with one test of them.
pub(crate) type Reading = (Probe, Vec<(TestKind, Vec<Test>)>);

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TestKind {
    /// Exactly one of these.
    Values,
    /// A host name or the host of a URL; `*.` before it takes any number of labels.
    Hosts,
    /// An address within one of these networks.
    Networks,
    /// A path, taken apart and put together again; `*` one segment, `**` any number.
    Paths,
    /// A regular expression, matched anywhere.
    Regex,
}

impl TestKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Values, Self::Hosts, Self::Networks, Self::Paths, Self::Regex];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Hosts => "hosts",
            Self::Networks => "networks",
            Self::Paths => "paths",
            Self::Regex => "regex",
        }
    }
}

/// One compiled test.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    text: String,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Value,
    /// The name without `*.`, and whether it stood there.
    Host(String, bool),
    Network(IpAddr, u32),
    Path(Pattern),
    Regex(Box<Regex>),
}

/// Largest compiled form of one expression.
const REGEX_BYTES_MAX: usize = 1 << 18;

impl Test {
    pub(crate) fn compile(kind: TestKind, text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 1024 {
            return Err("1 to 1024 bytes are allowed".to_owned());
        }
        let how = match kind {
            TestKind::Values => How::Value,
            TestKind::Hosts => {
                let (name, below) = match text.strip_prefix("*.") {
                    Some(name) => (name, true),
                    None => (text, false),
                };
                let name = host_name(name).ok_or("a host name, or `*.` and a host name")?;
                How::Host(name, below)
            }
            TestKind::Networks => {
                let (address, bits) = network(text)
                    .ok_or("an address and the bits of its network: 10.0.0.0/8, fd00::/8")?;
                How::Network(address, bits)
            }
            TestKind::Paths => {
                let relative = text.strip_prefix('/').unwrap_or(text);
                if text != "/" && relative.split('/').any(|it| matches!(it, "" | "." | "..")) {
                    return Err("it matches nothing: paths are compared without `.`, `..`, empty \
                                segments and a `/` at the end"
                        .to_owned());
                }
                How::Path(Dialect::Path.parse(text).map_err(|refusal| refusal.message)?)
            }
            TestKind::Regex => {
                let built = RegexBuilder::new(text)
                    .size_limit(REGEX_BYTES_MAX)
                    .dfa_size_limit(REGEX_BYTES_MAX)
                    .nest_limit(32)
                    .build();
                How::Regex(Box::new(built.map_err(|error| one_line(&error.to_string()))?))
            }
        };
        Ok(Self { text: text.to_owned(), how })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a value passes; `None` where it is nothing of the kind that is asked for.
    pub(crate) fn passes(&self, value: &Parsed<'_>) -> Option<bool> {
        match &self.how {
            How::Value => Some(value.text == self.text),
            How::Host(name, below) => {
                let head = value.host()?.strip_suffix(name.as_str());
                Some(head.is_some_and(|it| if *below { it.ends_with('.') } else { it.is_empty() }))
            }
            How::Network(network, bits) => Some(within(value.address()?, *network, *bits)),
            How::Path(pattern) => {
                let path = value.path()?;
                Some(match pattern {
                    Pattern::Literal => path == self.text,
                    Pattern::Any => true,
                    Pattern::Segments(segments) => matches(segments, path.split('/')),
                })
            }
            How::Regex(regex) => Some(regex.is_match(value.text)),
        }
    }
}

/// A value, taken apart once for all tests that ask for its host, address or path.
pub(crate) struct Parsed<'v> {
    text: &'v str,
    host: OnceCell<Option<String>>,
    address: OnceCell<Option<IpAddr>>,
    path: OnceCell<Option<String>>,
}

impl<'v> Parsed<'v> {
    pub(crate) fn new(text: &'v str) -> Self {
        let (host, address, path) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { text, host, address, path }
    }

    fn host(&self) -> Option<&str> {
        self.host.get_or_init(|| host_of(self.text)).as_deref()
    }

    fn address(&self) -> Option<IpAddr> {
        *self.address.get_or_init(|| address_of(self.text))
    }

    fn path(&self) -> Option<&str> {
        self.path.get_or_init(|| normal_path(self.text)).as_deref()
    }
}

fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

/// Lower case, without the final dot. What programs take for a number is no name: it is an address, if it is
/// written in full, and otherwise what each of them makes of it.
fn host_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = match last.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    if number && text.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    (!text.is_empty() && text.len() <= 253 && text.split('.').all(label)).then_some(text)
}

/// Schemes whose slashes some programs do not need.
const SCHEMES: [&str; 6] = ["file", "ftp", "http", "https", "ws", "wss"];

/// Host and port of a URL, or of a host with or without a port. The host keeps its brackets.
fn authority(value: &str) -> Option<&str> {
    let rest = match value.split_once("://") {
        Some((scheme, rest)) => scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            .then_some(rest)?,
        None => {
            let scheme = value.split_once(':').map(|(before, _)| before);
            let is = |before: &str| SCHEMES.iter().any(|it| before.eq_ignore_ascii_case(it));
            (!scheme.is_some_and(is)).then_some(value)?
        }
    };
    // Programs disagree on what a back-slash is and on which `@` counts: neither is a host.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let odd = authority.contains(|c: char| c == '\\' || c == '%' || c == '@' || c.is_whitespace());
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (inner, port) = inner.split_once(']')?;
            (authority.get(..inner.len().checked_add(2)?)?, port)
        }
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => {
            (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        }
        None => port.is_empty(),
    };
    (!odd && port && !value.contains(char::is_control)).then_some(host)
}

fn host_of(value: &str) -> Option<String> {
    host_name(authority(value)?)
}

fn address_of(value: &str) -> Option<IpAddr> {
    if let Ok(address) = value.parse::<IpAddr>() {
        return plain(address);
    }
    let host = authority(value)?;
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inner {
        Some(inner) => plain(IpAddr::V6(inner.parse().ok()?)),
        None => plain(IpAddr::V4(host.strip_suffix('.').unwrap_or(host).parse().ok()?)),
    }
}

/// An IPv4 address that is written as an IPv6 one is that IPv4 address. `None` for addresses through which
/// others are reached (6to4, NAT64, IPv4-compatible): which network they lie in is not theirs to say.
fn plain(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(six) = address else { return Some(address) };
    if let Some(four) = six.to_ipv4_mapped() {
        return Some(IpAddr::V4(four));
    }
    let through = match six.segments() {
        [0x2002, ..] | [0x64, 0xff9b, ..] => true,
        [0, 0, 0, 0, 0, 0, high, low] => high != 0 || low > 1,
        _ => false,
    };
    (!through).then_some(address)
}

/// A network of an address as values are compared with it: IPv4 where it is mapped.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= most)?;
    match address {
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => Some((IpAddr::V4(four), bits.checked_sub(96)?)),
            None => Some((address, bits)),
        },
        IpAddr::V4(_) => Some((address, bits)),
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let top = |value: u128, width: u32| -> u128 {
        value.checked_shr(width.saturating_sub(bits)).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            top(u128::from(a.to_bits()), 32) == top(u128::from(b.to_bits()), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => top(a.to_bits(), 128) == top(b.to_bits(), 128),
        _ => false,
    }
}

/// The path without `.`, `..` and empty segments, in lower case letters as they are. `None` for one that
/// leads above its root or holds what systems read differently.
fn normal_path(value: &str) -> Option<String> {
    if value.contains(|c: char| c == '\\' || c.is_control()) {
        return None;
    }
    let mut out: Vec<&str> = Vec::new();
    for segment in value.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop()?;
            }
            other => out.push(other),
        }
    }
    let root = if value.starts_with('/') { "/" } else { "" };
    Some(format!("{root}{}", out.join("/")))
}

/// All derivers of a bundle, found by an index as rules are.
#[derive(Debug, Default)]
pub(crate) struct Derivers {
    all: Vec<Deriver>,
    index: Index,
}

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    /// The request with more risk tags; `None` where there are none.
    pub(crate) request: Option<Request>,
    pub(crate) facts: Object,
    /// Ids of the derivers that applied.
    pub(crate) applied: Vec<String>,
}

impl Derived {
    /// What rules are asked with.
    pub(crate) fn facts<'a>(&'a self, request: &'a Request, caller: &'a Caller) -> Facts<'a> {
        Facts { request: self.request.as_ref().unwrap_or(request), caller, derived: &self.facts }
    }
}

impl Derivers {
    pub(crate) fn new(all: &[Deriver]) -> Self {
        let index = Build::run(all.iter().map(|deriver| &deriver.matches));
        Self { all: all.to_vec(), index }
    }

    /// What the derivers find; `None` where there are none.
    pub(crate) fn derive(
        &self,
        request: &Request,
        caller: &Caller,
        scratch: &mut Scratch,
    ) -> Option<Derived> {
        if self.all.is_empty() {
            return None;
        }
        let nothing = Object::new();
        let facts = Facts { request, caller, derived: &nothing };
        self.index.candidates(facts, scratch);
        let candidates = std::mem::take(&mut scratch.candidates);
        let mut found = Found::default();
        for number in &candidates {
            let Some(deriver) = self.all.get(*number as usize) else { continue };
            let Some(remaining) = self.index.remaining().get(*number as usize) else { continue };
            if self.index.verify(remaining, facts, scratch) {
                found.ask(deriver, facts);
            }
        }
        scratch.candidates = candidates;
        Some(found.finish(request))
    }

    /// The derivers whose keys match, whatever their conditions and tests come to.
    pub(crate) fn asked(
        &self,
        request: &Request,
        caller: &Caller,
        scratch: &mut Scratch,
    ) -> Vec<&Deriver> {
        let nothing = Object::new();
        let facts = Facts { request, caller, derived: &nothing };
        self.index.matching(facts, scratch);
        let found = scratch.candidates.iter().filter_map(|it| self.all.get(*it as usize));
        found.collect()
    }
}

#[derive(Default)]
struct Found<'d> {
    tags: Vec<&'d str>,
    /// Facts, `None` where derivers disagree.
    facts: BTreeMap<&'d str, Option<&'d Value>>,
    tier: Option<RiskTier>,
    applied: Vec<String>,
}

impl<'d> Found<'d> {
    fn ask(&mut self, deriver: &'d Deriver, facts: Facts<'_>) {
        let truth = deriver.matches.when.as_ref().map_or(Ok(true), |it| it.evaluate(facts));
        let read = match &deriver.read {
            None => Read::Found,
            Some((probe, tests)) => read(probe, tests, deriver.missing, facts.request),
        };
        if truth == Ok(false) || read == Read::Not {
            return;
        }
        let certain = truth.is_ok() && read == Read::Found;
        self.applied.push(deriver.id.clone());
        self.tags.extend(deriver.risk_tags.iter().map(String::as_str));
        // Doubt has not found out that little is at stake.
        let least = if certain { RiskTier::Low } else { RiskTier::High };
        self.tier = self.tier.max(deriver.risk_tier.map(|tier| tier.max(least)));
        for (name, value) in deriver.facts.iter() {
            // Doubt has found nothing out.
            let value = certain.then_some(value);
            self.facts
                .entry(name)
                .and_modify(|known| {
                    if *known != value {
                        *known = None;
                    }
                })
                .or_insert(value);
        }
    }

    fn finish(self, request: &Request) -> Derived {
        let mut facts = Object::new();
        for (name, value) in self.facts {
            if let Some(value) = value {
                facts.set(name, value.clone());
            }
        }
        if let Some(tier) = self.tier {
            facts.set(RiskTier::FACT, tier.as_str());
            facts.set(RiskTier::LEVEL, tier.level());
        }
        let fresh = self.tags.iter().any(|tag| !request.risk_tags.contains(*tag));
        let request = fresh.then(|| {
            let mut request = request.clone();
            request.risk_tags.extend(self.tags.iter().map(|tag| (*tag).to_owned()));
            request
        });
        Derived { request, facts, applied: self.applied }
    }
}

/// What the values say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// None of them is what is looked for.
    Not,
    /// All of them are.
    Found,
    /// Some are, or some are nothing of the kind that is asked for.
    Doubt,
}

/// Asks all values, since one alone says nothing of the others. `missing` speaks where there is none.
fn read(probe: &Probe, tests: &[(TestKind, Vec<Test>)], missing: bool, request: &Request) -> Read {
    let values = probe.values(request);
    if values.len() > VALUES_MAX {
        return Read::Doubt;
    }
    let each =
        values.iter().map(|value| value.as_deref().map_or(Read::Doubt, |it| asked(tests, it)));
    let all = each.reduce(|one, other| if one == other { one } else { Read::Doubt });
    all.unwrap_or(if missing { Read::Found } else { Read::Not })
}

/// Most values that are looked at: beyond, nobody knows what they are.
pub(crate) const VALUES_MAX: usize = 256;

/// One value: a test that passes is enough. Whatever a kind of test cannot read is in doubt; a host is an
/// address or a name, so of those two kinds one is enough.
fn asked(tests: &[(TestKind, Vec<Test>)], value: &str) -> Read {
    let value = Parsed::new(value);
    let (mut blind, mut place, mut known) = (false, false, false);
    for (kind, tests) in tests {
        let mut readable = false;
        for test in tests {
            match test.passes(&value) {
                Some(true) => return Read::Found,
                Some(false) => readable = true,
                None => {}
            }
        }
        match kind {
            TestKind::Hosts | TestKind::Networks => (place, known) = (true, known | readable),
            _ => blind |= !readable,
        }
    }
    if blind || (place && !known) { Read::Doubt } else { Read::Not }
}
