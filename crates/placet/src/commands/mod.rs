//! The commands, one file each.

pub(crate) mod approvals;
mod ask;
pub(crate) mod audit;
pub(crate) mod authoring;
pub(crate) mod backup;
pub(crate) mod clock;
pub(crate) mod compare;
pub(crate) mod coverage;
pub(crate) mod data;
pub(crate) mod decide;
pub(crate) mod delegate;
pub(crate) mod evidence;

pub(crate) mod exception;
pub(crate) mod execution;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod kill;
pub(crate) mod login;
pub(crate) mod metrics;
pub(crate) mod outbox;
pub(crate) mod overrides;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod release;
mod trips;
pub(crate) mod up;
pub(crate) mod up_tls;
pub(crate) mod verify;
pub(crate) mod witness;
pub(crate) mod workspace;
