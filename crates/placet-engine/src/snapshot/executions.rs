//! Executions in a snapshot.

use crate::codec::{Code, Reader, Writer};
use crate::executions::{Execution, ExecutionState, Executions, Places};
use alloc::collections::BTreeMap;
use alloc::string::String;
use placet_types::event::ExecutionStarted;
use placet_types::ids::ExecutionId;

impl Code for ExecutionState {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&String::from(self.as_str()));
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(&r.get::<String>()?)
    }
}

impl Code for Execution {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { started, index, since, queued, scopes, steps, waiting, ended } = self;
        let ExecutionStarted {
            execution,
            index: decided,
            by,
            on_behalf_of,
            capability,
            branch,
            parent,
            max_concurrent,
            max_runtime_sec,
            max_steps,
            leads_to,
        } = started;
        w.put(execution);
        w.put(decided);
        w.put(by);
        w.list(on_behalf_of.iter(), Writer::put);
        w.put(capability);
        w.put(branch);
        w.put(parent);
        w.put(max_concurrent);
        w.put(max_runtime_sec);
        w.put(max_steps);
        w.list(leads_to.iter(), Writer::put);
        w.put(index);
        w.put(since);
        w.put(queued);
        w.put(scopes);
        w.put(steps);
        w.put(waiting);
        w.put(&ended.is_some());
        if let Some((state, at)) = ended {
            w.put(state);
            w.put(at);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            started: ExecutionStarted {
                execution: r.get()?,
                index: r.get()?,
                by: r.get()?,
                on_behalf_of: r.list(Reader::get)?,
                capability: r.get()?,
                branch: r.get()?,
                parent: r.get()?,
                max_concurrent: r.get()?,
                max_runtime_sec: r.get()?,
                max_steps: r.get()?,
                leads_to: r.list(Reader::get)?,
            },
            index: r.get()?,
            since: r.get()?,
            queued: r.get()?,
            scopes: r.get()?,
            steps: r.get()?,
            waiting: r.get()?,
            ended: if r.get()? { Some((r.get()?, r.get()?)) } else { None },
        })
    }
}

impl Code for Executions {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.values(), Writer::put);
        w.list(self.finals.iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let all: BTreeMap<ExecutionId, Execution> = r.rising(
            |(id, _)| id,
            |r| {
                let execution = r.get::<Execution>()?;
                Some((execution.started.execution, execution))
            },
        )?;
        let over = all.values().filter_map(|it| it.ended);
        let killed = over.filter(|(state, _)| state.is_killed()).count();
        let mut places = Places::default();
        for execution in all.values().filter(|it| it.ended.is_none()) {
            places.insert(execution);
        }
        Some(Self { all, finals: r.list(Reader::get)?, killed, places })
    }
}
