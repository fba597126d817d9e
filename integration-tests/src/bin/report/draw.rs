//! The plots: from figures that the benches keep (`*.tsv`, a name and a number a line) to SVG.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
/// Numbers by what was measured.
type Figures = BTreeMap<String, Vec<f64>>;

const SIZE: (u32, u32) = (900, 380);
const DOT: RGBColor = RGBColor(31, 119, 180);
const BAR: RGBColor = RGBColor(200, 60, 40);
const LINES: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(120, 120, 120), RGBColor(44, 160, 44), RGBColor(255, 127, 14)];

/// Draws what there are figures for.
pub(crate) fn all(folder: &Path) -> Outcome {
    for (name, server) in
        [("failover", "PostgreSQL"), ("failover_mariadb", "MariaDB"), ("failover_mysql", "MySQL")]
    {
        let Some(figures) = read(&folder.join(name).with_extension("tsv"))? else { continue };
        // The bare driver's 30 s would leave no room for anything else; the table has it.
        let shown: Vec<_> = figures.into_iter().filter(|(name, _)| !name.starts_with("bare")).collect();
        dots(
            &folder.join(name).with_extension("svg"),
            &format!("{server}: first acknowledged write after the cluster accepts writes again"),
            [20.0, 100.0],
            &shown,
        )?;
    }
    if let Some(figures) = read(&folder.join("pools.tsv"))? {
        let shown: Vec<_> = figures.into_iter().map(|(name, ms)| (name.replace('`', ""), ms)).collect();
        dots(
            &folder.join("pools.svg"),
            "First acquire of a pool that leads to the new writer, after that one accepts writes",
            [60.0, 300.0],
            &shown,
        )?;
    }
    if let Some(figures) = read(&folder.join("storm.tsv"))? {
        let shown: Vec<_> = figures.into_iter().collect();
        curves(&folder.join("storm.svg"), "Clients that write again after a crash of the writer", &shown)?;
    }
    Ok(())
}

/// The figures by name, in the order of the names; `None` when nothing was measured yet.
fn read(path: &Path) -> Outcome<Option<Figures>> {
    let Ok(text) = fs::read_to_string(path) else {
        println!("{}: nothing measured yet, no plot", path.display());
        return Ok(None);
    };
    let mut figures = Figures::new();
    for line in text.lines() {
        let (name, number) = line.split_once('\t').ok_or_else(|| format!("{}: `{line}`", path.display()))?;
        figures.entry(name.to_owned()).or_default().push(number.parse()?);
    }
    Ok((!figures.is_empty()).then_some(figures))
}

/// A row of dots a scenario, on a logarithmic axis of milliseconds; lines mark the bars of median and p99.
fn dots(path: &Path, title: &str, bars: [f64; 2], figures: &[(String, Vec<f64>)]) -> Outcome {
    let height = SIZE.1.max(100 + 24 * u32::try_from(figures.len())?);
    let area = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let rows = figures.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(290)
        .build_cartesian_2d((0.5_f64..2000.0).log_scale(), 0.0..rows)?;
    let name = |at: &f64| {
        let row = (rows - at - 0.5).round();
        if (rows - at - 0.5 - row).abs() < 0.01 {
            figures.get(row as usize).map_or(String::new(), |(name, _)| name.clone())
        } else {
            String::new()
        }
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(figures.len() * 2 + 1)
        .y_label_formatter(&name)
        .x_desc(format!(
            "ms, each dot one failover; red: bars of the median ({} ms) and of the worst hundredth ({} ms)",
            bars[0], bars[1]
        ))
        .draw()?;
    for bar in bars {
        chart.draw_series([PathElement::new(vec![(bar, 0.0), (bar, rows)], BAR.stroke_width(1))])?;
    }
    for (row, (_, numbers)) in figures.iter().enumerate() {
        let height = rows - row as f64 - 0.5;
        let dots = numbers.iter().map(|ms| Circle::new((ms.max(0.5), height), 4, DOT.mix(0.5).filled()));
        chart.draw_series(dots)?;
    }
    area.present()?;
    println!("{}", path.display());
    Ok(())
}

/// A step curve a name: how many of its figures (milliseconds) are reached by then.
fn curves(path: &Path, title: &str, figures: &[(String, Vec<f64>)]) -> Outcome {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let last = figures.iter().flat_map(|(_, numbers)| numbers).copied().fold(1.0, f64::max);
    let most = figures.iter().map(|(_, numbers)| numbers.len()).max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..last * 1.05, 0.0..most * 1.05)?;
    let whole = |number: &f64| format!("{number:.0}");
    chart
        .configure_mesh()
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .x_desc("ms since the crash")
        .y_desc("clients")
        .draw()?;
    for (at, (name, numbers)) in figures.iter().enumerate() {
        let mut sorted = numbers.clone();
        sorted.sort_by(f64::total_cmp);
        let steps =
            sorted.iter().enumerate().flat_map(|(done, ms)| [(*ms, done as f64), (*ms, done as f64 + 1.0)]);
        let colour = LINES[at % LINES.len()];
        chart
            .draw_series(LineSeries::new(std::iter::once((0.0, 0.0)).chain(steps), colour.stroke_width(2)))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    println!("{}", path.display());
    Ok(())
}
