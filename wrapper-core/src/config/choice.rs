//! Settings whose value is one of a few words.

use std::fmt;

use crate::config::value::{Form, Given, Read, Refused, SettingType};
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

words! {
    /// The kind of database, as `wrapper_dialect` names it. That a code is recognised does not mean that it is supported.
    pub enum DialectCode {
        /// PostgreSQL.
        Pg = "pg",
        /// RDS for PostgreSQL, one instance.
        RdsPg = "rds-pg",
        /// Aurora PostgreSQL.
        AuroraPg = "aurora-pg",
        /// Aurora global database, PostgreSQL.
        GlobalAuroraPg = "global-aurora-pg",
        /// RDS Multi-AZ DB cluster, PostgreSQL.
        RdsMultiAzPgCluster = "rds-multi-az-pg-cluster",
        /// MySQL.
        Mysql = "mysql",
        /// RDS for MySQL, one instance.
        RdsMysql = "rds-mysql",
        /// Aurora MySQL.
        AuroraMysql = "aurora-mysql",
        /// Aurora global database, MySQL.
        GlobalAuroraMysql = "global-aurora-mysql",
        /// RDS Multi-AZ DB cluster, MySQL.
        RdsMultiAzMysqlCluster = "rds-multi-az-mysql-cluster",
        /// MariaDB.
        Mariadb = "mariadb",
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
    fn every_word_reads_back_as_itself() {
        for code in DialectCode::ALL {
            assert!(
                matches!(DialectCode::read(&Given::from(*code), Form::UnitInValue), Ok(read) if read == *code)
            );
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
