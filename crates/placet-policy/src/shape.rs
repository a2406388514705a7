//! Shapes of documents: one declaration from which a document is read, its unknown keys are refused, its
//! normal form is written and its JSON Schema is made. Owns the correspondence of the four; refuses to
//! know what a document means.

mod schema;

use crate::access::Permission;
use crate::diagnostic::{Code, Place, Report};
use crate::pattern::Dialect;
use crate::read::fields::{self, Fields, Form};
use crate::references::Reference;
use crate::syntax::{Data, Member, Node};
use placet_types::ids::{ActorId, Amount, is_label, is_name};
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;

/// What may stand somewhere in a document. The value in the normal form is named with each.
pub(crate) enum Shape {
    /// Text for people of at most so many bytes.
    Prose(usize),
    /// A name: letters, digits, `.`, `_`, `-`, `/`, `:`.
    Name,
    /// An id of letters, digits, `.`, `_` and `-`.
    Id,
    /// Text that a function accepts.
    Matching(&'static Matching),
    /// An integer between two bounds.
    Int(i64, i64),
    /// A duration of up to a year; integer milliseconds in the normal form.
    Duration,
    /// A duration of up to a century; integer milliseconds in the normal form.
    Age,
    /// A JSON Schema of the subset that [`crate::schema`] knows.
    Schema,
    /// An amount: integer or decimal text; decimal text of micro-units in the normal form.
    Amount,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A pattern.
    Pattern(Dialect),
    /// `true` or `false`.
    Bool,
    /// A permission with one of these verbs: `propose:payments.*/transfer`.
    Permission(&'static [&'static str]),
    /// A time of day, `09:00`; minutes since midnight in the normal form.
    TimeOfDay,
    /// An instant, `2026-01-31T09:00:00Z`; integer milliseconds in the normal form.
    Instant,
    /// An actor, `kind:name`.
    Actor,
    /// A name of lower-case letters, digits and `-`: an environment, a workspace.
    Label,
    /// A mapping of JSON that something else gives its meaning.
    Json,
    /// A regular expression.
    Regex,
    /// A condition; read where the facts are known that it may ask for.
    Condition,
    /// Constraints of a permit.
    Constraints,
    /// A distance from UTC, `"+02:00"`; read by `schedule`.
    Offset,
    /// A list of at most 256 in which repetition says nothing.
    Several(&'static Shape),
    /// [`Shape::Several`], or one without brackets.
    OneOrMore(&'static Shape),
    /// A list whose order matters.
    List(&'static Shape),
    /// A list whose order does not matter and in which nothing occurs twice; sorted in the normal form.
    Set(&'static Shape),
    /// A mapping from what the first accepts to the second.
    Map(&'static Shape, &'static Shape),
    /// A mapping with these keys.
    Record(&'static [Field]),
    /// A list of records with a unique `id`; sorted by it in the normal form.
    Entries(&'static [Field]),
}

/// Text that is more than prose.
pub(crate) struct Matching {
    pub(crate) fits: fn(&str) -> bool,
    /// What it is, with its article.
    pub(crate) kind: &'static str,
    /// Words that are surely accepted, for "did you mean".
    pub(crate) known: fn() -> Vec<&'static str>,
    /// What it looks like.
    pub(crate) hint: &'static str,
}

/// One key of a record.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    /// What its texts, or the keys of its mapping, are names of.
    pub(crate) refers: Option<Reference>,
    /// One sentence, for editors.
    pub(crate) doc: &'static str,
}

impl Field {
    pub(crate) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, required: true, refers: None, doc }
    }

    pub(crate) const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, required: false, refers: None, doc }
    }

    /// A key that names what another document declares; `references` compares both.
    pub(crate) const fn refers(self, to: Reference) -> Self {
        let Self { name, shape, required, refers: _, doc } = self;
        Self { name, shape, required, refers: Some(to), doc }
    }
}

/// Most members of a mapping or items of a list, unless a document says less.
const ITEMS_MAX: usize = 20_000;

/// Reads `node`; `None` after an error.
pub(crate) fn read(
    shape: &Shape,
    node: &Node,
    what: &str,
    form: Form,
    report: &mut Report<'_>,
) -> Option<Value> {
    match shape {
        Shape::Prose(most) => fields::prose(node, what, *most, report).map(Value::from),
        Shape::Name => word(node, what, is_name, "a name", report),
        Shape::Id => word(node, what, is_id, "an id", report),
        Shape::Matching(of) => matching(node, what, of, report),
        Shape::Int(least, most) => integer(node, what, *least, *most, report),
        Shape::Duration => fields::duration(node, what, form, report).map(Value::from),
        Shape::Age => fields::age(node, what, form, report).map(Value::from),
        Shape::Schema => crate::schema::read::schema(node, what, report),
        Shape::Amount => amount(node, what, form, report),
        Shape::Word(words) => one_of(node, what, words, report),
        Shape::Pattern(dialect) => pattern(node, what, *dialect, report),
        Shape::Permission(verbs) => permission(node, what, verbs, report),
        Shape::TimeOfDay => time_of_day(node, what, form, report),
        Shape::Instant => instant(node, what, form, report),
        Shape::Regex => regex(node, what, report),
        Shape::Bool => fields::boolean(node, what, report).map(Value::from),
        Shape::Actor => word(node, what, is_actor, "an actor, kind:name", report),
        Shape::Label => word(node, what, is_label, "lower-case letters, digits and -", report),
        Shape::Json => object(node, what, fields::body, report),
        Shape::Constraints => object(node, what, fields::json, report),
        Shape::Condition | Shape::Offset => fields::text(node, what, report).map(|it| it.0.into()),
        Shape::Several(item) | Shape::OneOrMore(item) => set(node, what, item, form, report),
        Shape::List(item) => items(node, what, item, form, report).map(Value::from),
        Shape::Set(item) => set(node, what, item, form, report),
        Shape::Map(key, value) => map(node, what, key, value, form, report),
        Shape::Record(of) => record(node, what, of, form, report).map(Value::Object),
        Shape::Entries(of) => entries(node, what, of, form, report),
    }
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn word(
    node: &Node,
    what: &str,
    fits: fn(&str) -> bool,
    kind: &str,
    report: &mut Report<'_>,
) -> Option<Value> {
    let (text, place) = fields::text(node, what, report)?;
    if fits(&text) {
        return Some(Value::from(text));
    }
    report.error(Code::BadValue, place, format!("`{text}` in `{what}` is not {kind}"));
    None
}

fn matching(node: &Node, what: &str, of: &Matching, report: &mut Report<'_>) -> Option<Value> {
    let (text, place) = fields::text(node, what, report)?;
    if (of.fits)(&text) {
        return Some(Value::from(text));
    }
    let hint = nearest(&text, &(of.known)())
        .map_or_else(|| of.hint.to_owned(), |near| format!("did you mean `{near}`?"));
    report.error_hint(Code::BadValue, place, format!("`{text}` is not {}", of.kind), hint);
    None
}

fn integer(
    node: &Node,
    what: &str,
    least: i64,
    most: i64,
    report: &mut Report<'_>,
) -> Option<Value> {
    let Data::Int(value) = &node.value else {
        let message = format!("`{what}` takes an integer, not {}", node.value.kind());
        report.error(Code::WrongType, node.place, message);
        return None;
    };
    if (least..=most).contains(value) {
        return Some(Value::from(*value));
    }
    report.error(Code::BadValue, node.place, format!("`{what}` lies between {least} and {most}"));
    None
}

/// `12`, `"12"` or `"12.50"`: units with at most six decimals.
fn amount(node: &Node, what: &str, form: Form, report: &mut Report<'_>) -> Option<Value> {
    let micro = match (&node.value, form) {
        (Data::Int(units), Form::Document) => units.checked_mul(1_000_000).filter(|it| *it >= 0),
        (Data::Text { text, .. }, Form::Document) => micro_units(text),
        (Data::Text { text, .. }, Form::Normal) => {
            Amount::parse(text).map(|it| it.0).filter(|it| *it >= 0)
        }
        _ => None,
    };
    if let Some(micro) = micro {
        return Some(Value::from(micro.to_string()));
    }
    let message = format!("`{what}` takes an amount that is not negative");
    let hint = "an integer, or a decimal in quotes with at most six decimals: \"12.50\"";
    report.error_hint(Code::BadValue, node.place, message, hint);
    None
}

fn micro_units(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part = format!("{part:0<6}").parse::<i64>().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

fn one_of(node: &Node, what: &str, words: &[&str], report: &mut Report<'_>) -> Option<Value> {
    let (text, place) = fields::text(node, what, report)?;
    if words.contains(&text.as_str()) {
        return Some(Value::from(text));
    }
    let hint = nearest(&text, words).map_or_else(
        || format!("known are {}", words.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    report.error_hint(Code::BadValue, place, format!("unknown `{what}`: `{text}`"), hint);
    None
}

fn pattern(node: &Node, what: &str, dialect: Dialect, report: &mut Report<'_>) -> Option<Value> {
    let (text, place) = fields::text(node, what, report)?;
    match dialect.parse(&text) {
        Ok(_) => Some(Value::from(text)),
        Err(refusal) => {
            let message = format!("bad pattern `{text}` in `{what}`: {}", refusal.message);
            report.push(Code::BadPattern, crate::Severity::Error, place, message, refusal.hint);
            None
        }
    }
}

fn regex(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Value> {
    let text = fields::prose(node, what, 1024, report)?;
    if !report.expression(node.place) {
        return None;
    }
    match crate::schema::regex(&text) {
        Ok(_) => Some(Value::from(text)),
        Err(why) => {
            let message = format!("bad regular expression in `{what}`: {why}");
            report.error(Code::BadPattern, node.place, message);
            None
        }
    }
}

fn permission(node: &Node, what: &str, verbs: &[&str], report: &mut Report<'_>) -> Option<Value> {
    let (text, place) = fields::text(node, what, report)?;
    match Permission::parse(&text) {
        Ok(it) if verbs.contains(&it.verb.as_str()) => Some(Value::from(text)),
        Ok(it) => {
            let message = format!("`{what}` does not take `{}` permissions", it.verb.as_str());
            let hint = format!("verbs are {} here", verbs.join(", "));
            report.error_hint(Code::BadValue, place, message, hint);
            None
        }
        Err(why) => {
            let hint = format!(
                "a verb ({}), a colon, surfaces and perhaps a slash and actions: propose:payments.*/transfer",
                verbs.join(", ")
            );
            let message = format!("`{text}` in `{what}` is no permission: {why}");
            report.error_hint(Code::BadPattern, place, message, hint);
            None
        }
    }
}

/// `24:00` ends a day.
fn time_of_day(node: &Node, what: &str, form: Form, report: &mut Report<'_>) -> Option<Value> {
    let minutes = match (&node.value, form) {
        (Data::Int(minutes), Form::Normal) => Some(*minutes).filter(|it| (0..=1440).contains(it)),
        (Data::Text { text, .. }, Form::Document) => minutes_of_day(text),
        _ => None,
    };
    if minutes.is_none() {
        let message = format!("`{what}` takes a time of day");
        report.error_hint(Code::BadValue, node.place, message, "in quotes: \"09:00\"");
    }
    minutes.map(Value::from)
}

fn is_actor(text: &str) -> bool {
    ActorId::parse(text).is_some()
}

fn object(
    node: &Node,
    what: &str,
    read: fn(&Node, &mut Report<'_>) -> Option<Value>,
    report: &mut Report<'_>,
) -> Option<Value> {
    if !matches!(node.value, Data::Map(_)) {
        let message = format!("`{what}` takes a mapping, not {}", node.value.kind());
        report.error(Code::WrongType, node.place, message);
        return None;
    }
    read(node, report)
}

fn instant(node: &Node, what: &str, form: Form, report: &mut Report<'_>) -> Option<Value> {
    let ms = match (&node.value, form) {
        (Data::Int(ms), Form::Normal) => Some(*ms).filter(|ms| (0..=INSTANT_MAX).contains(ms)),
        (Data::Text { text, .. }, Form::Document) => parse_instant(text),
        _ => None,
    };
    if ms.is_none() {
        let message = format!("`{what}` takes an instant in UTC between 1970 and 9999");
        report.error_hint(Code::BadValue, node.place, message, "2026-01-31T09:00:00Z");
    }
    ms.map(Value::from)
}

/// The last millisecond of the year 9999.
const INSTANT_MAX: i64 = 253_402_300_799_999;

/// `2026-01-31T09:00:00Z`, with up to three decimals of a second.
fn parse_instant(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (hms, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = |text: &str, length: usize| {
        let fits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<i64>().ok())?
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let mut parts = hms.splitn(3, ':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if !(1..=3).contains(&fraction.len()) {
        return None;
    }
    let milli = digits(&format!("{fraction:0<3}"), 3)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01, counting years from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli)
}

pub(crate) fn minutes_of_day(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>())
    };
    let (hours, minutes) = (two(hours)?.ok()?, two(minutes)?.ok()?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && all <= 1440).then_some(all)
}

fn items(
    node: &Node,
    what: &str,
    item: &Shape,
    form: Form,
    report: &mut Report<'_>,
) -> Option<Vec<Value>> {
    let Data::List(nodes) = &node.value else {
        let message = format!("`{what}` takes a list, not {}", node.value.kind());
        let hint = match &node.value {
            Data::Text { text, .. } => format!("write [\"{text}\"]"),
            _ => "write a list, or leave the key out".to_owned(),
        };
        report.error_hint(Code::WrongType, node.place, message, hint);
        return None;
    };
    if nodes.len() > ITEMS_MAX {
        report.error(Code::Bound, node.place, format!("`{what}` takes at most {ITEMS_MAX} items"));
        return None;
    }
    // All of them, so that every fault is named.
    let read: Vec<_> = nodes.iter().map(|node| read(item, node, what, form, report)).collect();
    read.into_iter().collect()
}

fn set(
    node: &Node,
    what: &str,
    item: &Shape,
    form: Form,
    report: &mut Report<'_>,
) -> Option<Value> {
    let mut values: Vec<(Vec<u8>, Value)> = items(node, what, item, form, report)?
        .into_iter()
        .map(|value| (value.to_canonical(), value))
        .collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    values.dedup_by(|a, b| a.0 == b.0);
    Some(Value::Array(values.into_iter().map(|(_, value)| value).collect()))
}

fn map(
    node: &Node,
    what: &str,
    key: &Shape,
    value: &Shape,
    form: Form,
    report: &mut Report<'_>,
) -> Option<Value> {
    let Data::Map(members) = &node.value else {
        let message = format!("`{what}` takes a mapping, not {}", node.value.kind());
        let hint = matches!(node.value, Data::Null).then(|| format!("write `{what}: {{}}`"));
        report.push(Code::WrongType, crate::Severity::Error, node.place, message, hint);
        return None;
    };
    if members.len() > ITEMS_MAX {
        report.error(Code::Bound, node.place, format!("`{what}` takes at most {ITEMS_MAX} keys"));
        return None;
    }
    let mut out = Object::new();
    let mut sound = true;
    for member in members {
        let name = Node {
            place: member.place,
            value: Data::Text { text: member.key.clone(), plain: false },
        };
        // `name:` with nothing after it is a record with defaults.
        let empty = Node { place: member.value.place, value: Data::Map(Vec::new()) };
        let null = matches!((&member.value.value, value), (Data::Null, Shape::Record(_)));
        let node = if null { &empty } else { &member.value };
        let known = read(key, &name, what, form, report);
        match (known, read(value, node, &member.key, form, report)) {
            (Some(_), Some(value)) => {
                out.set(member.key.as_str(), value);
            }
            _ => sound = false,
        }
    }
    sound.then_some(Value::Object(out))
}

fn record(
    node: &Node,
    what: &str,
    of: &[Field],
    form: Form,
    report: &mut Report<'_>,
) -> Option<Object> {
    let mut members = Fields::open(node, &format!("`{what}`"), report)?;
    let mut out = Object::new();
    let mut sound = true;
    for field in of {
        match members.take(field.name) {
            Some(node) => match read(&field.shape, node, field.name, form, report) {
                Some(value) => {
                    out.set(field.name, value);
                }
                None => sound = false,
            },
            None if field.required => {
                let message = format!("`{}` of `{what}` is missing", field.name);
                report.error_hint(Code::MissingKey, node.place, message, field.doc);
                sound = false;
            }
            None => {}
        }
    }
    let known: Vec<&str> = of.iter().map(|field| field.name).collect();
    members.refuse_rest(&format!("`{what}`"), &known, report);
    sound.then_some(out)
}

/// The records of a list with their ids and the places of these, as read one by one.
pub(crate) fn id_of(node: &Node) -> Option<&Member> {
    match &node.value {
        Data::Map(members) => members.iter().find(|member| member.key == "id"),
        _ => None,
    }
}

fn entries(
    node: &Node,
    what: &str,
    of: &[Field],
    form: Form,
    report: &mut Report<'_>,
) -> Option<Value> {
    let Data::List(nodes) = &node.value else {
        let message = format!("`{what}` takes a list, not {}", node.value.kind());
        let hint = matches!(node.value, Data::Null).then(|| format!("write `{what}: []`"));
        report.push(Code::WrongType, crate::Severity::Error, node.place, message, hint);
        return None;
    };
    if nodes.len() > ITEMS_MAX {
        report.error(Code::Bound, node.place, format!("`{what}` takes at most {ITEMS_MAX} items"));
        return None;
    }
    let mut out: Vec<(String, Object)> = Vec::with_capacity(nodes.len());
    let mut places: std::collections::BTreeMap<String, Place> = std::collections::BTreeMap::new();
    let mut sound = true;
    for node in nodes {
        let Some(object) = record(node, what, of, form, report) else {
            sound = false;
            continue;
        };
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = id_of(node).map_or(node.place, |member| member.value.place);
        if let Some(first) = places.get(&id) {
            duplicate(&id, what, *first, place, report);
            sound = false;
            continue;
        }
        places.insert(id.clone(), place);
        out.push((id, object));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    sound.then(|| Value::Array(out.into_iter().map(|(_, object)| Value::Object(object)).collect()))
}

/// Says that an id stands twice.
pub(crate) fn duplicate(id: &str, what: &str, first: Place, place: Place, report: &mut Report<'_>) {
    let file = report.source_name(first);
    let (line, column) = (first.line, first.column);
    let message = format!("duplicate `{id}` in `{what}`, first in {file}:{line}:{column}");
    report.error_hint(Code::DuplicateId, place, message, "ids are unique in the whole bundle");
}
