//! The frame of a page, and safe text in it.

use serde_json::Value;

/// A whole page around `body`, in the reader's choice of light or dark.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{UPLOT_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// uPlot 1.6.32 (MIT, Leon Sorokin), as published; `vendor/uplot/LICENSE` is its license.
const UPLOT: &str = include_str!("../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../vendor/uplot/uPlot.min.css");
/// Draws the data with uPlot.
const SCRIPT: &str = include_str!("script.js");

/// Data and the script that draws them. No text of the data can end its element, as `<` is written as JSON allows.
pub(super) fn script(data: &Value) -> String {
    let data = data.to_string().replace('<', "\\u003c");
    format!("<script type=\"application/json\" id=\"data\">{data}</script>\n<script>{UPLOT}</script>\n<script>{SCRIPT}</script>\n")
}

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #ffffff; --text: #1b1f24; --faint: #5b6570; --line: #d5dae0; --band: #f4f6f8;
    --warn: #fff3d6; --warn-line: #b26a00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --text: #e6e9ec; --faint: #a0a9b2; --line: #343b42; --band: #1c2126; --warn: #3a2c0c; --warn-line: #e0a030; }
}
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; }
code { overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
figure h3 { margin: 0; } .how { color: var(--faint); font-size: 0.85rem; }
.chart { min-height: 260px; }
.legend { display: flex; flex-wrap: wrap; gap: 0 0.6rem; }
.legend canvas { width: 34px; height: 14px; margin-right: 0.3rem; vertical-align: -2px; }
button { font: inherit; font-size: 0.85rem; color: inherit; background: none; border: 0; padding: 0.1rem 0.2rem; cursor: pointer; }
button[aria-pressed=false] { opacity: 0.4; text-decoration: line-through; }
th button { font-weight: bold; padding: 0; }
#filters { position: sticky; top: 0; z-index: 2; background: var(--ground); font-size: 0.85rem; display: flex; flex-wrap: wrap; }
#filters fieldset { border: 0; padding: 0.1rem 0.6rem; margin: 0; }
#filters legend { float: left; font-weight: bold; margin-right: 0.4rem; }
#filters label { margin-right: 0.5rem; white-space: nowrap; }
#tip { position: absolute; z-index: 3; max-width: 290px; pointer-events: none; background: var(--band);
    border: 1px solid var(--line); border-radius: 4px; padding: 0.3rem 0.6rem; font-size: 0.8rem; }
figcaption { color: var(--faint); font-size: 0.9rem; margin-top: 0.4rem; }
a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--ground); }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--band); }
summary { cursor: pointer; padding: 0.4rem 0; }
.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: 0.4rem 0.8rem; }
";

/// A section with a heading; both are HTML.
pub(crate) fn section(heading: &str, content: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n{content}\n</section>\n")
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// Heading.
    pub(super) name: &'static str,
    /// Numbers stand to the right.
    pub(super) is_number: bool,
}

/// A table of text; everything is escaped.
pub(super) fn table(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = head(columns);
    for row in rows {
        text.push_str("<tr>");
        for (column, value) in columns.iter().zip(&row) {
            text.push_str(&format!("<td{}>{}</td>", class(*column), escape(value)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str(TABLE_END);
    text
}

const TABLE_END: &str = "</tbody>\n</table></div>\n";

fn head(columns: &[Column]) -> String {
    let names: String = columns.iter().map(|column| format!("<th{}>{}</th>", class(*column), escape(column.name))).collect();
    format!("<div class=\"scroll\"><table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n")
}

fn class(column: Column) -> &'static str {
    if column.is_number { " class=\"number\"" } else { "" }
}

/// A table without numbers in which rows that follow each other with the same first cell share it. It may be most of a
/// page: end tags that HTML does not ask for are left out.
pub(crate) fn grouped_table(names: &[&'static str], rows: &[Vec<String>]) -> String {
    let columns: Vec<Column> = names.iter().map(|&name| Column { name, is_number: false }).collect();
    let mut text = head(&columns);
    for group in rows.chunk_by(|a, b| a.first() == b.first()) {
        for (at, row) in group.iter().enumerate() {
            text.push_str("<tr>");
            let Some((first, others)) = row.split_first() else { continue };
            if at == 0 {
                text.push_str(&format!("<td rowspan={}>{}", group.len(), escape(first)));
            }
            text.extend(others.iter().map(|value| format!("<td>{}", escape(value))));
            text.push('\n');
        }
    }
    text.push_str(TABLE_END);
    text
}

/// A table without numbers.
pub(super) fn plain_table(names: &[&'static str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let columns: Vec<Column> = names.iter().map(|&name| Column { name, is_number: false }).collect();
    table(&columns, rows)
}

/// Text that can stand in an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_element_of_the_data() {
        let text = script(&serde_json::json!({ "name": "</script><script>alert(1)" }));
        assert_eq!(text.matches("</script>").count(), 3);
        assert!(text.contains(r"\u003c/script>\u003cscript>alert(1)"));
        for part in [UPLOT, SCRIPT] {
            assert!(!part.contains("</script"));
        }
    }

    #[test]
    fn nothing_in_a_table_is_markup() {
        let rows = [vec!["<script>'\"&".to_owned(), "<i>".to_owned()]];
        for text in [plain_table(&["<b>", "c"], rows.iter().cloned()), grouped_table(&["<b>", "c"], &rows)] {
            assert!(!text.contains("<script>") && !text.contains("<b>") && !text.contains("<i>"));
            assert!(text.contains("&lt;script&gt;&#39;&quot;&amp;"));
        }
    }

    #[test]
    fn rows_of_one_name_share_it() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = grouped_table(&["point", "metric"], &[row(["a", "1"]), row(["a", "2"]), row(["b", "3"])]);
        assert!(text.contains("<tr><td rowspan=2>a<td>1\n<tr><td>2\n<tr><td rowspan=1>b<td>3\n"), "{text}");
    }
}
