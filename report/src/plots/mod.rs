//! The figures of a run.

mod change;
mod charts;
mod delay;
mod drawing;
mod figure;
mod gap;
mod grouping;
mod latency;
pub(crate) mod limits;
mod offered;
mod orders;
mod over_time;
mod pdf;
mod published;
mod replicas;
mod scale;
mod study;
mod style;
mod timeline;

pub(crate) use figure::{COLOURS, Figure, Line, Mark, Of, Series};
pub(crate) use scale::{Axis, Scale};

pub use style::{Style, StyleName};

use std::fs;
use std::path::Path;

use crate::error::ResultsError;
use crate::summary::Summary;

/// A figure of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// File name without its ending; there are a `.svg`, a `.png`, and a `.pdf` if it was wanted.
    pub name: String,
    /// The experiment it belongs to.
    pub experiment: String,
    /// Headline.
    pub title: String,
    /// What to see in it.
    pub caption: String,
    /// What is drawn.
    pub(super) figure: Figure,
}

/// Every figure that the points of a run allow; `run` is the folder with histograms and timelines.
pub(super) fn figures(summary: &Summary, run: &Path) -> Vec<Drawn> {
    let drawable = |(experiment, figure): (String, Figure)| {
        let figure = figure.drawable()?;
        Some(Drawn { name: figure.name.clone(), experiment, title: figure.title.clone(), caption: figure.caption.clone(), figure })
    };
    charts::figures(summary, run).into_iter().filter_map(drawable).collect()
}

/// Draws every figure that the points of a run allow into `folder`, which is made if it is missing. Figures of an
/// earlier rendering that do not come out again are removed.
///
/// # Errors
/// [`ResultsError::Io`] or [`ResultsError::Plot`].
pub(super) fn draw(summary: &Summary, run: &Path, folder: &Path, style: Style) -> Result<Vec<Drawn>, ResultsError> {
    fs::create_dir_all(folder).map_err(ResultsError::io(folder, "create"))?;
    let drawn = figures(summary, run);
    for drawn in &drawn {
        drawn.figure.write(folder, style)?;
    }
    remove_others(folder, &drawn, style)?;
    Ok(drawn)
}

fn remove_others(folder: &Path, drawn: &[Drawn], style: Style) -> Result<(), ResultsError> {
    let entries = fs::read_dir(folder).map_err(ResultsError::io(folder, "read"))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let is = |wanted: &str| path.extension().is_some_and(|ending| ending == wanted);
        let is_figure = is("svg") || is("png") || is("pdf");
        let is_drawn = (style.pdf || !is("pdf")) && path.file_stem().is_some_and(|stem| drawn.iter().any(|drawn| *drawn.name == *stem));
        if is_figure && !is_drawn {
            fs::remove_file(&path).map_err(ResultsError::io(&path, "remove"))?;
        }
    }
    Ok(())
}
