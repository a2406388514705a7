//! The part of a snapshot that is about exceptions.

use crate::codec::{Code, Reader, Writer};
use crate::exceptions::{Exception, ExceptionStanding, Exceptions, Reviewed};
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::ExceptionOpened;

impl Code for Exceptions {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.values(), Writer::put);
        w.put(&self.passages);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let all: Vec<Exception> = r.rising(|it: &Exception| &it.opened.exception, Reader::get)?;
        let mut exceptions = Self::default();
        exceptions.passages = r.get()?;
        for exception in all {
            exceptions.insert(exception);
        }
        Some(exceptions)
    }
}

impl Code for Exception {
    fn put(&self, w: &mut Writer<'_>) {
        // The rule follows from what was opened.
        let Self {
            opened,
            index,
            since,
            uses,
            first,
            last,
            standing,
            ended,
            closed_by,
            reviewed,
            rule: _,
        } = self;
        w.bytes(&opened.to_bytes());
        w.put(index);
        w.put(since);
        w.put(uses);
        w.put(first);
        w.put(last);
        w.put(&standing.code());
        w.put(ended);
        w.put(closed_by);
        w.put(reviewed);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let opened = Arc::new(ExceptionOpened::from_bytes(r.bytes()?)?);
        let exception = Self::new(opened, r.get()?, r.get()?);
        Some(Self {
            uses: r.get()?,
            first: r.get()?,
            last: r.get()?,
            standing: ExceptionStanding::of_code(r.get()?)?,
            ended: r.get()?,
            closed_by: r.get()?,
            reviewed: r.get()?,
            ..exception
        })
    }
}

impl Code for Reviewed {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { by, at, justified } = self;
        w.put(by);
        w.put(at);
        w.put(justified);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { by: r.get()?, at: r.get()?, justified: r.get()? })
    }
}
