//! Sessions in a snapshot. What can be derived from them is, and is not written.

use crate::codec::{Code, Reader, Writer};
use crate::sessions::{Person, Session, Sessions};
use alloc::vec::Vec;
use placet_types::event::{SessionOpened, TokenUse};

impl Code for Sessions {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.values(), Writer::put);
        w.list(self.people.iter(), |w, (actor, person)| {
            w.put(actor);
            w.put(&person.roles);
            w.put(&person.until);
        });
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut sessions = Self::default();
        let all: Vec<Session> = r.rising(|it: &Session| &it.opened.principal.key, Reader::get)?;
        for session in all {
            sessions.insert(session);
        }
        sessions.people = r.rising(
            |(actor, _)| actor,
            |r| Some((r.get()?, Person { roles: r.get()?, until: r.get()? })),
        )?;
        Some(sessions)
    }
}

impl Code for Session {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, opened, closed } = self;
        let SessionOpened { principal, issuer, expires, chain, parent, token } = opened;
        w.put(index);
        w.put(principal);
        w.put(issuer);
        w.put(expires);
        w.list(chain.iter(), Writer::put);
        w.put(parent);
        w.put(token);
        w.put(closed);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            opened: SessionOpened {
                principal: r.get()?,
                issuer: r.get()?,
                expires: r.get()?,
                chain: r.list(Reader::get)?,
                parent: r.get()?,
                token: r.get()?,
            },
            closed: r.get()?,
        })
    }
}

impl Code for TokenUse {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { hash, until } = self;
        w.put(hash);
        w.put(until);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { hash: r.get()?, until: r.get()? })
    }
}
