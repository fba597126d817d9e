//! What a failover looks like from the application, with the wrapper and without: `--help` tells the options.
//!
//! ```text
//! cargo run --release -p examples --bin failover-demo
//! ```
//!
//! Ends with status 0 when the wrapper's client wrote again after the failover and no acknowledged write was lost.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program shows real time")]

mod bare;
mod demo;
mod drivers;
mod live;
mod mysql;
mod options;
mod picture;
mod place;
mod postgres;
mod read_back;
mod result;
mod summary;
mod tally;
mod wrapped;
mod writer;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("failover-demo: {error}");
            return ExitCode::from(2);
        }
    };
    let interrupted = CancellationToken::new();
    tokio::spawn(watch_for_interrupts(interrupted.clone()));
    match demo::run(&options, &interrupted).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("failover-demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first Ctrl-C ends the demo in good order, the second at once.
async fn watch_for_interrupts(interrupted: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        interrupted.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}
