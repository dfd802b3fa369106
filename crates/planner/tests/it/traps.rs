//! Each case in which running a share of a plan goes wrong for engines that do it naively.
