//! A few shapes of SVG, and the styles that the picture uses.

use std::fmt::Write;

/// Colours and fonts. The picture has a ground of its own, so that it can be read wherever it is shown; in a dark
/// page the ground is dark too.
const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2933 }
  .title { font-size: 20px; font-weight: 600 }
  .lane { font-size: 14px; font-weight: 600 }
  .figures, .muted, .tick, .legend { fill: #5b6773 }
  .tick { font-size: 11px }
  .note { font-weight: 600 }
  .ground { fill: #ffffff; stroke: #d8dee4 }
  .lane, .figures { stroke: #ffffff; stroke-width: 6px; stroke-linejoin: round; paint-order: stroke }
  .ours, .ours-text { fill: #0f7d74 }
  .bare, .bare-text { fill: #b4581b }
  .outage { fill: #8594a3; fill-opacity: .28 }
  .late { fill: #d92d20; fill-opacity: .17 }
  .axis { stroke: #8594a3 }
  .grid { stroke: #8594a3; stroke-opacity: .25 }
  .mark { stroke: #3e4c59; stroke-dasharray: 4 3 }
  .mark-text { fill: #3e4c59 }
  .pointer { fill: #1f2933 }
  @media (prefers-color-scheme: dark) {
    text, .pointer { fill: #e6edf3 }
    .figures, .muted, .tick, .legend { fill: #9aa7b4 }
    .ground { fill: #0d1117; stroke: #30363d }
    .lane, .figures { stroke: #0d1117 }
    .ours, .ours-text { fill: #35c4b5 }
    .bare, .bare-text { fill: #f0975a }
    .late { fill: #ff6a5e; fill-opacity: .25 }
    .mark { stroke: #b6c2cf }
    .mark-text { fill: #b6c2cf }
  }
";

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
pub(crate) struct Svg(String);

impl Svg {
    pub(crate) fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let mut svg = Self(String::new());
        svg.push(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">"
        ));
        svg.push(&format!("<title id=\"t\">{}</title>", escaped(title)));
        svg.push(&format!("<desc id=\"d\">{}</desc>", escaped(description)));
        svg.push(&format!("<style>{STYLE}</style>"));
        svg.push(&format!(
            "<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>",
            width - 1.0,
            height - 1.0
        ));
        svg
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    pub(crate) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    pub(crate) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.push(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A small triangle whose tip points down to `tip`.
    pub(crate) fn pointer(&mut self, class: &str, (x, y): (f64, f64)) {
        let (left, right, top) = (x - 5.0, x + 5.0, y - 8.0);
        self.push(&format!("<path class=\"{class}\" d=\"M{left:.1} {top:.1}H{right:.1}L{x:.1} {y:.1}Z\"/>"));
    }

    pub(crate) fn finish(mut self) -> String {
        self.push("</svg>");
        self.0
    }

    fn push(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_the_picture() {
        let mut svg = Svg::new(10.0, 10.0, "a < b", "\"&\"");
        svg.text(1.0, 2.0, Anchor::End, "note", "</svg>");
        let svg = svg.finish();
        assert!(
            svg.contains("a &lt; b") && svg.contains("&quot;&amp;&quot;") && svg.contains("&lt;/svg&gt;")
        );
        assert_eq!(svg.matches("</svg>").count(), 1);
    }
}
