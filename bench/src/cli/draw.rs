//! `squall plot` and `squall gallery`: what is drawn from results that are there.

use std::path::PathBuf;

use clap::Args;

use super::output::{notice, say};
use super::status::EXIT_DONE;
use squall_report::{Style, StyleName, gallery, plot_folder_as};

pub(super) const EXAMPLES: &str = "\
Examples:
  squall plot results/2026-11-22T10-28-05Z-reproduce
  squall plot results/mine --style paper              8.5 cm wide, 8 point letters, 300 dots an inch
  squall plot results/mine --style paper --width 17
  squall plot results/mine --style slide
  squall plot results/mine --style paper --pdf        each figure also as a page of its own size

--pdf takes librsvg's rsvg-convert (package librsvg2-bin), or a squall built with --features pdf.";

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// A folder with results.csv
    dir: PathBuf,
    /// What the figures are for: screen, paper (no title, since papers have captions) or slide
    #[arg(long, default_value = "screen", value_name = "STYLE")]
    style: StyleName,
    /// Width of a figure in centimetres [default: 26.46 on a screen, 8.5 in a paper, 24 on a slide]
    #[arg(long, value_name = "CM", value_parser = centimetres)]
    width: Option<f64>,
    /// Height of a figure in centimetres [default: in proportion]
    #[arg(long, value_name = "CM", value_parser = centimetres)]
    height: Option<f64>,
    /// Draw each figure as PDF too
    #[arg(long)]
    pdf: bool,
}

#[derive(Debug, Args)]
pub(super) struct GalleryArgs {
    /// A folder with folders of runs
    #[arg(default_value = "results")]
    dir: PathBuf,
}

fn centimetres(text: &str) -> Result<f64, String> {
    match text.trim_end_matches("cm").trim().parse::<f64>() {
        Ok(length) if (2.0..=200.0).contains(&length) => Ok(length),
        _ => Err("give centimetres from 2 to 200, such as 8.5".into()),
    }
}

/// Draws a run again.
pub(super) fn plot(args: &PlotArgs) -> anyhow::Result<u8> {
    let rendered = plot_folder_as(&args.dir, Style::new(args.style, args.width, args.height).with_pdf(args.pdf))?;
    notice(&rendered.notices);
    say(&rendered.report.display().to_string())?;
    Ok(EXIT_DONE)
}

/// Makes the index over runs.
pub(super) fn index(args: &GalleryArgs) -> anyhow::Result<u8> {
    let made = gallery(&args.dir)?;
    notice(&made.notices);
    say(&made.index.display().to_string())?;
    Ok(EXIT_DONE)
}
