//! The scaling curves as a picture: what a wait costs over the number of idle sources, and what
//! an event costs over the number of ready ones.

use std::fmt::Write as _;

use super::report::Measured;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 470.0;
/// Of one panel, without its labels.
const PANEL: (f64, f64) = (376.0, 290.0);
const TOP: f64 = 60.0;
const LEFT: [f64; 2] = [84.0, 556.0];

/// How each contender is drawn: colour, width, dashes.
const STYLES: [(&str, &str, f64, &str); 8] = [
    ("bare epoll", "#000000", 2.0, ""),
    ("bare poll", "#000000", 1.5, "6 4"),
    ("bare select", "#000000", 1.5, "2 4"),
    ("selectors epoll", "#0b5fd6", 3.0, ""),
    ("selectors poll", "#0b5fd6", 2.0, "6 4"),
    ("selectors select", "#0b5fd6", 2.0, "2 4"),
    ("polling level", "#1b8a3a", 2.0, ""),
    ("popol", "#c2185b", 2.0, "6 4"),
];

/// One of the two diagrams.
struct Panel {
    title: &'static str,
    below: &'static str,
    /// The points of each contender: name, number of sources, nanoseconds.
    points: Vec<(&'static str, f64, f64)>,
}

/// The picture, if both panels have something to show.
pub(crate) fn draw(measured: &[Measured]) -> Option<String> {
    let panels = [
        Panel {
            title: "Nanoseconds for a wait that finds one event",
            below: "registered sources, all but one of them idle",
            points: points(measured, |registered, ready| (ready == 1).then_some(registered)),
        },
        Panel {
            title: "Nanoseconds for each event",
            below: "registered sources, all of them ready",
            points: points(measured, |registered, ready| (ready == registered).then_some(ready)),
        },
    ];
    if panels.iter().any(|panel| panel.points.len() < STYLES.len()) {
        return None;
    }
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
         font-family='Helvetica, Arial, sans-serif' font-size='12' fill='#222'>\n\
         <rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>\n"
    );
    for (panel, left) in panels.iter().zip(LEFT) {
        panel.draw(&mut svg, left);
    }
    legend(&mut svg);
    svg.push_str("</svg>\n");
    Some(svg)
}

#[expect(clippy::cast_precision_loss, reason = "there are not that many descriptors")]
fn points(
    measured: &[Measured],
    place: impl Fn(usize, usize) -> Option<usize>,
) -> Vec<(&'static str, f64, f64)> {
    let mut points = Vec::new();
    for Measured { sources, outcomes, .. } in measured {
        let Some(x) = sources.and_then(|(registered, ready)| place(registered, ready)) else {
            continue;
        };
        points
            .extend(outcomes.iter().map(|outcome| (outcome.name, x as f64, outcome.value.median)));
    }
    points
}

/// The powers of ten from below the least to above the greatest.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values.fold(1.0, f64::max).log10().ceil();
    (low, high.max(low + 1.0))
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64) {
        let (width, height) = PANEL;
        let (right, bottom) = (left + width, TOP + height);
        let (x_low, x_high) = decades(self.points.iter().map(|point| point.1));
        let (y_low, y_high) = decades(self.points.iter().map(|point| point.2));
        let x = |value: f64| left + width * (value.log10() - x_low) / (x_high - x_low);
        let y = |value: f64| bottom - height * (value.log10() - y_low) / (y_high - y_low);

        let title = self.title;
        _ = writeln!(
            svg,
            "<text x='{left}' y='{:.1}' font-size='15' font-weight='bold'>{title}</text>",
            TOP - 20.0
        );
        for value in powers(x_low, x_high) {
            let at = x(value);
            _ = writeln!(svg, "<path d='M{at:.1} {TOP}V{bottom}' stroke='#ddd'/>");
            text(svg, at, bottom + 18.0, "middle", &thousands(value));
        }
        for value in powers(y_low, y_high) {
            let at = y(value);
            _ = writeln!(svg, "<path d='M{left} {at:.1}H{right}' stroke='#ddd'/>");
            text(svg, left - 8.0, at + 4.0, "end", &thousands(value));
        }
        let outline = "fill='none' stroke='#666'";
        _ = writeln!(
            svg,
            "<rect x='{left}' y='{TOP}' width='{width}' height='{height}' {outline}/>"
        );
        text(svg, left + width / 2.0, bottom + 38.0, "middle", self.below);
        for style in STYLES {
            let mut line = String::new();
            for (_, over, nanos) in self.points.iter().filter(|point| point.0 == style.0) {
                let command = if line.is_empty() { 'M' } else { 'L' };
                _ = write!(line, "{command}{:.1} {:.1}", x(*over), y(*nanos));
            }
            stroke(svg, &line, style);
        }
    }
}

fn powers(low: f64, high: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(low), |power| Some(power + 1.0))
        .take_while(move |&power| power <= high)
        .map(|power| 10_f64.powf(power))
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    _ = writeln!(svg, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{text}</text>");
}

fn stroke(svg: &mut String, line: &str, (_, colour, width, dashes): (&str, &str, f64, &str)) {
    _ = writeln!(
        svg,
        "<path d='{line}' fill='none' stroke='{colour}' stroke-width='{width}' \
         stroke-dasharray='{dashes}' stroke-linejoin='round'/>"
    );
}

/// Below the panels, three to a column.
fn legend(svg: &mut String) {
    for (row, style) in STYLES.iter().enumerate() {
        let column = [84.0, 390.0, 700.0][row / 3];
        let y = [418.0, 436.0, 454.0][row % 3];
        stroke(svg, &format!("M{column} {y}h44"), *style);
        text(svg, column + 54.0, y + 4.0, "start", style.0);
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
