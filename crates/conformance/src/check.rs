//! One sentence, and how it is proved.

use crate::stage::Stage;
use crate::verdict::Met;

/// How much a sentence demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The specification says "must".
    Must,
    /// The specification says "should".
    Should,
    /// The specification is silent; runtimes, the library or users rely on it.
    Custom,
}

/// One sentence, and how it is proved.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name: a group and a number.
    pub id: &'static str,
    /// How much the sentence demands.
    pub level: Level,
    /// Where it stands: a section of `SPEC.md`, or whose rule it is.
    pub source: &'static str,
    /// The sentence.
    pub says: &'static str,
    /// The plugins that it takes.
    pub plugins: &'static [&'static str],
    /// The version of the specification that these must support.
    pub since: &'static str,
    /// The proof.
    pub run: fn(&Stage) -> Met,
}

impl Check {
    const fn new(
        level: Level,
        id: &'static str,
        (source, says): (&'static str, &'static str),
        run: fn(&Stage) -> Met,
    ) -> Self {
        Self { id, level, source, says, plugins: &["bridge", "host-local"], since: "0.1.0", run }
    }

    /// A "must" of the specification.
    pub(crate) const fn must(
        id: &'static str,
        text: (&'static str, &'static str),
        run: fn(&Stage) -> Met,
    ) -> Self {
        Self::new(Level::Must, id, text, run)
    }

    /// A "should" of the specification.
    pub(crate) const fn should(
        id: &'static str,
        text: (&'static str, &'static str),
        run: fn(&Stage) -> Met,
    ) -> Self {
        Self::new(Level::Should, id, text, run)
    }

    /// A custom.
    pub(crate) const fn custom(
        id: &'static str,
        text: (&'static str, &'static str),
        run: fn(&Stage) -> Met,
    ) -> Self {
        Self::new(Level::Custom, id, text, run)
    }

    /// The plugins that it takes; `bridge` and `host-local` unless said.
    pub(crate) const fn on(self, plugins: &'static [&'static str]) -> Self {
        Self { plugins, ..self }
    }

    /// The version of the specification that the plugins must support.
    pub(crate) const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }
}
