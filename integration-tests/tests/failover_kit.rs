//! What a failover takes of the library itself: two hundred seeds on the test kit. Time is virtual, so that the figures
//! are the same on every machine.
#![allow(clippy::expect_used, reason = "tests")]

#[path = "../benches/failover_kit/kit.rs"]
mod kit;

use kit::Loss;

fn check(loss: Loss, restarts: bool, (median, p99, longest): (f64, f64, f64)) {
    let (mut late, mut downtime) = (Vec::new(), 0.0_f64);
    for seed in 0..200 {
        let run = kit::run(loss, restarts, seed).expect("the run begins");
        assert_eq!(run.lost, 0, "seed {seed}: acknowledged writes that are not in the store");
        late.push(run.late);
        downtime = downtime.max(run.downtime);
    }
    late.sort_by(f64::total_cmp);
    println!(
        "{loss:?}, restart {restarts}: median {:.1} ms, p99 {:.1} ms, worst {:.1} ms; downtime {downtime:.0} ms",
        late[100], late[197], late[199]
    );
    assert!(downtime <= longest, "downtime {downtime:.0} ms");
    assert!(late[100] <= median && late[197] <= p99, "median {:.1} ms, p99 {:.1} ms", late[100], late[197]);
}

#[test]
fn a_crash() {
    check(Loss::Crash, false, (20.0, 100.0, 2000.0));
    // Connects are refused while it restarts, and are tried again every 20 ms.
    check(Loss::Crash, true, (25.0, 100.0, 2000.0));
}

#[test]
fn a_planned_failover() {
    check(Loss::Planned, false, (20.0, 100.0, 2000.0));
    check(Loss::Planned, true, (25.0, 100.0, 2000.0));
}

#[test]
fn a_frozen_writer() {
    // The next writer is there at once; the time is that of the detection, and of one switch.
    check(Loss::Freeze, false, (1800.0, 1800.0, 1800.0));
}
