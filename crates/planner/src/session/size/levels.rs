//! How deep the expressions of a statement become, reckoned from the left to the right of its
//! tokens: at least as deep as the parser makes them.
//!
//! The one thing to know: an operator makes all that stands left of it one level deeper, unless the
//! parser has finished an expression in between. Where it is not certain that it has, it has not.

/// What opens a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    Statement,
    Bracket,
    /// `OPERATOR(`: its end is no operand.
    Operator,
    Case,
}

/// One level of brackets, or a CASE.
#[derive(Debug)]
struct Level {
    opener: Opener,
    /// What surrounds the level: operators of the levels that are open around it.
    around: usize,
    /// AND and OR of its current expression.
    loose: usize,
    /// The other operators since the last of these, and most of them between two.
    tight: usize,
    tight_max: usize,
    /// How many BETWEEN still wait for their AND.
    betweens: usize,
    /// After IS DISTINCT FROM, the rest is one operand, AND and OR included.
    rest_is_operand: bool,
    /// In FROM, a comma is a join.
    from: bool,
    /// Types within `<` and `>` that are open, in which a comma ends no expression.
    angles: usize,
    /// The deepest level that was closed in its current expression.
    inner: usize,
    /// The deepest of its expressions that have ended.
    ended: usize,
}

impl Level {
    fn new(opener: Opener, around: usize) -> Self {
        Self {
            opener,
            around,
            loose: 0,
            tight: 0,
            tight_max: 0,
            betweens: 0,
            rest_is_operand: false,
            from: false,
            angles: 0,
            inner: 0,
            ended: 0,
        }
    }

    fn operators(&self) -> usize {
        self.loose + self.tight.max(self.tight_max)
    }

    fn depth(&self) -> usize {
        self.operators() + self.inner
    }

    /// The next token starts an expression of its own.
    fn separate(&mut self) {
        let ended = self.ended.max(self.depth());
        let (angles, from) = (self.angles, self.from);
        *self = Self { angles, from, ended, ..Self::new(self.opener, self.around) };
    }
}

/// The levels that are open.
#[derive(Debug)]
pub(super) struct Levels(Vec<Level>);

impl Levels {
    pub(super) fn new() -> Self {
        Self(vec![Level::new(Opener::Statement, 0)])
    }

    /// How many are open.
    pub(super) fn open_count(&self) -> usize {
        self.0.len()
    }

    /// How deep the expression is that ends here, with all that is open around it.
    pub(super) fn depth(&self) -> usize {
        self.0.last().map_or(0, |level| level.around + level.depth())
    }

    pub(super) fn open(&mut self, opener: Opener) {
        let around = self.0.last().map_or(0, |level| level.around + level.operators());
        self.0.push(Level::new(opener, around));
    }

    /// Closes a bracket, with every CASE in it that has no END: those were names. What it was.
    pub(super) fn close(&mut self) -> Option<Opener> {
        self.close_cases();
        self.pop()
    }

    /// END: of the CASE that is open, if one is.
    pub(super) fn end_case(&mut self) {
        if self.0.last().is_some_and(|level| level.opener == Opener::Case) {
            self.pop();
        }
    }

    /// Any operator but AND and OR.
    pub(super) fn operator(&mut self) {
        if let Some(level) = self.0.last_mut() {
            level.tight += 1;
        }
    }

    pub(super) fn between(&mut self) {
        self.operator();
        if let Some(level) = self.0.last_mut() {
            level.betweens += 1;
        }
    }

    pub(super) fn distinct_from(&mut self) {
        if let Some(level) = self.0.last_mut() {
            level.rest_is_operand = true;
        }
    }

    /// AND or OR. `ends`: an operand has ended before it, so that it is an operator for certain.
    pub(super) fn loose(&mut self, is_and: bool, ends: bool) {
        let Some(level) = self.0.last_mut() else { return };
        if is_and && level.betweens > 0 {
            level.betweens -= 1;
            return;
        }
        if !ends || level.rest_is_operand {
            level.tight += 1;
            return;
        }
        level.loose += 1;
        level.tight_max = level.tight_max.max(level.tight);
        level.tight = 0;
    }

    /// A comma: no operator reaches over it, unless it is one in a type. Whether it is a join.
    pub(super) fn comma(&mut self) -> bool {
        if self.0.last().is_some_and(|level| level.angles == 0) {
            self.separate();
        }
        self.0.last().is_some_and(|level| level.from)
    }

    /// FROM, or what comes after it.
    pub(super) fn set_from(&mut self, from: bool) {
        if let Some(level) = self.0.last_mut() {
            level.from = from;
        }
    }

    /// The start of another SELECT, or a comma: a CASE that is open was a name.
    pub(super) fn separate(&mut self) {
        self.close_cases();
        self.0.last_mut().into_iter().for_each(Level::separate);
    }

    /// WHEN, THEN, ELSE.
    pub(super) fn branch(&mut self) {
        if let Some(level) = self.0.last_mut()
            && level.opener == Opener::Case
        {
            level.separate();
        }
    }

    /// `<` or `>` of a type. How many are open.
    pub(super) fn angle(&mut self, opened: bool, closed: usize) -> usize {
        let Some(level) = self.0.last_mut() else { return 0 };
        level.angles = (level.angles + usize::from(opened)).saturating_sub(closed);
        level.angles
    }

    fn close_cases(&mut self) {
        while self.0.last().is_some_and(|level| level.opener == Opener::Case) {
            self.pop();
        }
    }

    /// The statement itself stays open.
    fn pop(&mut self) -> Option<Opener> {
        if self.0.len() < 2 {
            return None;
        }
        let closed = self.0.pop()?;
        let parent = self.0.last_mut()?;
        parent.inner = parent.inner.max(closed.ended.max(closed.depth()));
        Some(closed.opener)
    }
}
