//! The frame of a page, and safe text in it.

/// A whole page around `body`, in the reader's choice of light or dark. Figures keep a white ground, since their lines
/// and letters are made for one.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #ffffff; --text: #1b1f24; --faint: #5b6570; --line: #d5dae0; --band: #f4f6f8; --warn: #fff3d6; --warn-line: #b26a00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --text: #e6e9ec; --faint: #a0a9b2; --line: #343b42; --band: #1c2126; --warn: #3a2c0c; --warn-line: #e0a030; }
}
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; }
code { overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
figure svg { display: block; width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 4px; }
figcaption { color: var(--faint); font-size: 0.9rem; margin-top: 0.4rem; }
a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: var(--ground); }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--band); }
summary { cursor: pointer; padding: 0.4rem 0; }
.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: 0.4rem 0.8rem; }
";

/// A section with a heading; both are HTML.
pub(super) fn section(heading: &str, content: &str) -> String {
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
    let class = |column: &Column| {
        if column.is_number { " class=\"number\"" } else { "" }
    };
    let mut text = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in columns {
        text.push_str(&format!("<th{}>{}</th>", class(column), escape(column.name)));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for (column, value) in columns.iter().zip(&row) {
            text.push_str(&format!("<td{}>{}</td>", class(column), escape(value)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
    text
}

/// A table without numbers.
pub(super) fn plain_table(names: &[&'static str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let columns: Vec<Column> = names.iter().map(|&name| Column { name, is_number: false }).collect();
    table(&columns, rows)
}

/// Text that can stand in an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_table_is_markup() {
        let text = plain_table(&["<b>"], std::iter::once(vec!["<script>'\"&".to_owned()]));
        assert!(!text.contains("<script>") && !text.contains("<b>"));
        assert!(text.contains("&lt;script&gt;&#39;&quot;&amp;"));
    }
}
