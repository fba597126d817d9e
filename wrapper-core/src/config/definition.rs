//! What a setting is, apart from its value: names, bounds, the plugin that it belongs to, the sentence that explains it.

use crate::config::value::Form;

/// Another name under which a setting is accepted, and what a bare number under it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

/// A name whose value has the form of the canonical name's.
pub(crate) const fn same(name: &'static str) -> Alias {
    Alias { name, form: Form::UnitInValue }
}

/// A name whose value is a bare number of milliseconds.
pub(crate) const fn ms(name: &'static str) -> Alias {
    Alias { name, form: Form::Milliseconds }
}

/// A name whose value is a bare number of seconds.
pub(crate) const fn sec(name: &'static str) -> Alias {
    Alias { name, form: Form::Seconds }
}

/// A name whose value is a bare number of seconds, or a number with a unit.
pub(crate) const fn drv(name: &'static str) -> Alias {
    Alias { name, form: Form::SecondsOrUnit }
}

/// The part of a definition that the table writes by hand; the rest follows from the field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) plugin: &'static str,
    pub(crate) aliases: &'static [Alias],
    pub(crate) form: Form,
    pub(crate) unset: Option<&'static str>,
    pub(crate) not_zero: bool,
    pub(crate) no_effect: Option<&'static str>,
}

impl Row {
    /// A row of `plugin`, or of several, separated by spaces, or of `core`.
    pub(crate) const fn of(plugin: &'static str, aliases: &'static [Alias]) -> Self {
        Self { plugin, aliases, form: Form::UnitInValue, unset: None, not_zero: false, no_effect: None }
    }

    /// Zero is an error.
    pub(crate) const fn not_zero(mut self) -> Self {
        self.not_zero = true;
        self
    }

    /// A bare number under the canonical name is seconds.
    pub(crate) const fn bare_seconds(mut self) -> Self {
        self.form = Form::SecondsOrUnit;
        self
    }

    /// What holds when the setting is not given and has no value.
    pub(crate) const fn unset(mut self, meaning: &'static str) -> Self {
        self.unset = Some(meaning);
        self
    }

    /// Accepted and of no effect; the text says why, after "has no effect: ".
    pub(crate) const fn no_effect(mut self, why: &'static str) -> Self {
        self.no_effect = Some(why);
        self
    }
}

/// One setting of the library.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) row: Row,
}

impl Definition {
    /// The canonical name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The kind of value, as documentation writes it.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The plugin that reads it, the first of several; `core` when none.
    pub fn plugin(&self) -> &'static str {
        self.plugins().next().unwrap_or_default()
    }

    /// All plugins that read it.
    pub fn plugins(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.row.plugin.split(' ')
    }

    /// What it does.
    pub fn doc(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// The other names under which it is written in the table. A duration is also accepted as `NAME_ms` and `NAME_sec`.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.row.aliases.iter().map(|alias| alias.name)
    }

    pub(crate) fn is_duration(&self) -> bool {
        self.kind == "duration"
    }

    /// What a bare number means under `name`; `None` when the name is another setting's.
    pub(crate) fn form_of(&self, name: &str) -> Option<Form> {
        if name == self.name {
            return Some(self.row.form);
        }
        if let Some(alias) = self.row.aliases.iter().find(|alias| alias.name == name) {
            return Some(alias.form);
        }
        match name.strip_prefix(self.name) {
            Some("_ms") if self.is_duration() => Some(Form::Milliseconds),
            Some("_sec") if self.is_duration() => Some(Form::Seconds),
            _ => None,
        }
    }
}
