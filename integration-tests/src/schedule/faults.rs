//! The faults of a run, one after another, each at a time that the seed decides.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::driver::ConnectPurpose;
use wrapper_core::host::HostRole;
use wrapper_core::testkit::{Abandon, FailoverPlan, Health, ScriptedCluster, Trace};

use super::book::Book;

/// Plays faults on a cluster.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) cluster: ScriptedCluster,
    pub(super) rng: fastrand::Rng,
    pub(super) book: Arc<Book>,
    pub(super) trace: Trace,
    /// Hosts that have been slow, silent or down at some time.
    pub(super) suspect: Vec<bool>,
    /// One round trip to a host that is well.
    pub(super) latency: Duration,
}

/// Small disturbances beside the faults: resets, and an endpoint that leads to another host for a while.
pub(super) async fn gusts(cluster: ScriptedCluster, mut rng: fastrand::Rng, count: usize, trace: Trace) {
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(rng.u64(..1_500))).await;
        let host = rng.usize(..cluster.len());
        match rng.u8(..3) {
            0 => cluster.cut(host),
            1 => cluster.cut_purpose(host, ConnectPurpose::Monitor),
            _ => {
                cluster.set_endpoint(host, Duration::ZERO);
                tokio::time::sleep(Duration::from_millis(rng.u64(..2_000))).await;
                if let Some(writer) = cluster.writer() {
                    cluster.set_endpoint(writer, Duration::ZERO);
                }
            }
        }
        trace.note(format!("gust on instance-{}", host + 1));
    }
}

impl Faults {
    fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from..=to))
    }

    async fn pause(&mut self, from: u64, to: u64) {
        let span = self.ms(from, to);
        tokio::time::sleep(span).await;
    }

    fn writer(&self) -> usize {
        self.cluster.writer().unwrap_or(0)
    }

    /// A host other than the writer; whatever ails it is over.
    fn other(&mut self) -> usize {
        let writer = self.writer();
        let count = self.cluster.len();
        let other = (writer + self.rng.usize(1..count)) % count;
        let ails = self.cluster.health(other) != Health::Up
            || self.cluster.is_frozen(other)
            || self.cluster.role(other) == HostRole::Writer;
        if ails {
            self.cluster.rejoin(other);
        }
        other
    }

    fn plan(&mut self, old: Abandon) -> FailoverPlan {
        let mut plan = FailoverPlan::crash(self.other()).old(old);
        plan.promotion = self.ms(0, 1_500);
        plan.restart = if self.rng.bool() { Some(self.ms(20, 400)) } else { None };
        plan.stale_topology = if self.rng.bool() { self.ms(0, 3_000) } else { Duration::ZERO };
        plan.stale_dns = if self.rng.bool() { self.ms(0, 10_000) } else { Duration::ZERO };
        plan
    }

    async fn fail_over(&mut self, old: Abandon) -> usize {
        let before = self.writer();
        // Where a commit waits for a replica, a writer that has lost them says nothing.
        let old = match old {
            Abandon::Unaware if self.cluster.flavour().is_multi_az() => Abandon::Freezes,
            old => old,
        };
        let plan = self.plan(old);
        self.trace.note(format!("fault: {old:?} instance-{} -> instance-{}", before + 1, plan.to + 1));
        self.suspect[before] = true;
        self.cluster.fail_over(plan).await;
        before
    }

    /// Plays `count` faults and heals the cluster.
    pub(super) async fn play(&mut self, count: usize) {
        for _ in 0..count {
            self.pause(0, 1_800).await;
            self.one().await;
        }
        self.pause(0, 500).await;
        self.heal();
    }

    async fn one(&mut self) {
        match self.rng.u8(..15) {
            0 | 1 => {
                let old = self.fail_over(Abandon::Crashes).await;
                self.pause(0, 2_000).await;
                self.cluster.rejoin(old);
            }
            2 | 3 => {
                let _ = self.fail_over(Abandon::StepsDown).await;
            }
            4 => {
                let old = self.fail_over(Abandon::Freezes).await;
                self.silence().await;
                self.cluster.rejoin(old);
            }
            5 => self.freeze().await,
            6 => self.cut().await,
            7 => self.flap().await,
            8 => {
                let _ = self.fail_over(Abandon::Crashes).await;
                self.pause(0, 700).await;
                let _ = self.fail_over(Abandon::Crashes).await;
                self.pause(0, 700).await;
            }
            9 | 10 => {
                let old = self.fail_over(Abandon::Unaware).await;
                self.pause(500, 4_000).await;
                self.cluster.rejoin(old);
            }
            11 => self.lock_out().await,
            12 => self.slow().await,
            13 => self.restart().await,
            _ => self.jump().await,
        }
    }

    /// A host says nothing for a while.
    async fn freeze(&mut self) {
        let host = if self.rng.u8(..4) == 0 { self.other() } else { self.writer() };
        self.trace.note(format!("fault: freeze instance-{}", host + 1));
        self.suspect[host] = true;
        self.cluster.freeze(host);
        self.silence().await;
        self.cluster.thaw(host);
    }

    /// Mostly short; sometimes longer than any call may take.
    async fn silence(&mut self) {
        let longest = if self.rng.u8(..5) == 0 { 30_000 } else { 4_000 };
        self.pause(50, longest).await;
    }

    /// Connections are reset, once or several times.
    async fn cut(&mut self) {
        for _ in 0..self.rng.u8(1..4) {
            let writer = self.writer();
            self.trace.note(format!("fault: cut instance-{}", writer + 1));
            self.cluster.cut(writer);
            self.pause(0, 200).await;
        }
    }

    /// The role goes to another host and comes back.
    async fn flap(&mut self) {
        let old = self.fail_over(Abandon::StepsDown).await;
        self.pause(0, 300).await;
        let mut back = self.plan(Abandon::StepsDown);
        back.to = old;
        back.promotion = self.ms(0, 300);
        self.trace.note(format!("fault: back to instance-{}", old + 1));
        self.cluster.fail_over(back).await;
    }

    /// A host, or all of them, refuse the credentials for a while.
    async fn lock_out(&mut self) {
        let all = self.rng.bool();
        let hosts: Vec<usize> = if all { (0..self.cluster.len()).collect() } else { vec![self.writer()] };
        self.trace.note(format!("fault: locked, all={all}"));
        for host in &hosts {
            if self.cluster.health(*host) == Health::Up {
                self.cluster.set_health(*host, Health::Locked);
            }
        }
        let writer = self.writer();
        self.cluster.cut(writer);
        self.pause(100, 2_500).await;
        for host in hosts {
            if self.cluster.health(host) == Health::Locked {
                self.cluster.set_health(host, Health::Up);
            }
        }
    }

    /// A host answers late.
    async fn slow(&mut self) {
        let host = self.rng.usize(..self.cluster.len());
        let latency = self.ms(20, 600);
        self.trace.note(format!("fault: instance-{} answers after {latency:?}", host + 1));
        self.suspect[host] = true;
        self.cluster.set_latency(host, latency);
        self.pause(200, 3_000).await;
        self.cluster.set_latency(host, self.latency);
    }

    /// The writer's process dies and comes back as the writer.
    async fn restart(&mut self) {
        let writer = self.writer();
        self.trace.note(format!("fault: restart instance-{}", writer + 1));
        self.suspect[writer] = true;
        self.cluster.crash(writer);
        self.pause(0, 1_000).await;
        self.cluster.set_health(writer, Health::Starting);
        self.pause(0, 500).await;
        self.cluster.set_health(writer, Health::Up);
    }

    /// The whole process is paused: time goes on, nobody runs.
    async fn jump(&mut self) {
        let span = self.ms(100, 8_000);
        self.trace.note(format!("fault: the clock jumps by {span:?}"));
        self.book.pages().jumped += span;
        tokio::time::advance(span).await;
    }

    fn heal(&mut self) {
        self.trace.note("healed");
        self.cluster.set_endpoint(self.writer(), Duration::ZERO);
        for host in 0..self.cluster.len() {
            self.cluster.rejoin(host);
            self.cluster.set_health(host, Health::Up);
            self.cluster.thaw(host);
            self.cluster.set_latency(host, self.latency);
        }
    }
}
