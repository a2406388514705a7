//! The saved form of what is tripped and what that reaches.

use crate::codec::{Code, Reader, Writer};
use crate::covering::Scopes;
use crate::overrides::Overrides;
use crate::state::KillState;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use placet_types::event::{KillScope, KillSource, OverrideMode};

impl Code for KillScope {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.to_string());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(&r.get::<String>()?)
    }
}

impl Code for OverrideMode {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&String::from(self.as_str()));
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(&r.get::<String>()?)
    }
}

impl Code for Arc<[KillScope]> {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.rising(|scope| scope, Reader::get::<KillScope>)
    }
}

/// Writes scopes, or that they are the last ones: what is held in a row mostly has the same.
pub(super) fn put_scopes<'s>(
    w: &mut Writer<'_>,
    scopes: &'s Scopes,
    last: &mut Option<&'s Scopes>,
) {
    let same = *last == Some(scopes);
    w.put(&same);
    if !same {
        w.put(scopes);
        *last = Some(scopes);
    }
}

/// Reads what [`put_scopes`] wrote; equal ones in a row are one.
pub(super) fn get_scopes(r: &mut Reader<'_>, last: &mut Option<Scopes>) -> Option<Scopes> {
    if r.get()? {
        return last.clone();
    }
    let scopes: Scopes = r.get()?;
    if last.as_ref() == Some(&scopes) {
        return None;
    }
    *last = Some(scopes.clone());
    Some(scopes)
}

impl Code for KillState {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { mode, since, index, source, lift } = self;
        w.put(mode);
        w.put(since);
        w.put(index);
        w.put(&String::from(source.as_str()));
        w.put(&lift.is_some());
        if let Some((by, not_before)) = lift {
            w.put(by);
            w.put(not_before);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            mode: r.get()?,
            since: r.get()?,
            index: r.get()?,
            source: KillSource::parse(&r.get::<String>()?)?,
            lift: if r.get()? { Some((r.get()?, r.get()?)) } else { None },
        })
    }
}

impl Code for Overrides {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.iter(), |w, (scope, state)| {
            w.put(scope);
            w.put(state);
        });
        w.list(self.past.iter(), |w, (scope, (at, mode))| {
            w.put(scope);
            w.put(at);
            w.put(mode);
        });
        w.put(&self.floor);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            all: r.rising(|(scope, _)| scope, |r| Some((r.get()?, r.get()?)))?,
            past: r.rising(|(scope, _)| scope, |r| Some((r.get()?, (r.get()?, r.get()?))))?,
            floor: r.get()?,
            ..Self::default()
        })
    }
}

impl Overrides {
    /// Whether it points at no entry beyond `size`.
    pub(super) fn is_within(&self, size: u64) -> bool {
        self.floor <= size
            && self.all.values().all(|it| it.index < size)
            && self.past.values().all(|(at, _)| *at < size)
    }
}
