//! What plotters draws on: SVG elements that carry classes instead of colours, so that the page's style
//! sheet decides how they look, light, dark and in print.

use std::convert::Infallible;
use std::fmt::Write;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use crate::report::html::escape;

/// What something drawn is; plotters carries it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Lines behind everything.
    Grid,
    /// The axes, and what stands beside them.
    Axis,
    /// A stretch of time that is marked.
    Shade,
    /// A line or an area of this number.
    Series(u8),
}

impl Role {
    pub(super) const fn colour(self) -> plotters::style::RGBColor {
        let (kind, number) = match self {
            Self::Grid => (0, 0),
            Self::Axis => (1, 0),
            Self::Shade => (2, 0),
            Self::Series(number) => (3, number),
        };
        plotters::style::RGBColor(0, kind, number)
    }

    fn class(colour: BackendColor) -> String {
        match colour.rgb {
            (_, 0, _) => "grid".to_owned(),
            (_, 1, _) => "axis".to_owned(),
            (_, 2, _) => "shade".to_owned(),
            (_, _, number) => format!("s{number}"),
        }
    }
}

/// Pixels that a character takes, about, at the size that the style sheet gives: digits of a sans-serif
/// face of 11 px.
const CHARACTER_WIDTH: f64 = 6.2;
const CHARACTER_HEIGHT: u32 = 11;

/// See the module.
#[derive(Debug)]
pub(super) struct Canvas<'a> {
    out: &'a mut String,
    size: (u32, u32),
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl<'a> Canvas<'a> {
    /// Elements are added to `out`; the element around them is the caller's.
    pub(super) fn new(out: &'a mut String, size: (u32, u32)) -> Self {
        Self { out, size }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) -> Drawn {
        // A string takes everything.
        let _ = self.out.write_fmt(element);
        Ok(())
    }

    fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
        let mut points = String::new();
        for (x, y) in path {
            let _ = write!(points, "{}{x},{y}", if points.is_empty() { "" } else { " " });
        }
        points
    }
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &colour, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        let class = Role::class(style.color());
        if style.color().alpha == 0.0 {
            return Ok(());
        }
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            from.0, from.1, to.0, to.1
        ))
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (class, kind) = (Role::class(style.color()), if fill { "fill" } else { "line" });
        if style.color().alpha == 0.0 {
            return Ok(());
        }
        let (width, height) = ((right - left).max(1), (bottom - top).max(1));
        self.add(format_args!(
            "<rect class=\"{class} {kind}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" \
             height=\"{height}\"/>"
        ))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let class = Role::class(style.color());
        if style.color().alpha == 0.0 {
            return Ok(());
        }
        let points = Self::points(path);
        self.add(format_args!("<polyline class=\"{class} line\" points=\"{points}\"/>"))
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (class, kind) = (Role::class(style.color()), if fill { "dot" } else { "line" });
        self.add(format_args!(
            "<circle class=\"{class} {kind}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>"
        ))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        let class = Role::class(style.color());
        let points = Self::points(corners);
        self.add(format_args!("<polygon class=\"{class} fill\" points=\"{points}\"/>"))
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        let anchor = style.anchor();
        let horizontal = match anchor.h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        // Baselines: the attribute for them is not honoured everywhere.
        let down = match anchor.v_pos {
            VPos::Top => "0.8em",
            VPos::Center => "0.35em",
            VPos::Bottom => "0",
        };
        let text = escape(text);
        self.add(format_args!(
            "<text text-anchor=\"{horizontal}\" x=\"{x}\" y=\"{y}\" dy=\"{down}\">{text}</text>"
        ))
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let width = (text.chars().count() as f64 * CHARACTER_WIDTH) as u32;
        Ok((width, CHARACTER_HEIGHT))
    }
}
