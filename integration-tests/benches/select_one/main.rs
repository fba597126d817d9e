//! `SELECT 1`, prepared, on loopback: the library's client with its default plugins beside the bare driver.
//!
//! ```text
//! cargo bench -p integration-tests --bench select_one [-- --pairs 150] [--core 0] [--write] [--instructions]
//! cargo bench -p integration-tests --bench select_one -- --pairs 0 --instructions
//! ```
//! The two are measured in pairs, in turns, in one run: only ratios inside a pair are used. With `--instructions`
//! the instructions of one call are counted too, by valgrind, which must be installed; `--pairs 0` counts only.
//! `--core` binds client and servers to one core: where they share few cores with others, most of the noise comes from
//! being moved between them. A call then takes what client and server take together, one after the other.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program measures real time")]

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod instructions;
#[cfg(target_os = "linux")]
mod pairs;
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    // Before the servers and the runtime's threads are started: they inherit it.
    if let Some(core) = arguments.value("--core")? {
        let mut set = nix::sched::CpuSet::new();
        set.set(core)?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
    }
    // One thread: what the two clients cost, not how they are spread over cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if arguments.has("--child") {
        return runtime.block_on(instructions::child(&arguments));
    }
    runtime.block_on(run(&arguments))
}

#[cfg(target_os = "linux")]
async fn run(arguments: &support::Arguments) -> support::Outcome {
    let cluster = integration_tests::LocalCluster::builder().start().await?;
    let place = clients::Place::of(&cluster);
    let pairs = arguments.value("--pairs")?.unwrap_or(150);
    if pairs > 0 {
        let table = pairs::measure(&place, pairs).await?;
        table.print();
        if arguments.has("--write") {
            table.write("select_one", &arguments.command("select_one"), &[])?;
        }
    }
    if arguments.has("--instructions") {
        let table = instructions::measure(&place)?;
        table.print();
        if arguments.has("--write") {
            table.write("instructions", &arguments.command("select_one"), &[])?;
        }
    }
    cluster.stop().await;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}
