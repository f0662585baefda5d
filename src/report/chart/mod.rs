//! Charts as SVG: lines over time, and strips of cells. Axes, meshes and lines are plotters'; what they
//! are drawn on is [`canvas`].

mod canvas;

use std::fmt::Write;
use std::ops::Range;

use canvas::{Canvas, Role};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, Rectangle};
use plotters::series::{AreaSeries, LineSeries};
use plotters::style::{Color, IntoFont, TRANSPARENT};

use super::html::escape;
use crate::integration::axis::{Scale, TimeAxis};
use crate::time::{TimeRange, Timestamp};

/// Pixels of a chart before it is scaled to the page: across it, or half of it.
const WIDE: (u32, u32) = (860, 190);
const HALF: (u32, u32) = (430, 150);
/// Room beside the plot: for values on the left, for half a label on the right, for times below.
const LEFT: u32 = 62;
const RIGHT: u32 = 34;
const BELOW: u32 = 22;
const ABOVE: u32 = 8;
/// Pixels that a label of a time takes, with air.
const TIME_WIDTH: f64 = 92.0;

/// Lines that a chart tells apart.
pub(super) const LINES_MAX: usize = 8;

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// For the legend.
    pub(super) name: String,
    /// Times and values, ascending by time; a NaN is a gap.
    pub(super) points: Vec<(Timestamp, f64)>,
}

/// Lines over a range.
pub(super) struct Chart<'a> {
    /// Whether it stands beside another.
    pub(super) half: bool,
    /// What it shows, in words: for who cannot see it.
    pub(super) label: String,
    /// What it covers.
    pub(super) range: TimeRange,
    /// At most [`LINES_MAX`]; the first lies on top.
    pub(super) lines: &'a [Line],
    /// Whether the area below the lines is filled.
    pub(super) filled: bool,
    /// Stretches of time that are marked.
    pub(super) marks: &'a [TimeRange],
    /// `bytes` has ticks at powers of two.
    pub(super) unit: &'a str,
    /// How a value stands at its tick.
    pub(super) value: &'a dyn Fn(f64) -> String,
}

impl Chart<'_> {
    /// The chart as an SVG element; a sentence where there is nothing to draw.
    pub(super) fn svg(&self) -> String {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let finite = || values().filter(|value| value.is_finite());
        if self.range.is_empty() || finite().next().is_none() {
            return "<p class=\"none\">No values in this range.</p>".to_owned();
        }
        let greatest = finite().fold(f64::NEG_INFINITY, f64::max);
        let scale = Scale::around(finite().fold(0.0, f64::min), greatest.max(0.0), self.unit);
        let mut drawn = String::new();
        // What is drawn on never fails; a chart whose axes have no extent is the only way here.
        let Ok(()) = self.draw(scale, &mut drawn) else {
            return "<p class=\"none\">These values cannot be drawn.</p>".to_owned();
        };
        let (label, (width, height)) = (escape(&self.label), self.size());
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">{drawn}</svg>"
        )
    }

    fn draw(
        &self,
        scale: Scale,
        out: &mut String,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let plot = f64::from(self.size().0 - LEFT - RIGHT);
        let times = TimeAxis::new(self.range, plot / TIME_WIDTH);
        let across = Axis {
            lower: 0.0,
            upper: self.x(self.range.end),
            ticks: times.ticks().map(|tick| self.x(tick)).collect(),
        };
        let up = Axis { lower: scale.lower, upper: scale.upper, ticks: scale.ticks().collect() };
        let area = Canvas::new(out, self.size()).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(ABOVE)
            .margin_right(RIGHT)
            .set_left_and_bottom_label_area_size(0)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(across, up)?;
        for mark in self.marks {
            let (left, right) =
                (self.x(mark.start).max(0.0), self.x(mark.end).min(self.x(self.range.end)));
            let corners = [(left, scale.lower), (right, scale.upper)];
            let mark = Rectangle::new(corners, Role::Shade.colour().filled());
            chart.draw_series(std::iter::once(mark))?;
        }
        let font = ("sans-serif", 11).into_font().color(&Role::Axis.colour());
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(Role::Grid.colour())
            .axis_style(Role::Axis.colour())
            .label_style(font)
            .x_label_formatter(&|x| times.label(self.time(*x)))
            .y_label_formatter(&|value| (self.value)(*value))
            .draw()?;
        for (line, number) in self.lines.iter().zip(0..LINES_MAX).rev() {
            self.draw_line(&mut chart, scale, line, Role::Series(number as u8))?;
        }
        area.present()?;
        Ok(())
    }

    fn draw_line<'c>(
        &self,
        chart: &mut ChartContext<'c, Canvas<'c>, Cartesian2d<Axis, Axis>>,
        scale: Scale,
        line: &Line,
        role: Role,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let style = || role.colour().stroke_width(2);
        for run in line.points.split(|point| !point.1.is_finite()) {
            let points = || run.iter().map(|&(time, value)| (self.x(time), value));
            match run {
                [] => {}
                [_] => {
                    let dots = points().map(|at| Circle::new(at, 2, role.colour().filled()));
                    chart.draw_series(dots)?;
                }
                _ if self.filled => {
                    let area = AreaSeries::new(points(), scale.lower.max(0.0), role.colour());
                    chart.draw_series(area.border_style(style()))?;
                }
                _ => {
                    chart.draw_series(LineSeries::new(points(), style()))?;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> (u32, u32) {
        if self.half { HALF } else { WIDE }
    }

    /// Seconds since the range's beginning.
    fn x(&self, time: Timestamp) -> f64 {
        (i128::from(time.0) - i128::from(self.range.start.0)) as f64 * 1e-9
    }

    /// What [`x`](Self::x) was made of, to the microsecond, so that a round time stays round.
    fn time(&self, x: f64) -> Timestamp {
        let micros = (x * 1e6).round() as i64;
        let start_micros = self.range.start.0.div_euclid(1_000);
        let rest = self.range.start.0.rem_euclid(1_000);
        let nanos = i128::from(start_micros.saturating_add(micros)) * 1_000 + i128::from(rest);
        // Ticks are whole milliseconds; what the beginning has below a microsecond is rounding.
        let nanos = (nanos + 500) / 1_000 * 1_000;
        Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

/// An axis with ticks of ours.
struct Axis {
    lower: f64,
    upper: f64,
    ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let length = self.upper - self.lower;
        let share = if length > 0.0 { (value - self.lower) / length } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let pixels = (f64::from(to - from) * share.clamp(0.0, 1.0)).round() as i32;
        from + pixels
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.max_num_points() == 0 { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.lower..self.upper
    }
}

/// The legend of a chart's lines.
pub(super) fn legend(lines: &[Line]) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (line, number) in lines.iter().zip(0_u8..) {
        let name = escape(&line.name);
        let _ = write!(
            out,
            "<li><svg class=\"key\" viewBox=\"0 0 22 8\" aria-hidden=\"true\"><polyline \
             class=\"s{number} line\" points=\"0,4 22,4\"/></svg>{name}</li>"
        );
    }
    out + "</ul>"
}

/// A cell of a strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing was asked.
    Idle,
    /// All went well.
    Well,
    /// Something failed.
    Some,
    /// A tenth or more failed.
    Many,
    /// Half or more failed.
    Most,
}

/// One row of cells over time, equally wide.
pub(super) fn strip(cells: &[Cell], label: &str) -> String {
    const CELL: usize = 10;
    let (width, label) = (cells.len().max(1) * CELL, escape(label));
    let mut out = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {width} 20\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{label}\">"
    );
    let mut at = 0;
    for run in cells.chunk_by(|a, b| a == b) {
        let class = match run.first() {
            Some(Cell::Well) => "well",
            Some(Cell::Some) => "some",
            Some(Cell::Many) => "many",
            Some(Cell::Most) => "most",
            Some(Cell::Idle) | None => "idle",
        };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" width=\"{}\" height=\"20\"/>",
            at * CELL,
            run.len() * CELL
        );
        at += run.len();
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, values: &[f64]) -> Line {
        let at = |i: usize| Timestamp::from_secs(36_000 + i as i64);
        let points = values.iter().enumerate().map(|(i, value)| (at(i), *value));
        Line { name: name.to_owned(), points: points.collect() }
    }

    fn chart(lines: &[Line]) -> String {
        let range = TimeRange::new(Timestamp::from_secs(36_000), Timestamp::from_secs(36_030));
        let marks = [TimeRange::new(Timestamp::from_secs(36_010), Timestamp::from_secs(36_900))];
        Chart {
            half: false,
            label: "a <chart>".to_owned(),
            range,
            lines,
            filled: false,
            marks: &marks,
            unit: "",
            value: &|value| format!("{value} <"),
        }
        .svg()
    }

    #[test]
    fn a_chart_has_round_ticks_and_no_colour_of_its_own() {
        let svg = chart(&[line("a", &[0.0, 7.0, f64::NAN, 3.0, f64::NAN, 1.0, 2.0])]);
        for piece in [
            ">10:00:05<",
            ">10:00:25<",
            ">0 &lt;<",
            ">8 &lt;<",
            "class=\"shade fill\"",
            "s0 line",
            "s0 dot",
            "aria-label=\"a &lt;chart&gt;\"",
        ] {
            assert!(svg.contains(piece), "no {piece} in {svg}");
        }
        for word in ["#", "rgb", "fill=", "stroke=", "style="] {
            assert!(!svg.contains(word), "{word} in {svg}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        assert!(chart(&[]).contains("No values"));
        assert!(chart(&[line("a", &[f64::NAN, f64::INFINITY])]).contains("No values"));
        for value in [0.0, 5.0, -5.0, f64::MAX, f64::MIN_POSITIVE] {
            assert!(chart(&[line("flat", &[value; 9])]).contains("<svg"), "{value}");
        }
    }

    #[test]
    fn a_strip_is_as_many_stretches_as_it_changes() {
        let svg = strip(&[Cell::Well, Cell::Well, Cell::Most, Cell::Idle], "x");
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains("class=\"most\" x=\"20\" width=\"10\""), "{svg}");
    }
}
