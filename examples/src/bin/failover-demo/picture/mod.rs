//! The picture: acknowledged writes over time, one lane a client, on one clock.
//!
//! What lives here: where things stand. The words and colours of SVG are in `svg.rs`.

mod svg;

use std::path::Path;
use std::time::Duration;

use crate::bare::CALL_LIMIT;
use crate::options::{Fault, Options, Place};
use crate::result::{ClientResult, RunResult};
use crate::summary::{lateness, length};
use svg::{Anchor, Svg};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 470.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 28.0;
/// Top of the plot of each lane, and its height.
const LANES: [f64; 2] = [158.0, 302.0];
const LANE: f64 = 92.0;
/// Where the marks of the cluster's moments begin and end.
const MARK_TOP: f64 = 112.0;
const MARK_END: f64 = LANES[1] + LANE;
/// The most bars that are drawn.
const BARS: f64 = 240.0;

/// Whether a picture can be written there, said before the cluster is started.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
    open.map(drop).map_err(|error| cannot(path, &error))
}

pub(crate) fn write(path: &Path, picture: &str) -> Result<(), String> {
    std::fs::write(path, picture).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &std::io::Error) -> String {
    format!("--out {}: the picture cannot be written there: {error}; name another file", path.display())
}

/// Draws a run on `place`.
pub(crate) fn draw(options: &Options, place: &str, result: &RunResult) -> String {
    let scale = Scale::new(result.end);
    let mut svg = Svg::new(WIDTH, HEIGHT, title(options), &description(options, result));
    svg.text(LEFT, 36.0, Anchor::Start, "title", title(options));
    svg.text(LEFT, 58.0, Anchor::Start, "muted", &subtitle(options, place));
    let lanes = LANES.into_iter().zip(["ours", "bare"]);
    let lanes: Vec<_> = [&result.wrapped, &result.bare].into_iter().zip(lanes).collect();
    for (client, (top, class)) in &lanes {
        lane(&mut svg, &scale, client, result, *top, class);
    }
    // Over the lanes, and under their words.
    moments(&mut svg, &scale, options, result);
    for (client, (top, class)) in &lanes {
        heading(&mut svg, client, result, *top, class);
    }
    axis(&mut svg, &scale);
    legend(&mut svg, &scale, result.timeline.is_some());
    svg.finish()
}

fn title(options: &Options) -> &'static str {
    match (&options.place, options.fault) {
        (Place::Url(_), _) => "A failover, seen by the application",
        (_, Fault::Crash) => "A crash of the writer, seen by the application",
        (_, Fault::Planned) => "A planned switchover, seen by the application",
        (_, Fault::Freeze) => "A writer that falls silent, seen by the application",
    }
}

fn subtitle(options: &Options, place: &str) -> String {
    let mut text = format!("{place}; each client inserts a row every 10 ms");
    if !matches!(options.place, Place::Url(_)) {
        text.push_str(&format!("; DNS follows a failover {} late, for both", lag(options.dns_lag)));
    }
    text
}

/// A length of time as it is given on the command line.
fn lag(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

fn description(options: &Options, result: &RunResult) -> String {
    let mut text = format!(
        "Made by `{options}`. The bare client asks DNS before each connect, connects anew every 50 ms after an \
         error, and gives a statement up after {CALL_LIMIT:?}."
    );
    for client in [&result.wrapped, &result.bare] {
        text.push_str(&format!(" {}: {}.", client.name, figures(client, result)));
    }
    text
}

/// Time on the x axis.
struct Scale {
    end: f64,
    bin: f64,
}

impl Scale {
    fn new(end: Duration) -> Self {
        let end = end.as_secs_f64().max(1.0);
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
        let bin = steps.into_iter().find(|bin| end / bin <= BARS).unwrap_or(60.0);
        Self { end, bin }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (seconds / self.end).clamp(0.0, 1.0)
    }

    fn at(&self, time: Duration) -> f64 {
        self.x(time.as_secs_f64())
    }

    /// The whole bins before the end, each with its count.
    fn bins(&self, times: &[Duration]) -> Vec<usize> {
        let mut bins = vec![0; (self.end / self.bin) as usize];
        for time in times {
            if let Some(bin) = bins.get_mut((time.as_secs_f64() / self.bin) as usize) {
                *bin += 1;
            }
        }
        bins
    }

    fn bin_text(&self) -> String {
        length(Duration::from_secs_f64(self.bin))
    }
}

fn lane(svg: &mut Svg, scale: &Scale, client: &ClientResult, result: &RunResult, top: f64, class: &str) {
    shade(svg, scale, client, result, top);

    // As many as fit a bin reach two thirds of the lane: above is room for words.
    let full = scale.bin / crate::writer::PERIOD.as_secs_f64();
    let height = |count: f64| (count / full).min(1.45) * LANE * 0.66;
    for share in [0.5, 1.0] {
        let y = top + LANE - height(full * share);
        svg.line("grid", (LEFT, y), (RIGHT, y));
        svg.text(LEFT - 8.0, y + 4.0, Anchor::End, "tick", &format!("{}", full * share));
    }
    svg.text(LEFT - 8.0, top + LANE + 2.0, Anchor::End, "tick", "0");
    for (index, count) in scale.bins(&client.tally.times()).into_iter().enumerate() {
        let (from, to) = (scale.x(index as f64 * scale.bin), scale.x((index + 1) as f64 * scale.bin));
        let bar = height(count as f64);
        // A gap between bars, unless they are too thin for one.
        let width = if to - from > 3.0 { to - from - 1.0 } else { to - from };
        if count > 0 {
            svg.rect(class, (from, top + LANE - bar), (width, bar));
        }
    }
    svg.line("axis", (LEFT, top + LANE), (RIGHT, top + LANE));
}

fn heading(svg: &mut Svg, client: &ClientResult, result: &RunResult, top: f64, class: &str) {
    let label = if class == "ours" { "with the wrapper (wrapper-pg)" } else { "bare tokio-postgres" };
    svg.text(LEFT, top - 12.0, Anchor::Start, &format!("lane {class}-text"), label);
    svg.text(RIGHT, top - 12.0, Anchor::End, "figures", &figures(client, result));
}

/// The client's time without writes: while the cluster has no writer, and from then on until the client is back.
fn shade(svg: &mut Svg, scale: &Scale, client: &ClientResult, result: &RunResult, top: f64) {
    let mut area = |class: &str, from: f64, to: f64| {
        if to > from {
            svg.rect(class, (from, top), (to - from, LANE));
        }
    };
    let Some(gap) = client.gap(result.end) else {
        area("late", scale.x(0.0), scale.at(result.end));
        return;
    };
    let Some(timeline) = &result.timeline else {
        if gap.length() > Duration::from_millis(300) {
            area("late", scale.at(gap.from), scale.at(gap.to));
            note(svg, scale, top, (gap.from, gap.to), &format!("no writes for {}", length(gap.length())));
        }
        return;
    };
    area("outage", scale.at(timeline.lost), scale.at(timeline.accepting));
    let back =
        if client.late(timeline, result.end).is_some() || !gap.closed { gap.to } else { timeline.accepting };
    area("late", scale.at(timeline.accepting), scale.at(back.max(timeline.accepting)));
    match client.late(timeline, result.end) {
        Some(late) => {
            let x = scale.at(gap.to);
            svg.pointer("pointer", (x, top + 16.0));
            let text = format!("first write {}", lateness(late));
            if x + 170.0 < RIGHT {
                svg.text(x + 8.0, top + 14.0, Anchor::Start, "note", &text);
            } else {
                svg.text(x - 8.0, top + 14.0, Anchor::End, "note", &text);
            }
        }
        None if !gap.closed => {
            note(svg, scale, top, (timeline.accepting, result.end), "does not come back within this run");
        }
        None => {}
    }
}

/// Words in the middle of a shaded time.
fn note(svg: &mut Svg, scale: &Scale, top: f64, (from, to): (Duration, Duration), text: &str) {
    let middle = (scale.at(from) + scale.at(to)) / 2.0;
    svg.text(middle.clamp(LEFT + 110.0, RIGHT - 110.0), top + 14.0, Anchor::Middle, "note", text);
}

fn figures(client: &ClientResult, result: &RunResult) -> String {
    let gap = match client.gap(result.end) {
        Some(gap) if gap.closed => format!("longest gap {}", length(gap.length())),
        Some(gap) => format!("no writes for the last {}", length(gap.length())),
        None => "no writes at all".to_owned(),
    };
    let errors: u64 = client.tally.failures().values().sum();
    let found = match client.found {
        Some(found) => format!("{} lost, {} doubled", found.lost, found.doubled),
        None => "not read back".to_owned(),
    };
    format!(
        "{} writes, {gap}, {errors} error{}, {found}",
        client.tally.count(),
        if errors == 1 { "" } else { "s" }
    )
}

/// The moments of the cluster, over both lanes: the fault, the new writer, DNS.
fn moments(svg: &mut Svg, scale: &Scale, options: &Options, result: &RunResult) {
    let Some(timeline) = &result.timeline else { return };
    let what = match options.fault {
        Fault::Crash => "crash of",
        Fault::Planned => "switchover from",
        Fault::Freeze => "freeze of",
    };
    let dns = timeline.accepting + options.dns_lag;
    let marks = [
        (timeline.lost, format!("{what} {}", timeline.from)),
        (timeline.accepting, format!("{} accepts writes", timeline.to)),
        (dns, "DNS follows".to_owned()),
    ];
    // Each label stands right of its mark, in the first row that is free there.
    let mut rows = [f64::MIN; 3];
    for (at, label) in marks {
        if at > result.end {
            continue;
        }
        let (x, width) = (scale.at(at), label.len() as f64 * 6.7 + 14.0);
        let (from, anchor) = if x + width > RIGHT { (x - width, Anchor::End) } else { (x, Anchor::Start) };
        let row = rows.iter().position(|end| *end <= from).unwrap_or(0);
        rows[row] = from + width;
        let y = MARK_TOP - row as f64 * 16.0;
        svg.line("mark", (x, y - 10.0), (x, MARK_END));
        let offset = if matches!(anchor, Anchor::End) { -6.0 } else { 6.0 };
        svg.text(x + offset, y, anchor, "mark-text", &label);
    }
}

fn axis(svg: &mut Svg, scale: &Scale) {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0];
    let step = steps.into_iter().find(|step| scale.end / step <= 16.0).unwrap_or(1200.0);
    for index in 0..=(scale.end / step) as usize {
        let (x, seconds) = (scale.x(index as f64 * step), index as f64 * step);
        svg.line("axis", (x, MARK_END), (x, MARK_END + 5.0));
        svg.text(x, MARK_END + 20.0, Anchor::Middle, "tick", &format!("{seconds}"));
    }
    svg.text(RIGHT, MARK_END + 38.0, Anchor::End, "tick", "seconds since the start");
}

fn legend(svg: &mut Svg, scale: &Scale, ours: bool) {
    let y = HEIGHT - 18.0;
    let late = if ours { "the cluster is back, the client is not" } else { "the client does not write" };
    let mut entries = vec![("bar", format!("acknowledged writes per {}", scale.bin_text()))];
    if ours {
        entries.push(("outage", "the cluster has no writer".to_owned()));
    }
    entries.push(("late", late.to_owned()));
    let mut x = LEFT;
    for (class, text) in entries {
        if class == "bar" {
            svg.rect("ours", (x, y - 11.0), (6.0, 13.0));
            svg.rect("bare", (x + 8.0, y - 11.0), (6.0, 13.0));
        } else {
            svg.rect(class, (x, y - 11.0), (14.0, 13.0));
        }
        svg.text(x + 21.0, y, Anchor::Start, "legend", &text);
        x += 21.0 + text.len() as f64 * 6.4 + 26.0;
    }
}
