//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Writes every 10 ms to a PostgreSQL or MySQL cluster, with the wrapper and beside it with the bare driver (tokio-postgres,
mysql_async), makes the cluster lose its writer, and shows what each of the two saw of it: a live line, the wrapper's
report of the switch, a table, and a picture.

Usage: failover-demo [OPTIONS]

  --engine postgres    PostgreSQL (default)
  --engine mysql       MySQL
  --cluster sim        a simulated cluster in this process (default)
  --cluster postgres   three real PostgreSQL servers on this machine; Linux, needs PostgreSQL's server programs
                       (Debian: `apt-get install postgresql`; others: PGBIN names their folder)
  --cluster mysql      three real MariaDB servers on this machine; Linux, needs MariaDB's server programs
                       (Debian: `apt-get install mariadb-server`)
  --url URL            your own cluster, by its cluster endpoint (postgres://… or mysql://…); you trigger the failover
                       while the demo writes.
                       It makes two tables `failover_demo_…` there and drops them at the end
  --fault crash        the writer's server dies (default)
  --fault planned      a switchover, as for maintenance
  --fault freeze       the writer falls silent: it accepts connections, but never answers
  --dns-lag TIME       how long the cluster endpoint's name leads to the old writer after a failover, for both
                       clients (default 5s; not with --url, where DNS is what it is)
  --seconds N          how long to write (default: until both clients write again, at most a minute more than the
                       DNS lag; with --url 120)
  --out FILE.svg       where the picture goes (default failover-demo.svg)
  --help               this text

TIME is a number with a unit: 500ms, 5s, 1m. Ctrl-C ends the demo early: it cleans up and shows what it has.
";

/// Where the demo runs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Simulated,
    /// Real servers of the engine.
    Local,
    /// A cluster of the user's; the URL may hold a password.
    Url(String),
}

/// What the cluster speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Engine {
    #[default]
    Postgres,
    Mysql,
}

impl Engine {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    /// The engine of a URL of the user's; a scheme that neither has is for the adapter to refuse.
    fn of_url(url: &str) -> Option<Self> {
        match url.split_once("://")?.0 {
            "mysql" => Some(Self::Mysql),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    Planned,
    Freeze,
}

impl Fault {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Planned => "planned",
            Self::Freeze => "freeze",
        }
    }
}

pub(crate) struct Options {
    pub(crate) engine: Engine,
    pub(crate) place: Place,
    pub(crate) fault: Fault,
    pub(crate) dns_lag: Duration,
    pub(crate) seconds: Option<Duration>,
    pub(crate) out: PathBuf,
}

impl fmt::Display for Options {
    /// The command that leads to these options; without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cargo run --release -p examples --bin failover-demo --")?;
        match &self.place {
            Place::Simulated if self.engine == Engine::Mysql => {
                f.write_str(" --engine mysql --cluster sim")?
            }
            Place::Simulated => f.write_str(" --cluster sim")?,
            Place::Local => write!(f, " --cluster {}", self.engine.as_str())?,
            Place::Url(_) => return f.write_str(" --url …"),
        }
        write!(f, " --fault {} --dns-lag {:?}", self.fault.as_str(), self.dns_lag)?;
        match self.seconds {
            Some(seconds) => write!(f, " --seconds {}", seconds.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The options, or `None` when only the help is wanted.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<Option<Options>, String> {
    read(lexopt::Parser::from_iter(arguments)).map_err(|error| format!("{error} (--help lists the options)"))
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let (mut cluster, mut url, mut fault, mut dns_lag, mut seconds) = (None, None, None, None, None);
    let mut engine = None;
    let mut out = PathBuf::from("failover-demo.svg");
    while let Some(argument) = parser.next()? {
        match argument {
            Long("engine") => {
                engine = Some(match word(&mut parser)?.as_str() {
                    "postgres" => Engine::Postgres,
                    "mysql" => Engine::Mysql,
                    other => return Err(format!("--engine {other}: expected postgres or mysql").into()),
                });
            }
            Long("cluster") => {
                cluster = Some(match word(&mut parser)?.as_str() {
                    "sim" => (Place::Simulated, None),
                    "postgres" => (Place::Local, Some(Engine::Postgres)),
                    "mysql" => (Place::Local, Some(Engine::Mysql)),
                    other => {
                        return Err(format!("--cluster {other}: expected sim, postgres or mysql").into());
                    }
                });
            }
            Long("url") => url = Some(word(&mut parser)?),
            Long("fault") => {
                fault = Some(match word(&mut parser)?.as_str() {
                    "crash" => Fault::Crash,
                    "planned" => Fault::Planned,
                    "freeze" => Fault::Freeze,
                    other => return Err(format!("--fault {other}: expected crash, planned or freeze").into()),
                });
            }
            Long("dns-lag") => dns_lag = Some(time(&word(&mut parser)?)?),
            Long("seconds") => {
                let text = word(&mut parser)?;
                let number = text.parse().ok().filter(|number| (1..=3600).contains(number));
                let number: u64 = number
                    .ok_or_else(|| format!("--seconds {text}: expected a whole number from 1 to 3600"))?;
                seconds = Some(Duration::from_secs(number));
            }
            Long("out") => out = PathBuf::from(parser.value()?),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let (place, implied) = match (cluster, url) {
        (Some(_), Some(_)) => {
            return Err("--cluster and --url: give one of them; --url names a cluster of your own".into());
        }
        (None, Some(_)) if fault.is_some() || dns_lag.is_some() => {
            let text = "--fault and --dns-lag do not go with --url: on your own cluster the failover is yours, and \
                        DNS is what it is";
            return Err(text.into());
        }
        (None, Some(url)) => {
            let implied = Engine::of_url(&url);
            (Place::Url(url), implied)
        }
        (cluster, None) => cluster.unwrap_or((Place::Simulated, None)),
    };
    if let (Some(engine), Some(implied)) = (engine, implied)
        && engine != implied
    {
        let (engine, implied) = (engine.as_str(), implied.as_str());
        let text = format!("--engine {engine}: this cluster is one of {implied}; leave --engine out");
        return Err(text.into());
    }
    let engine = engine.or(implied).unwrap_or_default();
    let fault = fault.unwrap_or(Fault::Crash);
    let dns_lag = dns_lag.unwrap_or(Duration::from_secs(5));
    Ok(Some(Options { engine, place, fault, dns_lag, seconds, out }))
}

fn word(parser: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    parser.value()?.string()
}

fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let millis = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    let millis = millis.filter(|millis| *millis <= 600_000);
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!("--dns-lag {text}: expected a whole number and ms, s or m, at most ten minutes, such as 500ms or 5s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, String> {
        parse(std::iter::once("failover-demo").chain(line.split_whitespace()).map(Into::into))
    }

    #[test]
    fn the_options_are_read() {
        let options = parsed("--cluster postgres --fault freeze --dns-lag 500ms --seconds 9 --out a.svg");
        let options = options.expect("valid").expect("not the help");
        assert!(options.place == Place::Local && options.engine == Engine::Postgres);
        assert_eq!((options.fault, options.dns_lag), (Fault::Freeze, Duration::from_millis(500)));
        assert_eq!((options.seconds, options.out), (Some(Duration::from_secs(9)), PathBuf::from("a.svg")));
        for (line, engine) in [
            ("", Engine::Postgres),
            ("--engine mysql", Engine::Mysql),
            ("--cluster mysql", Engine::Mysql),
            ("--url mysql://h/d", Engine::Mysql),
            ("--url postgresql://h/d", Engine::Postgres),
        ] {
            assert_eq!(parsed(line).expect("valid").expect("not the help").engine, engine, "{line}");
        }
        assert!(parsed("-h").expect("valid").is_none());
    }

    #[test]
    fn wrong_options_say_what_is_expected() {
        for (line, expected) in [
            ("--cluster aurora", "sim, postgres or mysql"),
            ("--engine maria", "postgres or mysql"),
            ("--engine mysql --cluster postgres", "one of postgres"),
            ("--engine postgres --url mysql://h/d", "one of mysql"),
            ("--fault slow", "crash, planned or freeze"),
            ("--dns-lag 5", "500ms or 5s"),
            ("--dns-lag 99999999999999999999s", "at most ten minutes"),
            ("--seconds 0", "1 to 3600"),
            ("--url postgres://h/d --fault crash", "do not go with --url"),
            ("--url postgres://h/d --cluster sim", "give one of them"),
            ("--verbose", "--help lists the options"),
            ("--out", "--help lists the options"),
        ] {
            let error = parsed(line).map(|_| ()).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
