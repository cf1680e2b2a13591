//! A figure as a page of a PDF, as large as the figure: by the drawing library with the feature `pdf` (Rust 1.92 or
//! newer), else by librsvg's `rsvg-convert`.

use kuva::render::layout::Layout;
use kuva::render::plots::Plot;

use super::style::Style;

/// The page; `svg` is the same figure, `drawn` what it is made of.
///
/// # Errors
/// Why there is none, with the mend.
#[cfg(feature = "pdf")]
pub(super) fn page(_svg: &str, drawn: impl FnOnce() -> (Vec<Plot>, Layout), style: Style) -> Result<Vec<u8>, String> {
    use kuva::backend::pdf::{PageSize, PdfBackend};
    use kuva::render::render::render_multiple;

    const CM_AN_INCH: f64 = 2.54;
    let (plots, layout) = drawn();
    let size = PageSize::inches(style.width_cm / CM_AN_INCH, style.height_cm / CM_AN_INCH);
    PdfBackend::new().with_page_size(size).render_scene(&render_multiple(plots, layout))
}

/// As above.
#[cfg(not(feature = "pdf"))]
pub(super) fn page(svg: &str, _drawn: impl FnOnce() -> (Vec<Plot>, Layout), _style: Style) -> Result<Vec<u8>, String> {
    use std::io::Write;
    use std::process::{Command, Stdio};

    const PROGRAM: &str = "rsvg-convert";
    let missing = |error| {
        format!("{PROGRAM}: {error}; install it (package librsvg2-bin), or build squall with `--features pdf` and Rust 1.92 or newer")
    };
    // Pixels of an SVG are 96 to an inch; a page is measured in centimetres.
    let mut command = Command::new(PROGRAM);
    command.args(["--format", "pdf", "--dpi-x", "96", "--dpi-y", "96"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut converting = command.spawn().map_err(missing)?;
    if let Some(mut stdin) = converting.stdin.take() {
        // One that ends early says why.
        let _ = stdin.write_all(svg.as_bytes());
    }
    let converted = converting.wait_with_output().map_err(missing)?;
    match converted.status.success() {
        true => Ok(converted.stdout),
        false => Err(format!("{PROGRAM}: {}", String::from_utf8_lossy(&converted.stderr).trim())),
    }
}
