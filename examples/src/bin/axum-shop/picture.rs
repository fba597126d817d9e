//! The picture of the load: acknowledged orders over time.

#[path = "../failover-demo/picture/svg.rs"]
#[allow(dead_code, reason = "the demo's picture needs more of it")]
mod svg;

use std::time::Duration;

use svg::{Anchor, Svg};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 90.0;
const BOTTOM: f64 = 230.0;
/// How much time a bar stands for.
const BIN: f64 = 0.05;

/// When the cluster had no writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// Draws the times of the acknowledged orders.
pub(crate) fn draw(times: &[Duration], outage: Option<Outage>, end: Duration, figures: &str) -> String {
    let end = end.as_secs_f64().max(BIN);
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * (seconds / end).clamp(0.0, 1.0);
    let mut bins = vec![0_u32; (end / BIN) as usize + 1];
    for time in times {
        if let Some(bin) = bins.get_mut((time.as_secs_f64() / BIN) as usize) {
            *bin += 1;
        }
    }
    let highest = f64::from(bins.iter().copied().max().unwrap_or(0).max(1));
    let title = "A failover, seen by 50 clients of a web service";
    let mut svg = Svg::new(WIDTH, HEIGHT, title, figures);
    svg.text(LEFT, 36.0, Anchor::Start, "title", title);
    svg.text(LEFT, 58.0, Anchor::Start, "muted", figures);
    if let Some(outage) = outage {
        let (from, to) = (x(outage.from.as_secs_f64()), x(outage.to.as_secs_f64()));
        svg.rect("outage", (from, TOP), (to - from, BOTTOM - TOP));
        svg.text(from + 4.0, TOP - 6.0, Anchor::Start, "mark-text", "no writer");
    }
    for (index, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (x(index as f64 * BIN), x((index + 1) as f64 * BIN));
        let height = f64::from(*count) / highest * (BOTTOM - TOP);
        svg.rect("ours", (from, BOTTOM - height), ((to - from - 0.5).max(0.5), height));
    }
    svg.line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    svg.text(LEFT - 8.0, TOP + 4.0, Anchor::End, "tick", &format!("{highest}"));
    let mut second = 0.0;
    while second <= end {
        svg.text(x(second), BOTTOM + 18.0, Anchor::Middle, "tick", &format!("{second} s"));
        second += (end / 12.0).ceil();
    }
    svg.text(RIGHT, HEIGHT - 14.0, Anchor::End, "legend", "acknowledged orders in 50 ms");
    svg.finish()
}
