//! Trips, drills and gates in a snapshot.

use crate::codec::{Code, Reader, Writer};
use crate::trips::{Acknowledgement, TripRecord, Trips};
use alloc::string::{String, ToString};
use placet_types::event::{KillScope, KillSource, OverrideMode};

impl Code for Trips {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { all, gates, unlisted, swept } = self;
        w.list(all.values(), Writer::put);
        w.list(gates.iter(), |w, (gate, heard)| {
            w.put(gate);
            w.put(heard);
        });
        w.put(unlisted);
        w.put(swept);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            all: r.rising(
                |(index, _)| index,
                |r| {
                    let record = r.get::<TripRecord>()?;
                    Some((record.index, record))
                },
            )?,
            gates: r.rising(|(gate, _)| gate, |r| Some((r.get()?, r.get()?)))?,
            unlisted: r.get()?,
            swept: r.get()?,
        })
    }
}

impl Code for TripRecord {
    fn put(&self, w: &mut Writer<'_>) {
        let Self {
            index,
            since,
            scope,
            mode,
            source,
            by,
            permits_ended,
            approvals_barred,
            waiting_told,
            executions_ended,
            unreported,
            overtaken,
            lifted,
            acknowledged,
        } = self;
        w.put(index);
        w.put(since);
        w.put(&scope.to_string());
        w.put(&String::from(mode.as_str()));
        w.put(&source.map(|source| String::from(source.as_str())));
        w.put(by);
        w.put(permits_ended);
        w.put(approvals_barred);
        w.put(waiting_told);
        w.put(executions_ended);
        w.put(unreported);
        w.put(overtaken);
        w.put(&lifted.map(|(time, _)| time));
        w.put(&lifted.map(|(_, index)| index));
        w.list(acknowledged.iter(), |w, (gate, said)| {
            let Acknowledgement { time, index, stopped, unreachable } = said;
            w.put(gate);
            w.put(time);
            w.put(index);
            w.put(stopped);
            w.put(unreachable);
        });
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            since: r.get()?,
            scope: KillScope::parse(&r.get::<String>()?)?,
            mode: OverrideMode::parse(&r.get::<String>()?)?,
            source: match r.get::<Option<String>>()? {
                None => None,
                Some(source) => Some(KillSource::parse(&source)?),
            },
            by: r.get()?,
            permits_ended: r.get()?,
            approvals_barred: r.get()?,
            waiting_told: r.get()?,
            executions_ended: r.get()?,
            unreported: r.get()?,
            overtaken: r.get()?,
            lifted: match (r.get()?, r.get()?) {
                (None, None) => None,
                (Some(time), Some(index)) => Some((time, index)),
                _ => return None,
            },
            acknowledged: r.rising(
                |(gate, _)| gate,
                |r| {
                    let gate = r.get()?;
                    let said = Acknowledgement {
                        time: r.get()?,
                        index: r.get()?,
                        stopped: r.get()?,
                        unreachable: r.get()?,
                    };
                    Some((gate, said))
                },
            )?,
        })
    }
}
