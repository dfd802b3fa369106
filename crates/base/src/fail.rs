//! Named places where a test has a process fail. Product code calls [`point`] there, one line each;
//! `dunlin-chaos` sets the variable of the processes that it starts.
//!
//! The one thing to know: without `DUNLIN_FAIL_POINTS` a point is one look at a static.
//!
//! The variable is a list such as `after-claim=exit@3,in-slice=pause:5000`: at its third passage
//! the first point ends the process, at each of its passages the second waits for five seconds.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Env, Error, Result};

/// The variable that arms points.
pub const VARIABLE: &str = "DUNLIN_FAIL_POINTS";

/// How a process ends whose point says `exit`.
pub const EXIT_CODE: i32 = 86;

/// An executor has claimed slices and not begun to run them.
pub const AFTER_CLAIM: &str = "after-claim";
/// An executor has pushed a batch of a slice, and others are to come.
pub const IN_SLICE: &str = "in-slice";
/// All output of a task is pushed, and not yet committed.
pub const BEFORE_COMMIT: &str = "before-commit";
/// The last slice of a stage is committed, and the stage not yet sealed.
pub const BEFORE_SEAL: &str = "before-seal";
/// A gateway has sent a part of a result, and others are to come.
pub const IN_RESULT: &str = "in-result";

/// An executor has finished a file of a write, and not yet committed its slice.
pub const IN_WRITE: &str = "in-write";
/// A gateway knows all files of a write, and has not yet decided it.
pub const BEFORE_DECIDE: &str = "before-decide";
/// The files of a write that is decided have their names, and it is not yet recorded as done.
pub const BEFORE_DONE: &str = "before-done";

/// All points.
pub const POINTS: [&str; 8] = [
    AFTER_CLAIM,
    IN_SLICE,
    BEFORE_COMMIT,
    BEFORE_SEAL,
    IN_RESULT,
    IN_WRITE,
    BEFORE_DECIDE,
    BEFORE_DONE,
];

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The process ends at once: nothing is flushed, handed back or revoked.
    Exit,
    /// The caller waits.
    Pause(Duration),
    /// The caller gets a `Retry`.
    Error,
}

/// A point that is armed.
#[derive(Debug)]
struct Armed {
    action: Action,
    /// The passage at which it fails; 0 is every one.
    at: u64,
    passages: AtomicU64,
}

type Plan = BTreeMap<String, Armed>;

/// `Ok` at once, unless `name` is armed for this passage. `Retry` if it says `error`.
/// Dropping the future ends a pause.
pub async fn point(env: &Env, name: &str) -> Result<()> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let read = || std::env::var(VARIABLE).ok().map(|text| parse(&text));
    let Some(plan) = PLAN.get_or_init(read) else { return Ok(()) };
    let Some(action) = plan.get(name).and_then(Armed::pass) else { return Ok(()) };
    // Whoever set the variable looks for this line.
    tracing::error!("fail point {name}: {action:?}");
    match action {
        Action::Exit => std::process::exit(EXIT_CODE),
        Action::Pause(time) => {
            env.sleep(time).await;
            Ok(())
        }
        Action::Error => Err(Error::retry(format!("fail point {name}"))),
    }
}

impl Armed {
    fn pass(&self) -> Option<Action> {
        let passage = self.passages.fetch_add(1, Ordering::Relaxed) + 1;
        (self.at == 0 || self.at == passage).then_some(self.action)
    }
}

/// What cannot be read arms nothing: whoever set it sees that the point never fires.
fn parse(text: &str) -> Plan {
    let armed = |part: &str| {
        let (name, rest) = part.trim().split_once('=')?;
        let (action, at) = rest.split_once('@').unwrap_or((rest, "0"));
        let action = match action.split_once(':') {
            None if action == "exit" => Action::Exit,
            None if action == "error" => Action::Error,
            Some(("pause", ms)) => Action::Pause(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        };
        let armed = Armed { action, at: at.parse().ok()?, passages: AtomicU64::new(0) };
        POINTS.contains(&name).then(|| (name.to_owned(), armed))
    };
    text.split(',').filter_map(armed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fail_at_the_passage_that_was_named() {
        let plan = parse("after-claim=exit@2, in-slice=pause:50,in-result=error@1");
        let at = |name: &str| plan.get(name).and_then(Armed::pass);
        assert_eq!(
            [at(AFTER_CLAIM), at(AFTER_CLAIM), at(AFTER_CLAIM)],
            [None, Some(Action::Exit), None]
        );
        let pause = Some(Action::Pause(Duration::from_millis(50)));
        assert_eq!([at(IN_SLICE), at(IN_SLICE)], [pause, pause]);
        assert_eq!([at(IN_RESULT), at(IN_RESULT)], [Some(Action::Error), None]);
        assert_eq!(at(BEFORE_SEAL), None);
    }

    #[test]
    fn what_cannot_be_read_arms_nothing() {
        for text in ["", "after-claim", "after-claim=dance", "nowhere=exit", "in-slice=pause:x"] {
            assert!(parse(text).is_empty(), "{text}");
        }
    }

    #[tokio::test]
    async fn nothing_fails_where_nothing_is_armed() {
        let env = Env::seeded(1);
        for name in POINTS {
            point(&env, name).await.expect("not armed");
        }
    }
}
