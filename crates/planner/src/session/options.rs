//! What SET has changed in a session, as data: so that a client can carry it from one gateway to
//! another.

use dunlin_base::Result;

use super::Session;

impl Session {
    /// The options that differ from those that sessions start with, by full name.
    pub fn changes(&self) -> Vec<(String, String)> {
        let defaults = self.planner.settings.entries();
        let now = self.settings().entries();
        now.into_iter().filter(|entry| !defaults.contains(entry)).collect()
    }

    /// The schema of names without one.
    pub fn default_schema(&self) -> String {
        self.inner.read().state.config_options().catalog.default_schema.clone()
    }

    /// Sets options as SET does, all or none. `Invalid` as for SET.
    pub fn apply<'a>(&self, options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
        self.change(|settings| {
            options.into_iter().try_for_each(|(name, value)| settings.set(name, value))
        })
    }
}
