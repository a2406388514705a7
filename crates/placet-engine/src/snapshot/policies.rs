//! The part of a snapshot that is about bundles.

use crate::codec::{Code, Reader, Writer};
use crate::constitution::Reach;
use crate::policies::{Armed, Author, Draft, Policies, Review};
use alloc::string::String;
use placet_types::event::{Arming, BundleArmed, Signed};

impl Code for Policies {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { armed, drafts, withdrawn, reviews, authors } = self;
        w.list(armed.iter(), Writer::put);
        w.list(drafts.iter(), |w, (bundle, draft)| {
            w.put(bundle);
            w.put(draft);
        });
        w.list(withdrawn.iter(), Writer::put);
        w.list(reviews.values(), Writer::put);
        w.list(authors.values(), Writer::put);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            armed: r.list(Reader::get)?,
            drafts: r.rising(|(bundle, _)| bundle, |r| Some((r.get()?, r.get()?)))?,
            withdrawn: r.rising(|bundle| bundle, Reader::get)?,
            reviews: r.rising(
                |(decision, _)| decision,
                |r| {
                    let review = r.get::<Review>()?;
                    Some((review.decision, review))
                },
            )?,
            authors: r.rising(
                |(key, _)| key,
                |r| {
                    let author = r.get::<Author>()?;
                    Some((author.key.clone(), author))
                },
            )?,
        })
    }
}

impl Code for Armed {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, since, event } = self;
        let BundleArmed {
            approvers,
            author,
            bundle,
            by,
            decision,
            how,
            language,
            replaces,
            review_by,
            signed,
        } = event;
        w.put(index);
        w.put(since);
        w.list(approvers.iter(), Writer::put);
        w.put(author);
        w.put(bundle);
        w.put(by);
        w.put(decision);
        w.put(how);
        w.put(language);
        w.put(replaces);
        w.put(review_by);
        w.put(signed);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            since: r.get()?,
            event: BundleArmed {
                approvers: r.list(Reader::get)?,
                author: r.get()?,
                bundle: r.get()?,
                by: r.get()?,
                decision: r.get()?,
                how: r.get()?,
                language: r.get()?,
                replaces: r.get()?,
                review_by: r.get()?,
                signed: r.get()?,
            },
        })
    }
}

impl Code for Draft {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, since, by, signed } = self;
        w.put(index);
        w.put(since);
        w.put(by);
        w.put(signed);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { index: r.get()?, since: r.get()?, by: r.get()?, signed: r.get()? })
    }
}

impl Code for Review {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { decision, by, bundle, since, due } = self;
        w.put(decision);
        w.put(by);
        w.put(bundle);
        w.put(since);
        w.put(due);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            decision: r.get()?,
            by: r.get()?,
            bundle: r.get()?,
            since: r.get()?,
            due: r.get()?,
        })
    }
}

impl Code for Author {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { key, by, since } = self;
        w.put(key);
        w.put(by);
        w.put(since);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { key: r.get()?, by: r.get()?, since: r.get()? })
    }
}

impl Code for Signed {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { key, signature } = self;
        w.put(key);
        w.put(signature);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { key: r.get()?, signature: r.get()? })
    }
}

impl Code for Arming {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&String::from(self.as_str()));
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(&r.get::<String>()?)
    }
}

impl Code for Reach {
    fn put(&self, w: &mut Writer<'_>) {
        let kind: u8 = match self {
            Self::Free => 0,
            Self::Tightened => 1,
            Self::Publishing => 2,
            Self::Recovery => 3,
        };
        w.put(&kind);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        [Self::Free, Self::Tightened, Self::Publishing, Self::Recovery]
            .get(usize::from(r.get::<u8>()?))
            .copied()
    }
}
