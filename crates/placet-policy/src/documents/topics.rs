//! `topics:` job topics, their pools, concurrency and priorities.

use super::Kind;
use crate::pattern::Dialect;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "topics",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the topics"),
        Field::required("topic", Shape::Pattern(Dialect::Dotted), "a pattern of topics"),
        Field::required("pool", Shape::Id, "the workers that serve it"),
        Field::optional("max_concurrent", Shape::Int(1, 100_000), "jobs that run at once"),
        Field::optional("priority", Shape::Int(0, 9), "9 goes first"),
        Field::optional("max_runtime", Shape::Duration, "longest run of a job"),
        Field::optional("max_retries", Shape::Int(0, 100), "further attempts"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Topics of jobs and the pools of workers that serve them.",
};
