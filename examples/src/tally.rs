//! Sums by a name, and the table of the largest.

use std::collections::HashMap;

/// What stands for a name that is none.
const NONE: &str = "(none)";

/// Numbers summed by a name, in as many columns as there are `N`.
pub struct Tally<const N: usize> {
    columns: [&'static str; N],
    by: &'static str,
    rows: HashMap<String, [i64; N]>,
}

impl<const N: usize> Tally<N> {
    /// An empty table with these columns, the first of which says what is largest.
    pub fn new(columns: [&'static str; N], by: &'static str) -> Self {
        Tally {
            columns,
            by,
            rows: HashMap::new(),
        }
    }

    /// Adds to the numbers of a name.
    pub fn add(&mut self, name: &str, numbers: [i64; N]) {
        if !self.rows.contains_key(name) {
            self.rows.insert(name.to_owned(), [0; N]);
        }
        if let Some(sums) = self.rows.get_mut(name) {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum = sum.saturating_add(number);
            }
        }
    }

    /// The table of the `top` largest, and how many more there are.
    pub fn table(&self, top: usize) -> String {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(name, sums), (other, others)| others.cmp(sums).then(name.cmp(other)));
        let mut table = String::new();
        let mut line = |cells: [String; N], name: &str| {
            for cell in cells {
                table.push_str(&format!("{cell:>14}"));
            }
            table.push_str(&format!("  {name}\n"));
        };
        line(self.columns.map(str::to_owned), self.by);
        for (name, sums) in rows.iter().take(top) {
            line(sums.map(|sum| sum.to_string()), &shown(name));
        }
        if let Some(more) = rows.len().checked_sub(top).filter(|more| *more > 0) {
            table.push_str(&format!("{:>14}  and {more} more\n", "…"));
        }
        table
    }
}

/// A name as a terminal may show it: whoever sent it may have put control sequences into it.
fn shown(name: &str) -> String {
    if name.is_empty() {
        return NONE.to_owned();
    }
    let visible = |char: char| {
        if char.is_control() {
            char.escape_default().to_string()
        } else {
            char.to_string()
        }
    };
    name.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_the_rest_is_counted() {
        let mut tally = Tally::new(["requests", "bytes"], "path");
        for (path, bytes) in [("/b", 5), ("/a", 1), ("/c\u{1b}[2J", 0), ("/b", 7), ("", 2)] {
            tally.add(path, [1, bytes]);
        }
        let table = tally.table(3);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows,
            [
                vec!["requests", "bytes", "path"],
                vec!["2", "12", "/b"],
                vec!["1", "2", "(none)"],
                vec!["1", "1", "/a"],
                vec!["…", "and", "1", "more"],
            ]
        );
        assert!(tally.table(4).contains("/c\\u{1b}[2J"));
    }
}
