//! How large figures and their letters are: on a screen, in a paper, on a slide.

use std::str::FromStr;

/// A place that figures are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StyleName {
    /// A browser: wide, with a title.
    #[default]
    Screen,
    /// A column of a paper: 8.5 cm, 8 point letters, no title, since papers have captions.
    Paper,
    /// A slide: 24 cm, large letters.
    Slide,
}

/// A style, with the size of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// What it is for.
    pub name: StyleName,
    /// Width of a figure, centimetres.
    pub width_cm: f64,
    /// Height of a figure, centimetres.
    pub height_cm: f64,
    /// Whether each figure is also a page of a PDF.
    pub pdf: bool,
}

/// Pixels of an SVG in a centimetre, by the rules of the web: 96 to an inch.
const PIXELS_PER_CM: f64 = 96.0 / 2.54;

impl Style {
    /// A style with its usual size, or so many centimetres wide (and in the same shape), or of both sizes.
    pub fn new(name: StyleName, width_cm: Option<f64>, height_cm: Option<f64>) -> Style {
        let (usual_width, usual_height) = match name {
            StyleName::Screen => (26.46, 13.76),
            StyleName::Paper => (8.5, 5.6),
            StyleName::Slide => (24.0, 13.0),
        };
        let width = width_cm.unwrap_or(usual_width);
        Style { name, width_cm: width, height_cm: height_cm.unwrap_or(usual_height * width / usual_width), pdf: false }
    }

    /// The same, and each figure also as a page of a PDF.
    pub fn with_pdf(self, pdf: bool) -> Style {
        Style { pdf, ..self }
    }

    /// Width and height in pixels of an SVG.
    pub(super) fn pixels(self) -> (f64, f64) {
        ((self.width_cm * PIXELS_PER_CM).round(), (self.height_cm * PIXELS_PER_CM).round())
    }

    /// Pixels of the PNG for one of the SVG: 300 to an inch in print.
    pub(super) fn png_scale(self) -> f32 {
        match self.name {
            StyleName::Screen => 1.5,
            StyleName::Paper => 300.0 / 96.0,
            StyleName::Slide => 2.0,
        }
    }

    /// Letters: of titles, subtitles, axes and ticks, in pixels of the SVG.
    pub(super) fn letters(self) -> Letters {
        match self.name {
            StyleName::Screen => Letters { title: 18, subtitle: 12, label: 14, tick: 12 },
            // 8 points are 10.7 pixels.
            StyleName::Paper => Letters { title: 11, subtitle: 8, label: 11, tick: 9 },
            StyleName::Slide => Letters { title: 26, subtitle: 15, label: 22, tick: 18 },
        }
    }

    /// How much larger marks and lines are than on a screen.
    pub(super) fn weight(self) -> f64 {
        match self.name {
            StyleName::Screen => 1.0,
            StyleName::Paper => 0.7,
            StyleName::Slide => 1.6,
        }
    }
}

/// Sizes of letters in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letters {
    pub(super) title: u32,
    pub(super) subtitle: u32,
    pub(super) label: u32,
    pub(super) tick: u32,
}

impl Default for Style {
    fn default() -> Style {
        Style::new(StyleName::Screen, None, None)
    }
}

impl FromStr for StyleName {
    type Err = String;

    fn from_str(text: &str) -> Result<StyleName, String> {
        match text {
            "screen" => Ok(StyleName::Screen),
            "paper" => Ok(StyleName::Paper),
            "slide" => Ok(StyleName::Slide),
            _ => Err("give screen, paper or slide".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_centimetres() {
        assert_eq!(Style::default().pixels(), (1000.0, 520.0));
        let column = Style::new(StyleName::Paper, None, None);
        assert_eq!(column.pixels(), (321.0, 212.0));
        let wide = Style::new(StyleName::Paper, Some(17.0), None);
        assert!((wide.height_cm - 11.2).abs() < 1e-9);
        assert_eq!(Style::new(StyleName::Slide, Some(10.0), Some(10.0)).pixels(), (378.0, 378.0));
    }
}
