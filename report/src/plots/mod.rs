//! The figures of a run.

mod change;
mod charts;
mod figure;
mod grouping;
mod latency;
mod published;
mod timeline;

use std::fs;
use std::path::Path;

use crate::error::ResultsError;
use crate::summary::Summary;

/// A figure that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// File name without its ending; there are a `.svg` and a `.png`.
    pub name: String,
    /// The experiment it belongs to.
    pub experiment: String,
    /// Headline.
    pub title: String,
    /// What to see in it.
    pub caption: String,
    /// The SVG.
    pub(super) svg: String,
}

/// Draws every figure that the points of a run allow into `folder`, which is made if it is missing. Figures of an
/// earlier rendering that do not come out again are removed.
///
/// # Errors
/// [`ResultsError::Io`] or [`ResultsError::Plot`].
pub(super) fn draw(summary: &Summary, run: &Path, folder: &Path) -> Result<Vec<Drawn>, ResultsError> {
    fs::create_dir_all(folder).map_err(ResultsError::io(folder, "create"))?;
    let mut drawn = Vec::new();
    for (experiment, figure) in charts::figures(summary, run) {
        let Some(figure) = figure.drawable() else {
            continue;
        };
        drawn.push(Drawn { svg: figure.write(folder)?, name: figure.name, experiment, title: figure.title, caption: figure.caption });
    }
    remove_others(folder, &drawn)?;
    Ok(drawn)
}

fn remove_others(folder: &Path, drawn: &[Drawn]) -> Result<(), ResultsError> {
    let entries = fs::read_dir(folder).map_err(ResultsError::io(folder, "read"))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let is_figure = path.extension().is_some_and(|ending| ending == "svg" || ending == "png");
        let is_drawn = path.file_stem().is_some_and(|stem| drawn.iter().any(|drawn| *drawn.name == *stem));
        if is_figure && !is_drawn {
            fs::remove_file(&path).map_err(ResultsError::io(&path, "remove"))?;
        }
    }
    Ok(())
}
