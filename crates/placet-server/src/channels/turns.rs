//! Whose turn it is: how many channels are delivered to at once, and in which order they come. Owns that
//! no workspace takes all places and nobody is passed over; refuses to know what is delivered.

use super::Destination;
use std::collections::HashMap;

/// Channels that are delivered to at once.
const AT_ONCE: usize = 32;
/// Those of one workspace among them.
const EACH: usize = 8;

/// When each destination had its last turn.
#[derive(Default)]
pub(super) struct Turns {
    had: HashMap<Destination, u64>,
    count: u64,
}

impl Turns {
    /// Who of those that wait is delivered to now, beside those that are: whoever waited longest first.
    pub(super) fn next<'b>(
        &mut self,
        mut waiting: Vec<Destination>,
        busy: impl Iterator<Item = &'b Destination>,
    ) -> Vec<Destination> {
        let mut of = HashMap::new();
        let mut all = 0_usize;
        for (workspace, channel) in busy {
            *of.entry(*workspace).or_insert(0_usize) += 1;
            all += 1;
            waiting.retain(|it| it.0 != *workspace || it.1 != *channel);
        }
        // Whoever waits no more has no place in a row: the table is no longer than the row.
        if self.had.len() > 2 * (waiting.len() + all) {
            self.had.retain(|it, _| waiting.contains(it));
        }
        waiting.sort_by_cached_key(|it| self.had.get(it).copied());
        waiting.retain(|destination| {
            let of = of.entry(destination.0).or_insert(0);
            let takes = all < AT_ONCE && *of < EACH;
            if takes {
                (*of, all) = (*of + 1, all + 1);
                self.count += 1;
                self.had.insert(destination.clone(), self.count);
            }
            takes
        });
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placet_runtime::ports::WorkspaceNo;

    fn many(workspace: u32, count: usize) -> Vec<Destination> {
        (0..count).map(|n| (WorkspaceNo(workspace), format!("c{n:03}"))).collect()
    }

    #[test]
    fn one_workspace_keeps_no_other_waiting() {
        let mut turns = Turns::default();
        // Channels that never give their place back.
        let stuck = turns.next(many(0, 100), [].iter());
        assert_eq!(stuck.len(), EACH);
        let row = [many(0, 100), many(1, 1)].concat();
        assert_eq!(turns.next(row, stuck.iter()), many(1, 1));
    }

    #[test]
    fn everybody_gets_a_turn_in_the_end() {
        let mut turns = Turns::default();
        let row: Vec<Destination> = (0..10).flat_map(|no| many(no, 20)).collect();
        let mut had: HashMap<Destination, u32> = HashMap::new();
        for _ in 0..12 {
            let took = turns.next(row.clone(), [].iter());
            assert_eq!(took.len(), AT_ONCE, "no place stays empty while somebody waits");
            for destination in took {
                *had.entry(destination).or_default() += 1;
            }
        }
        // Of a workspace at most eight at once, so some come again before the last of others come first.
        assert_eq!(had.len(), row.len(), "somebody was passed over");
        assert!(had.values().all(|turns| *turns <= 3), "{had:?}");
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let mut turns = Turns::default();
        for no in 0..100 {
            turns.next(many(no, 4), [].iter());
        }
        assert!(turns.had.len() <= 12, "{}", turns.had.len());
    }
}
