//! Tables: columns as wide as what is in them, two spaces between, no borders: as Docker's.

/// A table in the making.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|c| (*c).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| {
            self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().fold(String::new(), |text, row| text + line(row, &widths).trim_end() + "\n")
    }
}

/// The width of a format has 16 bits, a cell has no limit.
fn line(row: &[String], widths: &[usize]) -> String {
    let padded = |(cell, width): (&String, &usize)| {
        let room = width.saturating_sub(cell.chars().count());
        [cell.as_str(), &" ".repeat(room), "  "].concat()
    };
    row.iter().zip(widths).map(padded).collect()
}

/// Cuts a text to a width, with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f2_a_cell_may_have_any_width() {
        let mut table = Table::new(&["NAME", "PORTS", "STATUS"]);
        table.row(["web".into(), "x".repeat(70_000), "Up".into()]);
        table.row(["öl".into(), "y".into(), "Up".into()]);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() >= 70_000 + 8 && line.chars().count() <= 70_014)
        );
        assert!(lines[2].starts_with("öl    y "), "{}", &lines[2][..20]);
    }
}
