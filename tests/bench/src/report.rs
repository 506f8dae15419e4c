use std::fmt::Write as _;
use std::time::Duration;

use crate::figure::Figure;

/// What a bench prints.
#[derive(Debug, Default)]
pub(crate) struct Report {
    notes: Vec<String>,
    figures: Vec<Figure>,
}

impl Report {
    /// A line above the table: what a reader has to know of the run. JSON has no notes.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn add(&mut self, figures: impl IntoIterator<Item = Figure>) {
        self.figures.extend(figures);
    }

    /// Goals of which nothing shows that they are reached.
    pub(crate) fn misses(&self) -> usize {
        self.figures.iter().filter(|figure| figure.misses()).count()
    }

    /// One JSON object a figure and line.
    pub(crate) fn json(&self) -> String {
        let lines = self.figures.iter().map(|figure| {
            serde_json::to_string(figure).expect("numbers and texts are always JSON") + "\n"
        });
        lines.collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            line(&mut text, format_args!("{note}"));
        }
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.figures.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..HEAD.len()).filter_map(width).collect();
        text.push('\n');
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let cells = cells.collect::<Vec<_>>().join("  ");
            line(&mut text, format_args!("{}", cells.trim_end()));
        }
        text.push('\n');
        for figure in &self.figures {
            // The latencies are voided with their throughput.
            if let (Some(why), Some(_)) = (&figure.voided, figure.spread) {
                line(&mut text, format_args!("void: {}: {why}", figure.name));
            }
        }
        let goals = self.figures.iter().filter(|figure| figure.goal.is_some());
        let (goals, misses) = (goals.count(), self.misses());
        line(
            &mut text,
            format_args!("{} of {goals} goals reached", goals - misses),
        );
        text
    }
}

/// What else was true of the run.
pub(crate) fn machine(slice: Duration, pairs: u32) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "{pairs} pairs of {} s; load average before the run: {load}",
        slice.as_secs_f64()
    )
}

const HEAD: [&str; 8] = [
    "figure", "ours", "floor", "unit", "ratio", "spread", "goal", "",
];

fn row(figure: &Figure) -> [String; 8] {
    let verdict = match figure.goal {
        _ if figure.voided.is_some() => "VOID",
        None => "",
        Some(_) if figure.ok => "ok",
        Some(_) => "MISSED",
    };
    let spread = |(least, greatest)| format!("{least:.2}..{greatest:.2}");
    [
        figure.name.clone(),
        number(figure.value),
        number(figure.floor),
        figure.unit.to_owned(),
        format!("{:.2}", figure.ratio),
        figure.spread.map_or_else(String::new, spread),
        figure.goal.map_or_else(String::new, |g| format!("{g:.2}")),
        verdict.to_owned(),
    ]
}

/// A number with its thousands apart.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Pairs;

    fn report() -> Report {
        let mut pairs = Pairs::default();
        pairs.push(1_234_567.0, 617_283.5);
        let mut report = Report::default();
        let throughput = |name: &str, goal, voided| {
            Figure::throughput(name.to_owned(), &pairs, Some(goal), voided)
        };
        report.add([
            throughput("good", 0.5, None),
            throughput("bad", 0.7, None),
            throughput("busy", 0.5, Some("a busy machine".to_owned())),
            Figure::latency("good.p50".to_owned(), 12.0, 8.0, None),
        ]);
        report
    }

    #[test]
    fn the_table_lines_up_and_says_what_is_void_and_why() {
        let table = report().table();
        let expected = "
figure       ours      floor     unit  ratio      spread  goal
good      617,284  1,234,567  calls/s   0.50  0.50..0.50  0.50      ok
bad       617,284  1,234,567  calls/s   0.50  0.50..0.50  0.70  MISSED
busy      617,284  1,234,567  calls/s   0.50  0.50..0.50  0.50    VOID
good.p50       12          8       us   1.50

void: busy: a busy machine
1 of 3 goals reached
";
        assert_eq!(table, expected);
    }

    #[test]
    fn json_is_one_object_a_figure_and_misses_are_counted() {
        let report = report();
        assert_eq!(report.misses(), 2);
        let json = report.json();
        assert_eq!(json.lines().count(), 4);
        for line in json.lines() {
            let figure: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(figure["name"].is_string() && figure["ok"].is_boolean());
        }
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(number(999.4), "999");
        assert_eq!(number(1_000.0), "1,000");
        assert_eq!(number(12_345_678.0), "12,345,678");
    }
}
