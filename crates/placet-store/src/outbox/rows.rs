//! The rows of the outbox: what is asked of them and how they change.

use super::{DEAD_MAX, Delivery, ERROR_MAX, Letter, Message, Outbox, WAITING_MAX, Waiting};
use crate::sqlite::unsigned;
use placet_runtime::ports::{PortError, WorkspaceNo};
use placet_types::ids::{ApprovalId, TimeMs};
use rusqlite::{OptionalExtension, Row, params};

/// Nothing about the same approval waits before it.
const FIRST_OF_ITS_APPROVAL: &str = "NOT EXISTS (SELECT 1 FROM delivery AS before WHERE before.dead = 0 \
                                     AND before.workspace = it.workspace AND \
                                     before.channel = it.channel AND \
                                     before.approval = it.approval AND before.id < it.id)";

const COLUMNS: &str = "id, workspace, log_index, channel, told, approval, since_ms, attempts, \
                       due_ms, dead, error";

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn approval_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ApprovalId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(ApprovalId::from_bytes))
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: unsigned(row, 0)?,
        workspace: WorkspaceNo(row.get(1)?),
        letter: Letter {
            index: unsigned(row, 2)?,
            channel: row.get(3)?,
            told: row.get(4)?,
            approval: approval_of(row, 5)?,
        },
        since: TimeMs(unsigned(row, 6)?),
        attempts: row.get(7)?,
        due: TimeMs(unsigned(row, 8)?),
        dead: row.get(9)?,
        error: row.get(10)?,
    })
}

impl Outbox {
    /// The next entry of a log that has not been looked at; `None` when the log never was.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn cursor(&self, workspace: WorkspaceNo) -> Result<Option<u64>, PortError> {
        self.read(None, |conn| {
            let found = "SELECT next FROM cursor WHERE workspace = ?1";
            conn.prepare_cached(found)?.query_row([workspace.0], |row| unsigned(row, 0)).optional()
        })
    }

    /// Whether so much waits that the log has to.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn is_full(&self, workspace: WorkspaceNo) -> Result<bool, PortError> {
        self.read(false, |conn| {
            // Bounded by itself: it counts no further than the bound.
            let count = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE dead = 0 AND \
                         workspace = ?1 LIMIT ?2)";
            let count = conn
                .prepare_cached(count)?
                .query_row(params![workspace.0, int(WAITING_MAX)], |row| unsigned(row, 0))?;
            Ok(count >= WAITING_MAX)
        })
    }

    /// Keeps what is to be told of the entries below `next`, and that they have been looked at.
    /// Repeating is harmless.
    ///
    /// # Errors
    /// [`PortError`] when the store failed; then nothing was kept.
    pub fn follow(
        &self,
        workspace: WorkspaceNo,
        next: u64,
        letters: &[Letter],
        now: TimeMs,
    ) -> Result<(), PortError> {
        self.write(|write| {
            for letter in letters {
                write
                    .prepare_cached(
                        "INSERT OR IGNORE INTO delivery(workspace, log_index, channel, told, \
                         approval, since_ms, attempts, due_ms, dead) \
                         VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0)",
                    )?
                    .execute(params![
                        workspace.0,
                        int(letter.index),
                        letter.channel,
                        letter.told,
                        letter.approval.as_ref().map(|id| id.bytes().as_slice()),
                        int(now.0),
                    ])?;
            }
            write
                .prepare_cached(
                    "INSERT INTO cursor(workspace, next) VALUES(?1, ?2) \
                     ON CONFLICT(workspace) DO UPDATE SET next = excluded.next",
                )?
                .execute(params![workspace.0, int(next)])?;
            Ok(())
        })
    }

    /// Forgets everything about a workspace: its log is another one than the one that was followed.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn forget(&self, workspace: WorkspaceNo) -> Result<(), PortError> {
        self.write(|write| {
            for table in ["cursor", "delivery", "message", "taken", "polled"] {
                let delete = format!("DELETE FROM {table} WHERE workspace = ?1");
                write.execute(&delete, [workspace.0])?;
            }
            Ok(())
        })
    }

    /// Channels with deliveries that wait.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn destinations(&self) -> Result<Vec<(WorkspaceNo, String)>, PortError> {
        self.read(Vec::new(), |conn| {
            let found = "SELECT DISTINCT workspace, channel FROM delivery WHERE dead = 0";
            let mut found = conn.prepare_cached(found)?;
            found.query_map([], |row| Ok((WorkspaceNo(row.get(0)?), row.get(1)?)))?.collect()
        })
    }

    /// The delivery of a channel that goes next: the oldest. One that has failed `patience` times no longer
    /// holds up the others while it is not due, and where `others` says so one of them is tried in its
    /// place: so one that is never taken does not keep the channel for good. What is about one approval
    /// stays in its order.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn head(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        patience: u32,
        others: bool,
        now: TimeMs,
    ) -> Result<Option<Delivery>, PortError> {
        let waiting = format!(
            "SELECT {COLUMNS} FROM delivery AS it WHERE dead = 0 AND workspace = ?1 AND \
             channel = ?2"
        );
        self.read(None, |conn| {
            let oldest = conn
                .prepare_cached(&format!("{waiting} ORDER BY id LIMIT 1"))?
                .query_row(params![workspace.0, channel], delivery)
                .optional()?;
            let Some(oldest) = oldest else { return Ok(None) };
            let due = oldest.due <= now;
            if oldest.attempts < patience || (due && !others) {
                return Ok(Some(oldest).filter(|_| due));
            }
            let order = if others { "attempts, id" } else { "id" };
            conn.prepare_cached(&format!(
                "{waiting} AND due_ms <= ?3 AND {FIRST_OF_ITS_APPROVAL} ORDER BY {order} LIMIT 1"
            ))?
            .query_row(params![workspace.0, channel, int(now.0)], delivery)
            .optional()
        })
    }

    /// The earliest instant at which [`Outbox::head`] has a delivery of a channel.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn due(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        patience: u32,
    ) -> Result<Option<TimeMs>, PortError> {
        self.read(None, |conn| {
            let oldest = "SELECT attempts, due_ms FROM delivery WHERE dead = 0 AND workspace = ?1 \
                          AND channel = ?2 ORDER BY id LIMIT 1";
            let oldest: Option<(u32, i64)> = conn
                .prepare_cached(oldest)?
                .query_row(params![workspace.0, channel], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let time = |due: i64| u64::try_from(due).ok().map(TimeMs);
            let due = match oldest {
                None => None,
                Some((attempts, due)) if attempts < patience => Some(due),
                Some(_) => conn
                    .prepare_cached(&format!(
                        "SELECT min(due_ms) FROM delivery AS it WHERE dead = 0 AND workspace = ?1 \
                         AND channel = ?2 AND {FIRST_OF_ITS_APPROVAL}"
                    ))?
                    .query_row(params![workspace.0, channel], |row| row.get(0))?,
            };
            Ok(due.and_then(time))
        })
    }

    /// A delivery has arrived.
    ///
    /// # Errors
    /// [`PortError`] when the store failed; it is delivered again then.
    pub fn done(&self, id: u64) -> Result<(), PortError> {
        self.write(|write| {
            write.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([int(id)])?;
            Ok(())
        })
    }

    /// An attempt failed: it is due again at `due`, or never.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn failed_attempt(
        &self,
        id: u64,
        due: Option<TimeMs>,
        error: &str,
    ) -> Result<(), PortError> {
        let end = error.floor_char_boundary(ERROR_MAX);
        let error = error.get(..end).unwrap_or_default();
        self.write(|write| {
            write
                .prepare_cached(
                    "UPDATE delivery SET attempts = attempts + 1, dead = ?2, due_ms = ?3, \
                     error = ?4 WHERE id = ?1",
                )?
                .execute(params![int(id), due.is_none(), int(due.unwrap_or_default().0), error])?;
            if due.is_none() {
                // The bound is per workspace; the newest matter most.
                write.execute(
                    "DELETE FROM delivery WHERE id IN (SELECT old.id FROM delivery AS old JOIN \
                     delivery AS this ON this.id = ?1 AND old.workspace = this.workspace \
                     WHERE old.dead = 1 ORDER BY old.id DESC LIMIT -1 OFFSET ?2)",
                    params![int(id), int(DEAD_MAX)],
                )?;
            }
            Ok(())
        })
    }

    /// Has everything that waits of a workspace tried at once; what was tried counts on.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn due_now(&self, workspace: WorkspaceNo) -> Result<(), PortError> {
        if self.read(true, |_| Ok(false))? {
            return Ok(());
        }
        self.write(|write| {
            let now = "UPDATE delivery SET due_ms = 0 WHERE workspace = ?1 AND dead = 0";
            write.execute(now, [workspace.0]).map(drop)
        })
    }

    /// Has a delivery tried anew, as if it never had been. Whether there is such a one.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn replay(&self, workspace: WorkspaceNo, id: u64) -> Result<bool, PortError> {
        if self.read(true, |_| Ok(false))? {
            return Ok(false);
        }
        self.write(|write| {
            let changed = write.execute(
                "UPDATE delivery SET attempts = 0, dead = 0, due_ms = 0 \
                 WHERE id = ?1 AND workspace = ?2",
                params![int(id), workspace.0],
            )?;
            Ok(changed > 0)
        })
    }

    /// One delivery.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn delivery(&self, workspace: WorkspaceNo, id: u64) -> Result<Option<Delivery>, PortError> {
        self.read(None, |conn| {
            let found = format!("SELECT {COLUMNS} FROM delivery WHERE id = ?1 AND workspace = ?2");
            conn.prepare_cached(&found)?
                .query_row(params![int(id), workspace.0], delivery)
                .optional()
        })
    }

    /// Deliveries of a workspace after `after`, oldest first; only dead ones, or all.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn list(
        &self,
        workspace: WorkspaceNo,
        dead: bool,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Delivery>, PortError> {
        self.read(Vec::new(), |conn| {
            let found = format!(
                "SELECT {COLUMNS} FROM delivery WHERE workspace = ?1 AND dead >= ?2 AND id > ?3 \
                 ORDER BY id LIMIT ?4"
            );
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut found = conn.prepare_cached(&found)?;
            found.query_map(params![workspace.0, dead, int(after), limit], delivery)?.collect()
        })
    }

    /// How much waits, and how much was given up, channel by channel.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn waiting(&self) -> Result<Vec<Waiting>, PortError> {
        self.read(Vec::new(), |conn| {
            let sums = "SELECT workspace, channel, sum(dead = 0), sum(dead = 1), \
                        min(CASE dead WHEN 0 THEN since_ms END) FROM delivery \
                        GROUP BY workspace, channel";
            let mut sums = conn.prepare_cached(sums)?;
            let one = |row: &Row<'_>| {
                let oldest: Option<i64> = row.get(4)?;
                Ok(Waiting {
                    workspace: WorkspaceNo(row.get(0)?),
                    channel: row.get(1)?,
                    pending: unsigned(row, 2)?,
                    dead: unsigned(row, 3)?,
                    oldest: oldest.and_then(|ms| u64::try_from(ms).ok()).map(TimeMs),
                })
            };
            sums.query_map([], one)?.collect()
        })
    }

    /// Channels in which something about an approval was told or waits to be.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn showing(
        &self,
        workspace: WorkspaceNo,
        approval: ApprovalId,
    ) -> Result<Vec<String>, PortError> {
        self.read(Vec::new(), |conn| {
            let found = "SELECT channel FROM message WHERE workspace = ?1 AND approval = ?2 UNION \
                         SELECT channel FROM delivery WHERE workspace = ?1 AND approval = ?2";
            let mut found = conn.prepare_cached(found)?;
            let of = params![workspace.0, approval.bytes().as_slice()];
            found.query_map(of, |row| row.get(0))?.collect()
        })
    }

    /// The message of a channel that shows an approval.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn message(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        approval: ApprovalId,
    ) -> Result<Option<Message>, PortError> {
        self.read(None, |conn| {
            let found = "SELECT place, shown FROM message WHERE workspace = ?1 AND channel = ?2 \
                         AND approval = ?3";
            conn.prepare_cached(found)?
                .query_row(params![workspace.0, channel, approval.bytes().as_slice()], |row| {
                    Ok(Message { place: row.get(0)?, shown: row.get(1)? })
                })
                .optional()
        })
    }

    /// Remembers the message of a channel that shows an approval; `None` once it needs no change any more.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn keep_message(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        approval: ApprovalId,
        message: Option<&Message>,
    ) -> Result<(), PortError> {
        let id = *approval.bytes();
        self.write(|write| {
            match message {
                None => write
                    .prepare_cached(
                        "DELETE FROM message WHERE workspace = ?1 AND channel = ?2 AND \
                         approval = ?3",
                    )?
                    .execute(params![workspace.0, channel, id.as_slice()])?,
                Some(message) => write
                    .prepare_cached(
                        "INSERT OR REPLACE INTO message(workspace, channel, approval, place, shown) \
                         VALUES(?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        workspace.0,
                        channel,
                        id.as_slice(),
                        message.place,
                        message.shown.as_slice()
                    ])?,
            };
            Ok(())
        })
    }

    /// Whether a call from a channel was dealt with.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn is_taken(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        key: &[u8],
    ) -> Result<bool, PortError> {
        self.read(false, |conn| {
            let found = "SELECT 1 FROM taken WHERE workspace = ?1 AND channel = ?2 AND key = ?3";
            conn.prepare_cached(found)?.exists(params![workspace.0, channel, key])
        })
    }

    /// Remembers that a call from a channel was dealt with, and forgets those before `since`. Whether it
    /// was the first.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn take(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        key: &[u8],
        now: TimeMs,
        since: TimeMs,
    ) -> Result<bool, PortError> {
        self.write(|write| {
            write
                .prepare_cached(
                    "DELETE FROM taken WHERE workspace = ?1 AND channel = ?2 AND time_ms < ?3",
                )?
                .execute(params![workspace.0, channel, int(since.0)])?;
            let new = write
                .prepare_cached(
                    "INSERT OR IGNORE INTO taken(workspace, channel, key, time_ms) \
                     VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![workspace.0, channel, key, int(now.0)])?;
            Ok(new > 0)
        })
    }

    /// The number from which a channel is asked for updates.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn polled(&self, workspace: WorkspaceNo, channel: &str) -> Result<Option<u64>, PortError> {
        self.read(None, |conn| {
            let found = "SELECT next FROM polled WHERE workspace = ?1 AND channel = ?2";
            conn.prepare_cached(found)?
                .query_row(params![workspace.0, channel], |row| unsigned(row, 0))
                .optional()
        })
    }

    /// Remembers from which number a channel is asked for updates.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn set_polled(
        &self,
        workspace: WorkspaceNo,
        channel: &str,
        next: u64,
    ) -> Result<(), PortError> {
        self.write(|write| {
            write
                .prepare_cached(
                    "INSERT OR REPLACE INTO polled(workspace, channel, next) VALUES(?1, ?2, ?3)",
                )?
                .execute(params![workspace.0, channel, int(next)])?;
            Ok(())
        })
    }

    /// Forgets from which number a channel is asked: the service has heard of it.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn forget_polled(&self, workspace: WorkspaceNo, channel: &str) -> Result<(), PortError> {
        self.write(|write| {
            write
                .prepare_cached("DELETE FROM polled WHERE workspace = ?1 AND channel = ?2")?
                .execute(params![workspace.0, channel])?;
            Ok(())
        })
    }
}
