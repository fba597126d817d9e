//! Settings whose value is one of a few words.

use std::fmt;

use crate::config::value::{Form, Given, Read, Refused, SettingType};
use crate::dialect_id::DialectId;
use crate::host::squash;

/// Makes an enum of words: its names in the settings, its reading and its printing, from one list.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$word_doc])* $variant,)+ }

        impl $name {
            /// All values, in the order in which messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the settings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<$name> for Given {
            fn from(value: $name) -> Self {
                Self::from(value.as_str())
            }
        }

        impl SettingType for $name {
            const KIND: &'static str = concat!("one of" $(, " `", $word, "`")+);

            fn read(given: &Given, _form: Form) -> Read<Self> {
                let text = squash(given.text().trim());
                Self::ALL.iter().copied().find(|value| squash(value.as_str()) == text).ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    Refused::Expected(format!("one of {}", words.join(", ")))
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}

words! {
    /// What a failover looks for.
    pub enum FailoverMode {
        /// The new writer, nothing else.
        StrictWriter = "strict_writer",
        /// A reader, nothing else.
        StrictReader = "strict_reader",
        /// A reader if there is one, else the writer.
        ReaderOrWriter = "reader_or_writer",
    }
}

words! {
    /// With which instance a cluster endpoint is replaced on the first connect.
    pub enum SubstitutionRole {
        /// The writer.
        Writer = "writer",
        /// A reader.
        Reader = "reader",
        /// Any instance; for custom endpoints.
        Any = "any",
        /// The endpoint is used as it is.
        None = "none",
    }
}

words! {
    /// Which role a new connection must prove.
    pub enum VerifyRole {
        /// Writer.
        Writer = "writer",
        /// Reader.
        Reader = "reader",
        /// Any role will do.
        None = "none",
    }
}

/// That a code is recognised does not mean that the dialect is supported.
impl SettingType for DialectId {
    const KIND: &'static str = "one of `pg` `rds-pg` `aurora-pg` `global-aurora-pg` `rds-multi-az-pg-cluster` `mysql` \
                                `rds-mysql` `aurora-mysql` `global-aurora-mysql` `rds-multi-az-mysql-cluster` `mariadb`";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        given.text().parse().map_err(|_| {
            let codes: Vec<&str> = Self::all().map(Self::code).collect();
            Refused::Expected(format!(
                "one of {}; a dialect of your own is given as an object, not by name",
                codes.join(", ")
            ))
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl From<DialectId> for Given {
    fn from(value: DialectId) -> Self {
        Self::from(value.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyphens_underscores_and_case_do_not_matter() {
        for text in ["strict_reader", "strict-reader", "STRICT_READER", "strictReader"] {
            let read = FailoverMode::read(&Given::from(text), Form::UnitInValue);
            assert!(matches!(read, Ok(FailoverMode::StrictReader)), "{text}");
        }
    }

    #[test]
    fn every_dialect_reads_back_as_itself_and_is_in_the_documentation() {
        let mut listed = String::from("one of");
        for id in DialectId::all() {
            let read = DialectId::read(&Given::from(id), Form::UnitInValue);
            assert!(matches!(read, Ok(read) if read == id), "{id}");
            listed.push_str(&format!(" `{id}`"));
        }
        assert_eq!(DialectId::KIND, listed);
        for (text, id) in
            [("multi-az-pg", DialectId::RdsMultiAzPgCluster), ("AURORA_PG", DialectId::AuroraPg)]
        {
            assert!(matches!(DialectId::read(&Given::from(text), Form::UnitInValue), Ok(read) if read == id));
        }
    }

    #[test]
    fn another_word_is_refused_with_the_list() {
        let Err(Refused::Expected(text)) = FailoverMode::read(&Given::from("any"), Form::UnitInValue) else {
            panic!("`any` was read");
        };
        assert_eq!(text, "one of strict_writer, strict_reader, reader_or_writer");
    }
}
