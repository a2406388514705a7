//! Time within a log never runs backwards, epochs only rise, and the first entry of every run of
//! an instance says for how long nothing was decided.

use super::{Held, Logs, violated};
use placet_types::event::Event;

const NAME: &str = "gaps";

pub(crate) fn at_rest(logs: &Logs) -> Held {
    for (workspace, log) in logs {
        for (index, pair) in log.windows(2).enumerate() {
            let [before, after] = pair else { continue };
            let (before, after) = (&before.entry, &after.entry);
            let index = index + 1;
            if after.time < before.time {
                return violated(
                    NAME,
                    format!("entry {index} of workspace {workspace} goes back in time"),
                );
            }
            if after.epoch < before.epoch {
                return violated(
                    NAME,
                    format!("entry {index} of workspace {workspace} has an older epoch"),
                );
            }
            match &after.event {
                Event::Gap(gap) if gap.from != before.time || gap.to != after.time => {
                    return violated(
                        NAME,
                        format!("the gap at entry {index} of workspace {workspace} is another"),
                    );
                }
                Event::Gap(_) => {}
                _ if after.epoch > before.epoch => {
                    return violated(
                        NAME,
                        format!(
                            "entry {index} of workspace {workspace} begins a run without a gap"
                        ),
                    );
                }
                _ => {}
            }
        }
    }
    Ok(())
}
