//! The figures of a workspace in a snapshot.

use crate::codec::{Code, Reader, Writer};
use crate::measures::{Gate, Latency, Measures, RuleUse, SurfaceUse, Surfaces, Tally};
use alloc::string::String;
use placet_types::policy::Reason;

fn put_counts(w: &mut Writer<'_>, counts: &[u64]) {
    counts.iter().for_each(|count| w.put(count));
}

fn get_counts<const N: usize>(r: &mut Reader<'_>) -> Option<[u64; N]> {
    let mut counts = [0; N];
    for count in &mut counts {
        *count = r.get()?;
    }
    Some(counts)
}

impl Code for Measures {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { began, total, hours, surfaces, rules } = self;
        w.put(began);
        w.put(total);
        w.list(hours.iter(), |w, (hour, tally)| {
            w.put(hour);
            w.put(tally);
        });
        w.put(surfaces);
        w.put(rules);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            began: r.get()?,
            total: r.get()?,
            hours: r.rising(|(hour, _)| hour, |r| Some((r.get()?, r.get()?)))?,
            surfaces: r.get()?,
            rules: r.get()?,
        })
    }
}

impl Code for Tally {
    fn put(&self, w: &mut Writer<'_>) {
        self.counts().for_each(|count| w.put(count));
        w.put(&self.latency);
        w.list(self.refused.iter(), |w, (reason, count)| {
            w.put(reason);
            w.put(count);
        });
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut tally = Self::default();
        for count in tally.counts_mut() {
            *count = r.get()?;
        }
        tally.latency = r.get()?;
        tally.refused = r.rising(|(reason, _)| reason, |r| Some((r.get()?, r.get()?)))?;
        Some(tally)
    }
}

impl Code for Reason {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&String::from(self.as_str()));
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(&r.get::<String>()?)
    }
}

impl Code for Latency {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { count, sum_ms, max_ms, places } = self;
        put_counts(w, &[*count, *sum_ms, *max_ms]);
        put_counts(w, places);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let [count, sum_ms, max_ms] = get_counts(r)?;
        Some(Self { count, sum_ms, max_ms, places: get_counts(r)? })
    }
}

impl Code for Surfaces {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { named, others, unknown, unknown_last } = self;
        w.list(named.iter(), |w, (name, seen)| {
            w.put(name);
            w.put(seen);
        });
        w.put(others);
        w.put(unknown);
        w.put(unknown_last);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            named: r.rising(|(name, _)| name, |r| Some((r.get()?, r.get()?)))?,
            others: r.get()?,
            unknown: r.get()?,
            unknown_last: r.get()?,
        })
    }
}

impl Code for SurfaceUse {
    fn put(&self, w: &mut Writer<'_>) {
        let Self {
            decisions,
            decided_last,
            rejected,
            consumed,
            reported,
            passages,
            passage_last,
            heard_last,
            gates,
            other_gates,
        } = self;
        put_counts(w, decisions);
        w.put(decided_last);
        put_counts(w, &[*rejected, *consumed]);
        put_counts(w, reported);
        put_counts(w, passages);
        w.put(passage_last);
        w.put(heard_last);
        w.list(gates.iter(), |w, (who, gate)| {
            w.put(who);
            w.put(gate);
        });
        w.put(other_gates);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let (decisions, decided_last) = (get_counts(r)?, r.get()?);
        let [rejected, consumed] = get_counts(r)?;
        Some(Self {
            decisions,
            decided_last,
            rejected,
            consumed,
            reported: get_counts(r)?,
            passages: get_counts(r)?,
            passage_last: r.get()?,
            heard_last: r.get()?,
            gates: r.rising(|(who, _)| who, |r| Some((r.get()?, r.get()?)))?,
            other_gates: r.get()?,
        })
    }
}

impl Code for Gate {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { permits, consumed, reported, passages, heard_last } = self;
        put_counts(w, &[*permits, *consumed, *reported, *passages]);
        w.put(heard_last);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let [permits, consumed, reported, passages] = get_counts(r)?;
        Some(Self { permits, consumed, reported, passages, heard_last: r.get()? })
    }
}

impl Code for RuleUse {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { since, matched, decisions, cut, beyond } = self;
        w.put(since);
        w.list(matched.iter(), |w, (rule, count)| {
            w.put(rule);
            w.put(count);
        });
        put_counts(w, &[*decisions, *cut, *beyond]);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let since = r.get()?;
        let matched = r.rising(|(rule, _)| rule, |r| Some((r.get()?, r.get()?)))?;
        let [decisions, cut, beyond] = get_counts(r)?;
        Some(Self { since, matched, decisions, cut, beyond })
    }
}
