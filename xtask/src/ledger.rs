//! What the crash test was told and therefore holds the server to. Owns the comparison of answers
//! across restarts; knows neither processes nor connections.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// What an answer says about the permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// There is none.
    None,
    /// Here it is: the caller may execute.
    Granted(String),
    /// There is or was one, and this answer does not hand it out: `consumed`, `expired`, ….
    Withheld(String),
}

/// A decision as the server answered it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Decision id.
    pub(crate) id: String,
    /// Outcome.
    pub(crate) outcome: String,
    /// Log index.
    pub(crate) index: u64,
    /// Permit.
    pub(crate) permit: Permit,
    /// The receipt, when it was asked for.
    pub(crate) receipt: Option<String>,
}

impl Answer {
    /// Reads the decision document of the API.
    ///
    /// # Errors
    /// When a member is missing or of another type.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(body).context("the answer is no JSON")?;
        let text = |name: &str| match value[name].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => bail!("the answer has no text `{name}`: {value}"),
        };
        let permit = match &value["permit"] {
            Value::Null => Permit::None,
            Value::String(state) => Permit::Withheld(state.clone()),
            Value::Object(permit) => {
                let text = |name: &str| permit.get(name).and_then(Value::as_str).map(str::to_owned);
                match (text("state"), text("id")) {
                    (Some(state), _) if state != "granted" => Permit::Withheld(state),
                    (_, Some(id)) => Permit::Granted(id),
                    (_, None) => bail!("the permit has no id: {value}"),
                }
            }
            other => bail!("`permit` is neither an object nor a word: {other}"),
        };
        Ok(Self {
            id: text("id")?,
            outcome: text("outcome")?,
            index: value["log"]["index"].as_u64().context("the answer has no `log.index`")?,
            permit,
            receipt: value["receipt"].as_str().map(str::to_owned),
        })
    }
}

/// Size and root of the tree that a receipt's checkpoint signs, and the index it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Index of the entry.
    pub(crate) index: u64,
    /// Origin of the log.
    pub(crate) origin: String,
    /// Size of the tree.
    pub(crate) size: u64,
    /// Root in base64.
    pub(crate) root: String,
}

impl Sealed {
    /// Reads a C2SP `tlog-proof@v1`. Verifies nothing.
    ///
    /// # Errors
    /// When a line is missing.
    pub(crate) fn parse(receipt: &str) -> Result<Self> {
        let (proof, note) = receipt.split_once("\n\n").context("a receipt without checkpoint")?;
        let index = proof.lines().find_map(|line| line.strip_prefix("index "));
        let mut note = note.lines();
        let mut line = || note.next().map(str::to_owned).context("a checkpoint that is cut off");
        Ok(Self {
            index: index.context("a receipt without index")?.parse()?,
            origin: line()?,
            size: line()?.parse().context("a checkpoint without size")?,
            root: line()?,
        })
    }
}

/// An acknowledged request.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    /// Number of the request; its body follows from it.
    pub(crate) serial: u64,
    /// First answer.
    pub(crate) answer: Answer,
}

/// Everything that was acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    all: Vec<Acked>,
    ids: HashMap<String, u64>,
    indices: HashMap<u64, u64>,
    serials: HashMap<u64, usize>,
    permits: HashMap<String, u64>,
    roots: BTreeMap<u64, String>,
    origin: Option<String>,
}

impl Ledger {
    /// Number of decisions.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The decisions in the order in which they were added.
    pub(crate) fn all(&self) -> &[Acked] {
        &self.all
    }

    /// Root by size, of every checkpoint that was seen.
    pub(crate) fn roots(&self) -> &BTreeMap<u64, String> {
        &self.roots
    }

    /// Writes down an acknowledged request.
    ///
    /// # Errors
    /// When it contradicts an earlier one: an id, an index or a permit given to two requests.
    pub(crate) fn add(&mut self, acked: Acked) -> Result<()> {
        let Acked { serial, answer } = &acked;
        if let Some(known) = self.serials.get(serial) {
            return same(&self.all[*known].answer, answer);
        }
        if let Some(other) = self.ids.insert(answer.id.clone(), *serial) {
            bail!("requests {other} and {serial} were both answered with {}", answer.id);
        }
        if let Some(other) = self.indices.insert(answer.index, *serial) {
            bail!("requests {other} and {serial} both stand at index {}", answer.index);
        }
        if let Permit::Granted(id) = &answer.permit
            && let Some(other) = self.permits.insert(id.clone(), *serial)
        {
            bail!("requests {other} and {serial} were both given {id}");
        }
        if let Some(receipt) = &answer.receipt {
            self.seal(answer.index, receipt)?;
        }
        self.serials.insert(*serial, self.all.len());
        self.all.push(Acked { answer: Answer { receipt: None, ..answer.clone() }, ..acked });
        Ok(())
    }

    /// Writes down the permit of a held action.
    ///
    /// # Errors
    /// When another request has it.
    pub(crate) fn permit(&mut self, permit: &str, serial: u64) -> Result<()> {
        match self.permits.insert(permit.to_owned(), serial) {
            Some(other) if other != serial => {
                bail!("requests {other} and {serial} were both given {permit}")
            }
            _ => Ok(()),
        }
    }

    /// Writes down the checkpoint of a receipt for the entry at `index`.
    ///
    /// # Errors
    /// When the receipt is for another entry or contradicts an earlier checkpoint.
    pub(crate) fn seal(&mut self, index: u64, receipt: &str) -> Result<()> {
        let sealed = Sealed::parse(receipt)?;
        if sealed.index != index || sealed.size <= index {
            bail!("the receipt for index {index} is for {} of {}", sealed.index, sealed.size);
        }
        if self.origin.get_or_insert_with(|| sealed.origin.clone()) != &sealed.origin {
            bail!("the origin of the log has changed to {}", sealed.origin);
        }
        let root = self.roots.entry(sealed.size).or_insert_with(|| sealed.root.clone());
        if *root != sealed.root {
            bail!("two roots were signed for size {}: {root} and {}", sealed.size, sealed.root);
        }
        Ok(())
    }
}

/// Whether a held action was approved and its permit collected since.
pub(crate) fn collected(before: &Answer, now: &Answer) -> bool {
    before.outcome == "REQUIRE_APPROVAL" && now.outcome == "PERMIT" && now.permit != Permit::None
}

/// Whether `now` is the decision that was answered as `before`.
///
/// # Errors
/// Names what differs.
pub(crate) fn same(before: &Answer, now: &Answer) -> Result<()> {
    if before.id != now.id {
        bail!("{} became {}", before.id, now.id);
    }
    if before.outcome != now.outcome && !collected(before, now) {
        bail!("{}: {} became {}", before.id, before.outcome, now.outcome);
    }
    if before.index != now.index {
        bail!("{}: index {} became {}", before.id, before.index, now.index);
    }
    match (&before.permit, &now.permit) {
        (Permit::Granted(before), Permit::Granted(now)) if before != now => {
            bail!("permit {before} became {now}")
        }
        (Permit::None, Permit::Granted(permit)) => bail!("{}: permit {permit} appeared", now.id),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str, index: u64, permit: Permit) -> Answer {
        Answer { id: id.into(), outcome: "PERMIT".into(), index, permit, receipt: None }
    }

    fn receipt(index: u64, size: u64, root: &str) -> String {
        format!(
            "c2sp.org/tlog-proof@v1\nextra AA==\nindex {index}\nAA==\n\nplacet/i/w\n{size}\n{root}\n\n— x y\n"
        )
    }

    #[test]
    fn answers_are_read() {
        let body =
            br#"{"id":"dec_1","outcome":"PERMIT","log":{"index":7},"permit":{"id":"pmt_1"}}"#;
        let read = Answer::parse(body).unwrap();
        assert_eq!((read.index, read.permit), (7, Permit::Granted("pmt_1".into())));
        for permit in [r#""consumed""#, r#"{"state":"consumed","id":"pmt_1"}"#] {
            let body =
                format!(r#"{{"id":"d","outcome":"PERMIT","log":{{"index":7}},"permit":{permit}}}"#);
            let read = Answer::parse(body.as_bytes()).unwrap();
            assert_eq!(read.permit, Permit::Withheld("consumed".into()));
        }
        for bad in [
            &br#"{"outcome":"PERMIT","log":{"index":7},"permit":null}"#[..],
            br#"{"id":"d","outcome":"PERMIT","permit":null}"#,
            br#"{"id":"d","outcome":"PERMIT","log":{"index":7},"permit":{"state":"granted"}}"#,
            b"nothing",
        ] {
            assert!(Answer::parse(bad).is_err());
        }
    }

    #[test]
    fn contradictions_are_found() {
        let add = |ledger: &mut Ledger, serial, answer| ledger.add(Acked { serial, answer });
        let mut ledger = Ledger::default();
        add(&mut ledger, 1, answer("d1", 1, Permit::Granted("p1".into()))).unwrap();
        add(&mut ledger, 1, answer("d1", 1, Permit::Withheld("consumed".into()))).unwrap();
        assert_eq!(ledger.len(), 1);
        let p1 = || Permit::Granted("p1".into());
        for (serial, bad, what) in [
            (2, answer("d1", 2, Permit::None), "both answered"),
            (3, answer("d3", 1, Permit::None), "both stand"),
            (4, answer("d4", 4, p1()), "both given"),
            (1, answer("d9", 1, p1()), "became"),
            (1, answer("d1", 9, p1()), "became"),
            (1, answer("d1", 1, Permit::Granted("p2".into())), "became"),
        ] {
            let error = add(&mut ledger, serial, bad).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let lost = Answer { outcome: "DENY".into(), ..answer("d1", 1, p1()) };
        assert!(same(&ledger.all()[0].answer, &lost).is_err());
        assert!(same(&answer("d", 1, Permit::None), &answer("d", 1, p1())).is_err());
    }

    #[test]
    fn a_size_has_one_root() {
        let mut ledger = Ledger::default();
        ledger.seal(3, &receipt(3, 5, "A")).unwrap();
        ledger.seal(4, &receipt(4, 5, "A")).unwrap();
        assert_eq!(ledger.roots().len(), 1);
        assert!(ledger.seal(4, &receipt(4, 5, "B")).is_err());
        assert!(ledger.seal(4, &receipt(3, 5, "A")).is_err());
        assert!(ledger.seal(5, &receipt(5, 5, "A")).is_err());
        assert!(ledger.seal(4, &receipt(4, 6, "C").replace("placet/i/w", "placet/j/w")).is_err());
        assert!(ledger.seal(4, "c2sp.org/tlog-proof@v1\nindex 4\n").is_err());
    }
}
