//! moto's server, which stands in for AWS: Secrets Manager, STS and what RDS tells of its clusters.
//!
//! What lives here: its start and its end, and the calls by which a test fills it. What may not: faults and gates, which it
//! has not (`secrets` has); logins, which it does not check.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::local::place::Account;

/// Runs a program until standard input ends, which is a pipe that only our process holds: it ends too when our process is
/// killed, whichever way.
const SCRIPT: &str = "trap '' INT TERM HUP QUIT
\"$@\" & pid=$!
exec 2>/dev/null
while read -r _; do :; done
kill -KILL $pid
wait";

/// Against hanging only: how long it may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why moto could not be started, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MotoError {
    /// It is not installed.
    #[error(
        "moto's server is not there: looked at {searched}; run `scripts/test`, which installs it, or set MOTO_SERVER to a \
         moto_server (PyPI, moto 5.2 or newer)"
    )]
    NotInstalled {
        /// The places looked at.
        searched: String,
    },
    /// It ended before it answered.
    #[error("moto's server ended before it answered; it said: {said}")]
    Ended {
        /// The end of what it wrote.
        said: String,
    },
    /// Nothing came in time.
    #[error("moto's server did not {what} within {PATIENCE:?}")]
    Late {
        /// What was waited for.
        what: &'static str,
    },
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// It answered with an error.
    #[error("moto answered {action} with: {answer}")]
    Refused {
        /// The call.
        action: String,
        /// The answer, from its first line.
        answer: String,
    },
}

type Result<T> = std::result::Result<T, MotoError>;

fn failed(what: &'static str) -> impl Fn(io::Error) -> MotoError {
    move |source| MotoError::Io { what, source }
}

/// A running server. It ends when it is dropped, and when our process does.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    shell: Child,
}

impl Moto {
    /// Starts a server on a free port of 127.0.0.1, and waits until it answers. As root it runs as `postgres` or `nobody`
    /// where these may run it.
    ///
    /// # Errors
    /// It is not installed, or does not start; the error has what it said.
    ///
    /// # Cancellation
    /// Ends what was started.
    pub async fn start() -> Result<Self> {
        let program = program()?;
        let mut command = shell(&program)?;
        command.args(["-c", SCRIPT, "moto-watchdog"]).arg(&program).args(["-H", "127.0.0.1", "-p", "0"]);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            // Of the machine's own identity it must know nothing.
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let mut shell = command.spawn().map_err(failed("start moto's server"))?;
        let said = shell.stderr.take();
        let mut moto = Self { address: ([127, 0, 0, 1], 0).into(), shell };
        let (tell, told) = oneshot::channel();
        if let Some(said) = said {
            // Read to its end, which comes with the server's: a full pipe would hold the server up.
            std::thread::spawn(move || listen(BufReader::new(said), tell));
        }
        let told = tokio::time::timeout(PATIENCE, told).await;
        let told = told.map_err(|_| MotoError::Late { what: "say where it listens" })?;
        let listens = told.unwrap_or_else(|_| Err(String::new()));
        moto.address = listens.map_err(|said| MotoError::Ended { said })?;
        moto.send("GET", "/moto-api/", &[], "").await?;
        Ok(moto)
    }

    /// Its URL, which is the endpoint of every service.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls a service that takes JSON, such as `secretsmanager.CreateSecret`, in a region; gives the body of the answer.
    ///
    /// # Errors
    /// What it refused the call with.
    ///
    /// # Cancellation
    /// The call may have been made.
    pub async fn call(&self, region: &str, target: &str, body: &str) -> Result<String> {
        let service = target.split('.').next().unwrap_or_default();
        let headers = [
            ("X-Amz-Target", target.to_owned()),
            ("Content-Type", "application/x-amz-json-1.1".to_owned()),
            ("Authorization", signed(region, service)),
        ];
        self.send("POST", "/", &headers, body).await
    }

    /// Calls a service that takes a form, such as `rds`, in a region; gives the body of the answer. Values must need no
    /// encoding.
    ///
    /// # Errors
    /// What it refused the call with.
    ///
    /// # Cancellation
    /// The call may have been made.
    pub async fn call_form(
        &self,
        region: &str,
        service: &str,
        version: &str,
        action: &str,
        values: &[(&str, &str)],
    ) -> Result<String> {
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in values {
            body.push_str(&format!("&{name}={value}"));
        }
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
            ("Authorization", signed(region, service)),
        ];
        self.send("POST", "/", &headers, &body).await
    }

    /// Forgets everything. Tests that share a server use names of their own instead.
    ///
    /// # Errors
    /// It does not answer.
    ///
    /// # Cancellation
    /// It may have been done.
    pub async fn reset(&self) -> Result<()> {
        self.send("POST", "/moto-api/reset", &[], "").await.map(drop)
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Result<String> {
        let mut text = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(text.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        let answer = answer.map_err(|_| MotoError::Late { what: "answer" })?;
        let answer = answer.map_err(failed("call moto's server"))?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
            _ => {
                let action = headers.first().map_or(path, |(_, value)| value).to_owned();
                Err(MotoError::Refused { action, answer })
            }
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing but a SIGKILL stands between it and its end.
        let _ = self.shell.wait();
    }
}

/// moto reads region and service from here, and checks nothing.
fn signed(region: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20240101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// Tells where the server listens, by its own word; then reads on.
fn listen(said: impl BufRead, tell: oneshot::Sender<std::result::Result<SocketAddr, String>>) {
    let (mut tell, mut last) = (Some(tell), Vec::new());
    for line in said.lines() {
        let Ok(line) = line else { break };
        if tell.is_none() {
            continue;
        }
        let address = line.split_once("Running on http://").and_then(|(_, rest)| rest.trim().parse().ok());
        match address {
            Some(address) => drop(tell.take().map(|tell| tell.send(Ok(address)))),
            None => last.push(line),
        }
    }
    let end = last.split_off(last.len().saturating_sub(12)).join("\n");
    drop(tell.map(|tell| tell.send(Err(end))));
}

/// In `MOTO_SERVER`, else where `scripts/test` installs it: in the target folder, which is found from the test program.
fn program() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("MOTO_SERVER") {
        let given = PathBuf::from(given);
        let searched = format!("MOTO_SERVER={}", given.display());
        return if given.is_file() { Ok(given) } else { Err(MotoError::NotInstalled { searched }) };
    }
    let own = std::env::current_exe().map_err(failed("tell where this program is"))?;
    let folders = own.ancestors().skip(1).map(|folder| folder.join("moto/bin/moto_server"));
    let mut searched = "MOTO_SERVER (unset)".to_owned();
    for place in folders {
        if place.is_file() {
            return Ok(place);
        }
        searched.push_str(&format!(", {}", place.display()));
    }
    Err(MotoError::NotInstalled { searched })
}

/// A shell of the account that is to run the program: an unprivileged one, if that may.
fn shell(program: &Path) -> Result<Command> {
    let account = Account::choose().map_err(|error| MotoError::Io {
        what: "find an account to run moto as",
        source: io::Error::other(error),
    })?;
    let mut probe = account.command("sh");
    probe.args(["-c", "[ -x \"$1\" ] && [ -x \"$2\" ]", "probe"]).arg(program);
    probe.arg(program.with_file_name("python")).current_dir("/");
    let may = probe.status().map_err(failed("start a shell"))?.success();
    if may {
        return Ok(account.command("sh"));
    }
    let mut command = Command::new("sh");
    command.process_group(0);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_says_when_it_does_not_start_is_told() {
        let (tell, told) = oneshot::channel();
        listen("no module named moto\n".as_bytes(), tell);
        assert_eq!(told.await.unwrap(), Err("no module named moto".to_owned()));
        let (tell, told) = oneshot::channel();
        listen(" * Running on http://127.0.0.1:5000\nPress CTRL+C\n".as_bytes(), tell);
        assert_eq!(told.await.unwrap(), Ok(([127, 0, 0, 1], 5000).into()));
    }
}
