//! What was done to a world, and what came of it.

use std::ops::AddAssign;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident: $text:literal),* $(,)?) => {
        /// Counts of one run, or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl Tally {
            /// All counts with a word for each.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name)),*]
            }
        }
    };
}

tally! {
    /// Processes that were killed at a moment of the seed's.
    kills: "killed",
    /// Processes that died of one of their transactions.
    dooms: "died of a transaction",
    /// Processes that stood still.
    pauses: "paused",
    /// Processes that could not reach the store.
    cuts: "cut off from the store",
    /// Processes that left in good order.
    drains: "drained",
    /// Calls between processes that failed.
    wire: "calls that broke",
    /// Blocks that were damaged.
    flips: "blocks damaged",
    /// Store calls and answers that failed or came late.
    store: "store calls that failed",
    /// Questions that clients had.
    asked: "questions",
    /// Answers with the right rows.
    answered: "right answers",
    /// Questions that were asked again after an error.
    again: "asked again",
    /// Answers whose gateway died, and that were read on at another.
    elsewhere: "read at another gateway",
    /// Clients that went before their answer.
    left: "clients that went",
    /// Tables that were made.
    written: "tables made",
    /// Sealed stages that were opened again.
    reopened: "stages opened again",
    /// Dead shuffle workers whose objects another one serves.
    adopted: "shuffle workers adopted",
    /// Changes of the store.
    changes: "changes of the store",
}
